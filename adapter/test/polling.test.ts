import assert from "node:assert/strict";
import { test } from "node:test";
import { adapterOver, FixtureReader, getJson, HandClock, LOT, LOT_SECONDS, post } from "./fixtures.ts";

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 400, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

const POLL = { POLL_ENABLED: "true", POLL_DELAY: "10", POLL_JITTER: "10" };

test("every meter is read shortly after each lot's end, so that requests find their answers ready", async () => {
  const reader = await new FixtureReader("POLLED").start();
  const clock = new HandClock(LOT + 1n, 60);
  const adapter = await adapterOver([reader], { clock, env: POLL });
  try {
    await until("the lot that is over is read at start", () => reader.requests.includes(`/readings/${LOT}`));
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(reader.requests.length, 1, "nothing is read before its lot is over");
    clock.ms += LOT_SECONDS * 1000;
    await until("the next lot is read", () => reader.requests.includes(`/readings/${LOT + 1n}`));
    await until("it is verified", () => reader.requests.length === 2);
    const { status } = await post(adapter.url, { data: { meters: ["POLLED"], lot: (LOT + 1n).toString() } });
    assert.equal(status, 200);
    assert.equal(reader.requests.length, 2, "the request asks no reader");
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

for (const [name, jitter, delayMs] of [
  ["polls are spread over their jitter", 400, 0],
  ["only so many polls are under way at once", 0, 20],
] as const) {
  test(name, async () => {
    const readers = Array.from({ length: 12 }, (_, i) => new FixtureReader(`SPREAD-${i}`));
    for (const reader of readers) await reader.start();
    const arrivals: number[] = [];
    let [now, most] = [0, 0];
    for (const reader of readers) {
      reader.delayMs = delayMs;
      reader.onRequest = () => {
        arrivals.push(performance.now());
        most = Math.max(most, ++now);
        setTimeout(() => now--, delayMs - 5);
      };
    }
    const env = { ...POLL, POLL_JITTER: String(jitter), POLL_CONCURRENCY: "2" };
    const adapter = await adapterOver(readers, { clock: new HandClock(LOT + 1n), env });
    try {
      await until("all are read", () => arrivals.length === readers.length);
      const spread = Math.max(...arrivals) - Math.min(...arrivals);
      if (jitter > 0) assert.ok(spread > jitter / 3, `spread over ${spread} ms`);
      else assert.equal(most, 2);
    } finally {
      await adapter.close();
      for (const reader of readers) await reader.stop();
    }
  });
}

test("a reader that is down at a lot's end is read once it is back", async () => {
  const reader = await new FixtureReader("LATE").start();
  reader.fault = "error-500";
  const adapter = await adapterOver([reader], { clock: new HandClock(LOT + 1n), env: POLL });
  try {
    await until("it was tried", () => reader.requests.length > 0);
    reader.fault = "none";
    await until("it is tried again", () => reader.requests.length > 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = reader.requests.length;
    assert.equal((await post(adapter.url, { data: { meters: ["LATE"], lot: LOT.toString() } })).status, 200);
    assert.equal(reader.requests.length, before);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("runs that follow one another are ready when they are over", async () => {
  const reader = await new FixtureReader("RUNS").start();
  const clock = new HandClock(LOT + 1n);
  const adapter = await adapterOver([reader], { clock, env: POLL });
  try {
    await until("the lot that is over is read at start", () => reader.requests.length === 1);
    const ask = (lot: bigint) =>
      post(adapter.url, { data: { meters: ["RUNS"], lot: lot.toString(), lots: "3", stage: "plant" } });
    assert.equal((await ask(LOT)).status, 200);
    for (let i = 0; i < 3; i++) {
      clock.ms += LOT_SECONDS * 1000;
      await until("the lot is read", () =>
        reader.requests.some((path) => path.startsWith(`/readings/${LOT + BigInt(i) + 1n}`)),
      );
    }
    await until("the run is read", () => reader.requests.includes(`/readings/${LOT + 3n}?lots=3`));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = reader.requests.length;
    assert.equal((await ask(LOT + 3n)).status, 200);
    assert.equal(reader.requests.length, before);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("lots missed while a reader was away are read once it is back", async () => {
  const reader = await new FixtureReader("AWAY").start();
  const clock = new HandClock(LOT + 1n);
  const adapter = await adapterOver([reader], { clock, env: { ...POLL, BACKFILL_LOTS: "3" } });
  try {
    await until("the lot that is over is read at start", () => reader.requests.length === 1);
    reader.fault = "error-500";
    clock.ms += 5 * LOT_SECONDS * 1000;
    await until("it was tried", () => reader.requests.includes(`/readings/${LOT + 5n}`));
    reader.fault = "none";
    const missed = [4n, 3n, 2n].map((lots) => `/readings/${LOT + lots}`);
    await until("they are read", () => missed.every((path) => reader.requests.includes(path)));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = reader.requests.length;
    const { status } = await post(adapter.url, { data: { meters: ["AWAY"], lot: (LOT + 3n).toString() } });
    assert.equal(status, 200);
    assert.equal(reader.requests.length, before, "the request asks no reader");
    assert.ok(!reader.requests.includes(`/readings/${LOT + 1n}`), "no more than were asked for");
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("threads verify as the main one does", async () => {
  const reader = await new FixtureReader("THREADED").start();
  const adapter = await adapterOver([reader], { clock: new HandClock(LOT + 1n), env: { VERIFY_THREADS: "2" } });
  try {
    const ask = (lot: bigint) => post(adapter.url, { data: { meters: ["THREADED"], lot: lot.toString() } });
    const good = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(LOT - BigInt(i))));
    for (const [i, { body }] of good.entries()) assert.equal(body.data.result, reader.record(LOT - BigInt(i)));
    reader.fault = "wrong-key";
    assert.equal((await ask(LOT - 30n)).body.error.name, "WrongSigner");
    const malformed = { ...reader.answer(LOT, 1), signature: `0x${"ff".repeat(64)}1b` };
    const refused = await post(`${adapter.url}/readings`, malformed);
    assert.equal(refused.status, 400);
    assert.match(refused.body.error.message, /signature is malformed/);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("what is forgotten for want of room is fetched again when it is asked for", async () => {
  const reader = await new FixtureReader("FORGOTTEN").start();
  const adapter = await adapterOver([reader], { clock: new HandClock(LOT + 1n), env: { CACHE_MAX_ITEMS: "2" } });
  try {
    const ask = (lot: bigint) => post(adapter.url, { data: { meters: ["FORGOTTEN"], lot: lot.toString() } });
    for (const lot of [LOT - 3n, LOT - 2n, LOT - 1n, LOT - 1n, LOT - 3n]) assert.equal((await ask(lot)).status, 200);
    assert.equal(reader.requests.filter((path) => path === `/readings/${LOT - 3n}`).length, 2);
    assert.equal(reader.requests.length, 4);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("a long run takes the room of many readings", async () => {
  const reader = await new FixtureReader("LONG").start();
  const adapter = await adapterOver([reader], { clock: new HandClock(LOT + 1n), env: { CACHE_MAX_ITEMS: "10" } });
  try {
    const kept = async (lots: number): Promise<number> => {
      const { status } = await post(adapter.url, { data: { meters: ["LONG"], lot: LOT.toString(), lots } });
      assert.equal(status, 200);
      return (await getJson(`${adapter.url}/status`)).cache.readings;
    };
    assert.equal(await kept(1), 1);
    assert.equal(await kept(144), 2);
    assert.equal(await kept(17), 1, "1 + 9 + 2 places: the two oldest went");
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("a reader whose answer is odd in shape ends nobody's polls", async () => {
  const odd = await new FixtureReader("ODD").start();
  const good = await new FixtureReader("GOOD").start();
  const plain = odd.answer.bind(odd);
  // Signed by the meter, and then something that cannot be made text of.
  odd.answer = (lot, lots) => ({ ...plain(lot, lots), record: { toString: 1 } });
  const clock = new HandClock(LOT + 1n, 60);
  const adapter = await adapterOver([odd, good], { clock, env: POLL });
  try {
    await until("both are asked", () => odd.requests.length > 0 && good.requests.length > 0);
    clock.ms += LOT_SECONDS * 1000;
    await until("the next lot is read", () => good.requests.includes(`/readings/${LOT + 1n}`));
    const { status, body } = await post(adapter.url, { data: { meters: ["ODD"], lot: LOT.toString() } });
    assert.equal(status, 502, JSON.stringify(body));
    assert.match(body.error.message, /meter ODD.*not the one its meter signed/);
  } finally {
    await adapter.close();
    await odd.stop();
    await good.stop();
  }
});

test("a clock that was ahead and is set back: polls go on with the lots that are over then", async () => {
  class FastClock extends HandClock {
    override realMs(span: number): number {
      return span / 3000;
    }
  }
  const reader = await new FixtureReader("SET-BACK").start();
  const clock = new FastClock(LOT + 1n, 60);
  const adapter = await adapterOver([reader], { clock, env: POLL });
  try {
    await until("the lot that is over is read", () => reader.requests.includes(`/readings/${LOT}`));
    const right = clock.ms;
    clock.ms += 500 * LOT_SECONDS * 1000;
    await until("a lot to come is asked for", () => reader.requests.includes(`/readings/${LOT + 500n}`));
    clock.ms = right + LOT_SECONDS * 1000;
    await until("the lot that is truly over is read", () => reader.requests.includes(`/readings/${LOT + 1n}`));
  } finally {
    await adapter.close();
    await reader.stop();
  }
});
