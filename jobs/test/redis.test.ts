import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { echo } from "./fixtures/adapter.ts";
import { type RedisServer, redisInstalled, startCluster, startRedis, startSentinel } from "./fixtures/redis.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, startScene, wellAgain } from "./support/scene.ts";

/* Needs Debian's redis-server; what every machine has is tested on the embedded queue. */
describe("the queue on Redis", { skip: redisInstalled() ? false : "redis-server is not installed" }, () => {
  let scene: Scene;
  let redis: RedisServer;

  before(async () => {
    redis = await startRedis();
    scene = await startScene({ settings: { QUEUE_URL: redis.url } });
  });
  after(async () => {
    await scene?.close();
    await redis?.kill();
  });

  test("requests are delivered in order", async () => {
    await scene.request("plain", "x", 5);
    await scene.delivered("plain", 5);
    assert.deepEqual(await scene.numbers("plain"), [0, 1, 2, 3, 4]);
  });

  test("its data is deleted while runs are in it: they are put in again", async () => {
    scene.adapter.answer = () => ({ status: 500 });
    await scene.request("flushed", "x", 3);
    await until("the runs to fail", async () => (await scene.runs("flushed")).some((run) => run.attempts > 0));
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    wellAgain(scene);
    await scene.delivered("flushed", 3, 30_000);
    assert.deepEqual(await scene.numbers("flushed"), [0, 1, 2]);
  });

  test("it is killed and comes back empty", async () => {
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: 200 });
    await scene.request("killed", "x", 3);
    await sleep(150);
    await redis.kill();
    await scene.request("killed", "x", 2);
    await until("the problem", async () => (await fetch(`${scene.node.url}/health`)).status === 503);
    await redis.start();
    await scene.delivered("killed", 5, 40_000);
    assert.deepEqual(await scene.numbers("killed"), [0, 1, 2, 3, 4]);
    await until("health", async () => (await fetch(`${scene.node.url}/health`)).status === 200);
  });

  test("through Sentinels, of which the master is asked for: it is killed, and another takes its place", async () => {
    const sentinel = await startSentinel();
    try {
      await scene.restart({ QUEUE_URL: sentinel.url });
      wellAgain(scene);
      await scene.request("sentinel", "x", 3);
      await scene.delivered("sentinel", 3);
      await sentinel.killMaster();
      await scene.request("sentinel", "x", 3);
      await scene.delivered("sentinel", 6, 40_000);
      assert.deepEqual(await scene.numbers("sentinel"), [0, 1, 2, 3, 4, 5]);
    } finally {
      await sentinel.close();
    }
  });

  test("on a Cluster of three, found through one of them", async () => {
    const cluster = await startCluster();
    try {
      await scene.restart({ QUEUE_URL: cluster.url });
      await scene.request("cluster", "x", 5);
      await scene.delivered("cluster", 5);
      assert.deepEqual(await scene.numbers("cluster"), [0, 1, 2, 3, 4]);
    } finally {
      await scene.nodes[0]!.kill();
      await cluster.close();
    }
  });
});
