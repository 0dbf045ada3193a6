import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { meterIdOf } from "@bijuli/protocol";
import type { RunningAdapter } from "../src/adapter.ts";
import { adapterOver, FixtureReader, getJson, HandClock, LOT, post } from "./fixtures.ts";

describe("readings pushed by readers behind NAT", () => {
  // Its socket is never asked: READERS gives it no url.
  const meter = new FixtureReader("NATTED");
  const clock = new HandClock(LOT + 1n, 60);
  let adapter: RunningAdapter;
  before(async () => {
    await meter.start();
    adapter = await adapterOver([meter], {
      clock,
      env: {
        EA_TOKEN: "operators-only",
        PUSHES_PER_SECOND: "0",
        READERS: JSON.stringify([{ serial: "NATTED", signer: meter.signer }]),
      },
    });
  });
  after(async () => {
    await adapter.close();
    await meter.stop();
  });
  const push = (lot: bigint, lots = 1) => post(`${adapter.url}/readings`, meter.answer(lot, lots));
  const ask = (data: Record<string, unknown>) =>
    post(adapter.url, { data: { meters: ["NATTED"], ...data } }, { authorization: "Bearer operators-only" });

  test("are served once they came; the signature is the authentication", async () => {
    const early = await ask({ lot: LOT.toString() });
    assert.equal(early.status, 503);
    assert.match(early.body.error.message, /NATTED.*has not pushed lot/);
    const pushed = await push(LOT);
    assert.equal(pushed.status, 200, pushed.text);
    assert.deepEqual(pushed.body.accepted, { serial: "NATTED", meterId: meter.id, lot: LOT.toString(), lots: "1" });
    assert.equal((await push(LOT)).status, 200, "pushing again is harmless");
    assert.equal((await ask({ lot: LOT.toString() })).body.data.result, meter.record(LOT));
  });

  test("serve runs too, when they were pushed as such", async () => {
    assert.equal((await push(LOT, 12)).status, 200);
    assert.equal((await ask({ lot: LOT.toString(), lots: 12 })).body.data.result, meter.record(LOT, 12));
  });

  test("are refused with 4xx when they can never be right", async () => {
    const faults: [FixtureReader["fault"], number, RegExp][] = [
      ["wrong-key", 401, /NATTED.*signed by/],
      ["tampered-energy", 401, /signed by/],
      ["tampered-record", 400, /record/],
      ["other-meter", 404, /not configured/],
    ];
    for (const [fault, status, message] of faults) {
      meter.fault = fault;
      const refused = await push(LOT - 20n);
      assert.equal(refused.status, status, refused.text);
      assert.match(refused.body.error.message, message);
    }
    meter.fault = "none";
    const good = meter.answer(LOT - 20n, 1);
    for (const [body, status] of [
      [{ reading: { meterId: meterIdOf("NATTED") }, signature: 5 }, 400],
      [{ ...good, record: { toString: 1 } }, 400],
      [{ reading: { meterId: { toString: 1 } } }, 404],
      [{ reading: null }, 404],
      [[], 404],
      [null, 404],
    ] as const) {
      const refused = await post(`${adapter.url}/readings`, body);
      assert.equal(refused.status, status, refused.text);
    }
  });

  test("name a meter whose clock is ahead", async () => {
    const refused = await push(LOT + 3n);
    assert.equal(refused.status, 503);
    assert.match(refused.body.error.message, /NATTED.*not over; its clock is ahead/);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
  });

  test("that contradict each other are evidence, in the form that the registry takes", async () => {
    meter.fault = "other-history";
    const refused = await push(LOT - 1n);
    meter.fault = "none";
    assert.equal(refused.status, 400);
    assert.equal(refused.body.error.name, "Disagreement");
    assert.equal((await fetch(`${adapter.url}/evidence`)).status, 401);
    const response = await fetch(`${adapter.url}/evidence`, { headers: { authorization: "Bearer operators-only" } });
    // biome-ignore lint/suspicious/noExplicitAny: JSON
    const { evidence } = (await response.json()) as any;
    assert.equal(evidence.length, 1);
    const [meterId, signer, a, b] = evidence[0].report.args;
    assert.equal(meterId, meter.id);
    assert.equal(signer, meter.signer.toLowerCase());
    assert.equal(b.signature, evidence[0].readings[1].signature);
    assert.deepEqual(Object.keys(a), ["lot", "forward", "reverse", "quality", "energies", "signature"]);
    assert.match(evidence[0].report.calldata, /^0x[0-9a-f]+$/);
  });
});

test("pushes are limited by address", async () => {
  const meter = await new FixtureReader("EAGER").start();
  const adapter = await adapterOver([meter], { env: { PUSHES_PER_SECOND: "2" } });
  try {
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await post(`${adapter.url}/readings`, meter.answer(LOT, 1)));
    assert.equal(answers[0]?.status, 200);
    const refused = answers.at(-1)!;
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.name, "TooManyRequests");
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal((await getJson(`${adapter.url}/health`)).status, "ok");
  } finally {
    await adapter.close();
    await meter.stop();
  }
});

test("of two readings that contradict each other and arrive together, one is kept and one is evidence", async () => {
  const meter = await new FixtureReader("TWOFACED").start();
  const adapter = await adapterOver([meter], { env: { VERIFY_THREADS: "2" } });
  try {
    const one = meter.answer(LOT, 1);
    meter.fault = "other-history";
    const other = meter.answer(LOT, 1);
    const answers = await Promise.all([one, other].map((body) => post(`${adapter.url}/readings`, body)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
    assert.equal((await getJson(`${adapter.url}/evidence`)).evidence.length, 1);
    assert.match(await (await fetch(`${adapter.url}/metrics`)).text(), /bijuli_contradictions_total\{.*\} 1/);
  } finally {
    await adapter.close();
    await meter.stop();
  }
});

test("whoever pushes slowly, without a token, holds up no job", async () => {
  const meter = await new FixtureReader("PLANT-1").start();
  const adapter = await adapterOver([meter], { env: { MAX_CONCURRENT_REQUESTS: "2" } });
  const slow = Array.from({ length: 2 }, () => connect(Number(new URL(adapter.url).port), "127.0.0.1"));
  try {
    for (const socket of slow) {
      socket.on("error", () => {});
      socket.write(
        "POST /readings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
      );
    }
    for (let tries = 0; (await post(`${adapter.url}/readings`, {})).status !== 503; tries++) {
      assert.ok(tries < 100, "the slow pushes never counted");
    }
    const { status, text } = await post(adapter.url, { data: { meters: ["PLANT-1"], lot: LOT.toString() } });
    assert.equal(status, 200, text);
  } finally {
    for (const socket of slow) socket.destroy();
    await adapter.close();
    await meter.stop();
  }
});
