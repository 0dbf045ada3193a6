import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import { decodeRecords, readingDomain } from "@bijuli/protocol";
import type { RunningAdapter } from "../src/adapter.ts";
import {
  adapterOver,
  type Fault,
  FixtureReader,
  getJson,
  HandClock,
  keyOf,
  LOT,
  post,
  REGISTRY,
  signerOf,
} from "./fixtures.ts";

describe("readers that fail", () => {
  let good: FixtureReader;
  let bad: FixtureReader;
  let adapter: RunningAdapter;
  const clock = new HandClock(LOT + 1n, 30);
  beforeEach(() => {
    clock.ms = new HandClock(LOT + 1n, 30).ms;
  });
  before(async () => {
    good = await new FixtureReader("GOOD").start();
  });
  after(() => good.stop());

  const withBad = async (fault: Fault, run: () => Promise<void>): Promise<void> => {
    bad = new FixtureReader("BAD");
    bad.fault = fault;
    await bad.start();
    adapter = await adapterOver([good, bad], { clock });
    try {
      await run();
    } finally {
      await adapter.close();
      await bad.stop();
    }
  };
  const ask = (data: Record<string, unknown> = {}) =>
    post(adapter.url, { data: { meters: ["GOOD", "BAD"], lot: LOT.toString(), ...data } });

  const cases: [Fault, number, string, RegExp][] = [
    ["silent", 504, "ReaderUnreachable", /did not answer in time/],
    ["drip", 504, "ReaderUnreachable", /did not answer in time/],
    ["half", 502, "ReaderError", /broke off/],
    ["garbage", 502, "VerificationFailed", /not JSON/],
    ["huge", 502, "ReaderError", /larger than \d+ bytes/],
    ["not-http", 502, "ReaderError", /does not speak HTTP/],
    ["redirect", 502, "ReaderError", /answered 302 and no redirect is followed/],
    ["web-page-404", 502, "ReaderError", /answered 404 with a web page: is its url right/],
    ["error-500", 502, "ReaderError", /answered 500/],
    ["open", 503, "NotYetRead", /not over/],
    ["other-meter", 502, "VerificationFailed", /another meter/],
    ["yesterday", 502, "VerificationFailed", new RegExp(`gave lot ${LOT - 288n} when asked for lot ${LOT}`)],
    ["tampered-record", 502, "VerificationFailed", /not the one its meter signed/],
    ["tampered-energy", 502, "WrongSigner", /signed by 0x[0-9a-fA-F]{40}, expected 0x/],
    ["wrong-key", 502, "WrongSigner", new RegExp(`signed by ${signerOf(keyOf("a thief"))}, expected`)],
  ];
  for (const [fault, status, name, message] of cases) {
    test(`${fault}: ${status} that names meter, reader and cause; right again once it is put right`, async () => {
      await withBad(fault, async () => {
        const refused = await ask();
        assert.equal(refused.status, status, refused.text);
        assert.equal(refused.body.error.name, name);
        assert.match(refused.body.error.message, /meter BAD/);
        assert.ok(refused.body.error.message.includes(bad.url), refused.text);
        assert.match(refused.body.error.message, message);
        if (status === 503) assert.equal(refused.headers.get("retry-after"), "7");
        bad.fault = "none";
        const { body } = await ask();
        assert.equal(body.data?.result, good.record(LOT) + bad.record(LOT).slice(2), JSON.stringify(body));
      });
    });
  }

  test("a reader that is down: 504 with the cause, left alone after a few failures, back by itself", async () => {
    await withBad("none", async () => {
      const port = Number(new URL(bad.url).port);
      await bad.stop();
      for (let i = 0; i < 3; i++) {
        const refused = await ask();
        assert.equal(refused.status, 504);
        assert.match(refused.body.error.message, /meter BAD.*cannot be reached: ECONNREFUSED/);
      }
      const left = await ask();
      assert.equal(left.status, 504);
      assert.match(left.body.error.message, /circuit open.*ECONNREFUSED/);
      const { meters } = await getJson(`${adapter.url}/status`);
      assert.deepEqual(
        meters.map(({ circuit }: { circuit: string }) => circuit),
        ["closed", "open"],
      );
      await bad.start(port);
      for (let tries = 0; (await ask()).status !== 200; tries++) {
        assert.ok(tries < 40, "the circuit never closed");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
  });

  test("readings that disagree: the second is refused and both are kept as evidence", async () => {
    await withBad("none", async () => {
      assert.equal((await ask()).status, 200);
      bad.fault = "other-history";
      const refused = await ask({ lots: "3" });
      assert.equal(refused.status, 502);
      assert.equal(refused.body.error.name, "Disagreement");
      assert.match(
        refused.body.error.message,
        new RegExp(`meter BAD.*Units at the end of lot ${LOT - 1n} where it signed`),
      );
      const { evidence } = await getJson(`${adapter.url}/evidence`);
      assert.equal(evidence.length, 1);
      assert.equal(evidence[0].serial, "BAD");
      assert.equal(evidence[0].readings.length, 2);
      bad.fault = "none";
      assert.equal((await ask({ lots: "3" })).status, 200, "what agrees is served again");
    });
  });

  test("a register that goes back is refused", async () => {
    await withBad("other-history", async () => {
      assert.equal((await ask({ lot: (LOT - 5n).toString() })).status, 200);
      bad.fault = "none";
      const refused = await ask();
      assert.equal(refused.status, 502);
      assert.match(refused.body.error.message, /register go back/);
      // The run in between, which its reader was asked for, makes proof of it: one key, two registers at one lot's end.
      const { evidence } = await getJson(`${adapter.url}/evidence`);
      assert.deepEqual(
        evidence.map(({ kind, lot, report }: Record<string, unknown>) => [kind, lot, report !== undefined]),
        [
          ["register-goes-back", LOT.toString(), false],
          ["registers-differ", (LOT - 5n).toString(), true],
        ],
      );
      assert.equal(evidence[1].readings[0].signature, evidence[0].readings[0].signature);
      assert.ok(bad.requests.includes(`/readings/${LOT}?lots=5`));
    });
  });

  test("a consumer's missing reading holds its page up until the grace time is over, and is never cached", async () => {
    await withBad("wrong-key", async () => {
      const early = await ask({ stage: "consumers" });
      assert.equal(early.status, 502);
      assert.match(early.body.error.message, /served without it in 90 s/);
      clock.ms += 90_000;
      const late = await ask({ stage: "consumers" });
      assert.equal(late.status, 200);
      assert.equal(late.body.data.result, `${good.record(LOT)}0000`);
      assert.equal(decodeRecords(late.body.data.result)[1], null);
      assert.deepEqual(late.body.meta.missing, [bad.id]);
      assert.equal((await ask({ stage: "distributor" })).status, 502, "other stages need every meter");
      bad.fault = "none";
      const back = await ask({ stage: "consumers" });
      assert.equal(back.body.data.result, good.record(LOT) + bad.record(LOT).slice(2));
    });
  });
});

test("a chain that takes the question and never answers: 503 within API_TIMEOUT, and it does not hold up the end", async () => {
  const reader = await new FixtureReader("ON-CHAIN").start();
  const chain = createServer((request) => void request.resume());
  await new Promise<void>((resolve) => chain.listen(0, "127.0.0.1", resolve));
  const rpc = `http://127.0.0.1:${(chain.address() as AddressInfo).port}`;
  const adapter = await adapterOver([reader], { env: { RPC_URL: rpc, API_TIMEOUT: "300" } });
  try {
    const refused = await post(adapter.url, { data: { meters: ["ON-CHAIN"], lot: LOT.toString() } });
    assert.equal(refused.status, 503, refused.text);
    assert.match(refused.body.error.message, /meter ON-CHAIN.*the chain does not tell its signer/);
  } finally {
    await adapter.close();
    chain.close();
    chain.closeAllConnections();
    await reader.stop();
  }
});

test("a reader of another chain or registry is told from one with a wrong key", async () => {
  const domain = readingDomain({ chainId: 1, registry: REGISTRY });
  const reader = await new FixtureReader("ELSEWHERE", { domain }).start();
  const adapter = await adapterOver([reader]);
  try {
    const ask = () => post(adapter.url, { data: { meters: ["ELSEWHERE"], lot: LOT.toString() } });
    const { status, body } = await ask();
    assert.equal(status, 502);
    assert.match(body.error.message, /meter ELSEWHERE.*is its CHAIN_ID or REGISTRY_ADDRESS another/);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});
