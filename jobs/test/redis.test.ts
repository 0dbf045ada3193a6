import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { echo, type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, freePort, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

const installed = spawnSync("redis-server", ["--version"]).status === 0;

/* Needs Debian's redis-server; what every machine has is tested on the embedded queue. */
describe("the queue on Redis", { skip: installed ? false : "redis-server is not installed" }, () => {
  let chain: Chain;
  let adapter: FakeAdapter;
  let home: NodeHome;
  let node: RunningNode;
  let stopMining: () => Promise<void>;
  let redis: ChildProcess;
  let port: number;

  const startRedis = async () => {
    redis = spawn("redis-server", ["--port", String(port), "--save", "", "--appendonly", "no"], { stdio: "ignore" });
    const client = new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50, maxRetriesPerRequest: null });
    client.on("error", () => {});
    await client.ping();
    client.disconnect();
  };
  const request = (group: string, count: number) =>
    chain.requester.getFunction("request")(SPEC_ID, 0n, group, "x", count);
  const numbers = async (group: string) =>
    ((await chain.requester.getFunction("allDeliveries")()) as { group: string; number: bigint }[])
      .filter((one) => one.group === group)
      .map((one) => Number(one.number));

  before(async () => {
    port = await freePort();
    await startRedis();
    chain = await startChain();
    adapter = await startAdapter();
    home = makeHome({ "words.toml": await spec(chain) });
    node = await startNode(chain, home, {
      BRIDGES: JSON.stringify({ words: adapter.url }),
      QUEUE_URL: `redis://127.0.0.1:${port}`,
    });
    stopMining = chain.mineEvery(100);
  });
  after(async () => {
    await stopMining?.();
    await node?.kill();
    await adapter?.close();
    await chain?.close();
    home?.remove();
    redis?.kill("SIGKILL");
  });

  test("requests are delivered in order", async () => {
    await request("plain", 5);
    await until("five", async () => (await numbers("plain")).length === 5);
    assert.deepEqual(await numbers("plain"), [0, 1, 2, 3, 4]);
  });

  test("its data is deleted while runs are in it: they are put in again", async () => {
    adapter.answer = () => ({ status: 500 });
    await request("flushed", 3);
    await until("the runs to fail", async () =>
      (await node.get<{ group: string; attempts: number }[]>("/runs")).some(
        (run) => run.group === "flushed" && run.attempts > 0,
      ),
    );
    const client = new Redis({ port, host: "127.0.0.1" });
    await client.flushall();
    client.disconnect();
    adapter.answer = (body) => echo(body);
    await until("three", async () => (await numbers("flushed")).length === 3, 30_000);
    assert.deepEqual(await numbers("flushed"), [0, 1, 2]);
  });

  test("it is killed and comes back empty", async () => {
    adapter.answer = (body) => ({ ...echo(body), delayMs: 200 });
    await request("killed", 3);
    await sleep(150);
    const gone = once(redis, "exit");
    redis.kill("SIGKILL");
    await gone;
    await request("killed", 2);
    await until("the problem", async () => (await fetch(`${node.url}/health`)).status === 503);
    await startRedis();
    await until("five", async () => (await numbers("killed")).length === 5, 40_000);
    assert.deepEqual(await numbers("killed"), [0, 1, 2, 3, 4]);
    await until("health", async () => (await fetch(`${node.url}/health`)).status === 200);
  });
});
