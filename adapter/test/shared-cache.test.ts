import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Redis } from "ioredis";
import { adapterOver, FixtureReader, freePort, getJson, HandClock, LOT, post } from "./fixtures.ts";

const skip =
  process.env.BIJULI_TEST_REDIS_URL === undefined ? "BIJULI_TEST_REDIS_URL is not set: no redis-server here" : false;

describe("readings shared over Redis", { skip }, () => {
  // A Redis of its own, for it is killed.
  const folder = mkdtempSync(join(tmpdir(), "bijuli-redis-"));
  let port = 0;
  let redis: ChildProcess;
  const startRedis = async (): Promise<void> => {
    redis = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], {
      stdio: "ignore",
    });
    for (let i = 0; i < 200; i++) {
      const up = await new Promise<boolean>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
      if (up) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("redis-server does not start");
  };
  const killRedis = () =>
    new Promise((resolve) => {
      redis.once("exit", resolve);
      redis.kill("SIGKILL");
    });
  before(async () => {
    port = await freePort();
    await startRedis();
  });
  after(async () => {
    await killRedis();
    rmSync(folder, { recursive: true });
  });
  const env = () => ({ CACHE_TYPE: "redis", CACHE_REDIS_URL: `redis://127.0.0.1:${port}`, CACHE_REDIS_TIMEOUT: "200" });
  const clock = new HandClock(LOT + 2n);

  test("one adapter's reading serves the others; a contradiction is seen by whichever meets it", async () => {
    const reader = await new FixtureReader("SHARED").start();
    const [one, two] = [
      await adapterOver([reader], { clock, env: env() }),
      await adapterOver([reader], { clock, env: env() }),
    ];
    try {
      const ask = (url: string, data: object) => post(url, { data: { meters: ["SHARED"], ...data } });
      assert.equal((await ask(one.url, { lot: LOT.toString() })).status, 200);
      const before = reader.requests.length;
      assert.equal((await ask(two.url, { lot: LOT.toString() })).body.data.result, reader.record(LOT));
      assert.equal(reader.requests.length, before, "the second adapter asked no reader");

      assert.equal((await ask(one.url, { lot: (LOT - 4n).toString() })).status, 200);
      reader.fault = "other-history";
      const refused = await ask(two.url, { lot: (LOT - 4n).toString(), lots: 2 });
      assert.equal(refused.status, 502);
      assert.equal(refused.body.error.name, "Disagreement");
      assert.equal((await getJson(`${two.url}/evidence`)).evidence[0].readings.length, 2);
    } finally {
      await one.close();
      await two.close();
      await reader.stop();
    }
  });

  test("two adapters that read a two-faced meter in the same instant: the second finds the first's reading", async () => {
    const reader = await new FixtureReader("INSTANT").start();
    const redis = new Redis(port);
    // What the other adapter wrote after this one had looked, and before it wrote itself.
    reader.fault = "other-history";
    const first = reader.record(LOT).slice(2);
    reader.fault = "none";
    reader.delayMs = 30;
    reader.onRequest = () => void redis.set(`bijuli:reading:${reader.id}:${LOT}:1`, first);
    const adapter = await adapterOver([reader], { clock, env: env() });
    try {
      const ask = () => post(adapter.url, { data: { meters: ["INSTANT"], lot: LOT.toString() } });
      const refused = await ask();
      assert.equal(refused.status, 502, refused.text);
      assert.equal(refused.body.error.name, "Disagreement");
      assert.equal((await getJson(`${adapter.url}/evidence`)).evidence.length, 1);
      assert.equal((await ask()).body.data.result, `0x${first}`, "and the adapters agree on what they serve");
    } finally {
      await adapter.close();
      redis.disconnect();
      await reader.stop();
    }
  });

  test("what someone else wrote into the cache is not believed", async () => {
    const reader = await new FixtureReader("FORGED").start();
    const thief = new Redis(port);
    reader.fault = "wrong-key";
    const { record } = reader.answer(LOT, 1) as { record: string };
    reader.fault = "none";
    await thief.set(`bijuli:reading:${reader.id}:${LOT}:1`, record.slice(2));
    await thief.set(`bijuli:reading:${reader.id}:${LOT - 1n}:1`, "not hex at all");
    thief.disconnect();
    const adapter = await adapterOver([reader], { clock, env: env() });
    try {
      for (const lot of [LOT, LOT - 1n]) {
        const { body } = await post(adapter.url, { data: { meters: ["FORGED"], lot: lot.toString() } });
        assert.equal(body.data?.result, reader.record(lot), JSON.stringify(body));
      }
    } finally {
      await adapter.close();
      await reader.stop();
    }
  });

  test("Redis killed and back: requests are answered all the while", async () => {
    const reader = await new FixtureReader("SURVIVOR").start();
    const adapter = await adapterOver([reader], { clock, env: env() });
    try {
      let failed = 0;
      let asked = 0;
      let lot = LOT;
      const ask = async () => {
        asked++;
        const { status } = await post(adapter.url, { data: { meters: ["SURVIVOR"], lot: (lot--).toString() } });
        if (status !== 200) failed++;
      };
      for (let i = 0; i < 5; i++) await ask();
      await killRedis();
      for (let i = 0; i < 20; i++) await ask();
      assert.notEqual((await getJson(`${adapter.url}/status`)).cache.redis, "ready");
      await startRedis();
      for (let i = 0; (await getJson(`${adapter.url}/status`)).cache.redis !== "ready"; i++) {
        assert.ok(i < 200, "never connected again");
        await ask();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await ask();
      assert.equal(failed, 0, `of ${asked}`);
      assert.match(await (await fetch(`${adapter.url}/metrics`)).text(), /redis_commands_sent_count\{status="SUCCESS"/);
    } finally {
      await adapter.close();
      await reader.stop();
    }
  });
});
