import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { echo } from "./fixtures/adapter.ts";
import { openPostgres, type Postgres, postgresHere } from "./fixtures/postgres.ts";
import { type RedisServer, redisInstalled, startRedis } from "./fixtures/redis.ts";
import { until } from "./fixtures/until.ts";
import { reorg, settled } from "./support/reckoning.ts";
import { type Scene, startScene, wellAgain } from "./support/scene.ts";

/*
 * Faults that strike again and again, at every stage of a run; in the end the chain is held to it: nothing lost, nothing
 * delivered twice, no group out of order, each counted in the output. Small by itself; with BIJULI_DEEP=1 every fault strikes
 * BIJULI_DEEP_ROUNDS times (100) and the first test makes BIJULI_DEEP_REQUESTS requests (1,000).
 */
const deep = process.env.BIJULI_DEEP === "1";
const rounds = Number(process.env.BIJULI_DEEP_ROUNDS ?? (deep ? 100 : 1));
const requests = Number(process.env.BIJULI_DEEP_REQUESTS ?? (deep ? 1_000 : 60));
const GROUPS = deep ? 50 : 10;
const PATIENCE_MS = deep ? 600_000 : 30_000;
const MINE_MS = 60;
const patient = { timeout: deep ? 3_000_000 : 120_000 };

/** Waits for 4 confirmations of a request. */
const CAUTIOUS = "ca070000-d0d2-476c-a1a8-72dfb6633f46";
const GOOD = "none lost, none twice, no inversion";

describe("faults, again and again", patient, () => {
  let scene: Scene;

  before(async () => {
    scene = await startScene({
      mineMs: MINE_MS,
      settings: { MAX_IN_FLIGHT: "256", RPC_TIMEOUT_MS: "3000" },
      more: { cautious: { id: CAUTIOUS, confirmations: 4 } },
    });
    await scene.chain.mine(20); // no reorg reaches back to the contracts
  });
  afterEach(() => {
    wellAgain(scene);
    scene.startMining();
  });
  after(() => scene?.close());

  const slow = (ms: number) => {
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * ms });
  };
  const state = (group: string, wanted: string, which = 0) =>
    until(`run ${which} of ${group} to be ${wanted}`, async () => {
      const runs = await scene.runs(group);
      return runs.reverse()[which]?.state === wanted;
    });

  test(`${requests} requests over ${GROUPS} groups, with random delays and failures`, patient, async (t) => {
    scene.adapter.answer = (body) =>
      Math.random() < 0.1 ? { status: 503 } : { ...echo(body), delayMs: Math.random() * 400 };
    for (let left = requests; left > 0; ) {
      const count = Math.min(left, 1 + Math.floor(Math.random() * 5));
      await scene.request(`many ${Math.floor(Math.random() * GROUPS)}`, "x", count);
      left -= count;
    }
    t.diagnostic(`${await settled(scene, "many ", PATIENCE_MS)} delivered, ${GOOD}`);
  });

  /** Each brings a run to a stage and kills the node there. */
  const stages: Record<string, (group: string) => Promise<void>> = {
    "seen, not confirmed": async (group) => {
      await scene.stopMining();
      await scene.request(group, "x", 2, { jobId: CAUTIOUS });
      await scene.chain.mine();
      await state(group, "unconfirmed");
    },
    "its adapter is asked": async (group) => {
      scene.adapter.answer = (body) => ({ ...echo(body), delayMs: 500 });
      const before = scene.adapter.asked.length;
      await scene.request(group, "x", 2);
      await until("the adapter to be asked", async () => scene.adapter.asked.length > before);
    },
    "built, behind another": async (group) => {
      const hold = (body: Record<string, unknown>) => (body.data as { text: string }).text === "slow";
      scene.adapter.answer = (body) => ({ ...echo(body), delayMs: hold(body) ? 1_500 : 0 });
      await scene.request(group, "slow");
      await scene.request(group, "x");
      await state(group, "ready", 1);
    },
    "stored and broadcast, and the pool forgets it": async (group) => {
      await scene.stopMining();
      await scene.request(group, "x", 2);
      await scene.chain.mine();
      await state(group, "sent", 1);
      await scene.chain.provider.send("anvil_dropAllTransactions", []);
      (scene.chain.requester.runner as unknown as { reset(): void }).reset();
    },
    "just mined": async (group) => {
      await scene.request(group, "x", 2);
      await scene.delivered(group, 1);
    },
  };
  for (const [stage, reach] of Object.entries(stages)) {
    test(`kill -9 while it is ${stage}, ${rounds} times`, patient, async (t) => {
      for (let round = 0; round < rounds; round++) {
        wellAgain(scene);
        await reach(`kill ${stage} ${round % 7}.${round}`);
        await scene.node.kill();
        scene.startMining();
        wellAgain(scene);
        await scene.restart();
      }
      t.diagnostic(`${rounds} kills: ${await settled(scene, `kill ${stage}`, PATIENCE_MS)} delivered, ${GOOD}`);
    });
  }

  test(`the RPC cut and back, ${rounds} times`, patient, async (t) => {
    slow(200);
    for (let round = 0; round < rounds; round++) {
      await scene.request(`cut ${round % 7}`, "x", 1 + (round % 3));
      await sleep(Math.random() * 300);
      scene.chain.pause();
      await sleep(deep ? Math.random() * 600 : 1_000);
      scene.chain.resume();
    }
    t.diagnostic(`${rounds} cuts: ${await settled(scene, "cut ", PATIENCE_MS)} delivered, ${GOOD}`);
  });

  const reorgs = Math.max(rounds, 10);
  test(`reorgs of depths 1 to 10 at any stage, ${reorgs} times`, patient, async (t) => {
    slow(150);
    for (let round = 0; round < reorgs; round++) {
      const group = `reorg ${round % 7}`;
      await scene.request(group, "x", 2);
      await sleep(Math.random() * 300);
      await scene.request(group, "x", 1);
      await sleep(Math.random() * 300);
      await reorg(scene, 1 + (round % 10));
    }
    // What comes after has to arrive in any case; the last reorgs may have taken all the rest.
    for (let group = 0; group < 7; group++) await (await scene.request(`reorg ${group}`, "x", 1)).wait();
    t.diagnostic(`${reorgs} reorgs: ${await settled(scene, "reorg ", PATIENCE_MS)} delivered, ${GOOD}`);
  });

  test(`callbacks that revert or run out of gas, ${rounds} of each`, patient, async (t) => {
    const asked: [group: string, text: string][] = [
      ["reverting", "revert"],
      ["burning", "burn"],
    ];
    for (let round = 0; round < rounds; round++) for (const [group, text] of asked) await scene.request(group, text);
    for (const [group] of asked) {
      await scene.request(group, "after");
      await scene.delivered(group, 1, PATIENCE_MS);
      const failed = await until("all ends", async () => {
        const runs = await scene.node.get<unknown[]>(`/runs?limit=999&group=${group}&state=callback-failed`);
        return runs.length === rounds && runs.length;
      });
      assert.deepEqual(await scene.numbers(group), [rounds], "only the last one was delivered");
      t.diagnostic(`${group}: ${failed} marked as failed, the one after them delivered`);
    }
  });
});

/* What follows needs Debian packages; redis.test.ts and shared.test.ts are its small versions. */
const redisSkip = !deep ? "BIJULI_DEEP=1 runs it" : redisInstalled() ? false : "redis-server is not installed";
describe("faults of the queue, again and again", { skip: redisSkip, ...patient }, () => {
  let scene: Scene;
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
    scene = await startScene({ mineMs: MINE_MS, settings: { QUEUE_URL: redis.url } });
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
  });
  after(async () => {
    await scene?.close();
    await redis?.kill();
  });

  test(`its data deleted in mid-run, ${rounds} times`, patient, async (t) => {
    const client = new Redis(redis.url);
    for (let round = 0; round < rounds; round++) {
      await scene.request(`flush ${round % 7}`, "x", 1 + (round % 3));
      await sleep(Math.random() * 400);
      await client.flushall();
    }
    client.disconnect();
    t.diagnostic(`${rounds} deletions: ${await settled(scene, "flush ", PATIENCE_MS)} delivered, ${GOOD}`);
  });

  test(`Redis killed and back, empty, ${rounds} times`, patient, async (t) => {
    for (let round = 0; round < rounds; round++) {
      await scene.request(`redis ${round % 7}`, "x", 1 + (round % 3));
      await sleep(Math.random() * 400);
      await redis.kill();
      await sleep(Math.random() * 300);
      await redis.start();
    }
    t.diagnostic(`${rounds} kills: ${await settled(scene, "redis ", PATIENCE_MS)} delivered, ${GOOD}`);
  });
});

const postgresSkip = !deep ? "BIJULI_DEEP=1 runs it" : postgresHere() ? false : "PostgreSQL is not here";
for (const count of [2, 4]) {
  describe(`${count} processes on one PostgreSQL, again and again`, { skip: postgresSkip, ...patient }, () => {
    let scene: Scene;
    let postgres: Postgres;
    before(async () => {
      postgres = await openPostgres();
      const settings = { QUEUE_URL: postgres.url, DATABASE_URL: postgres.url };
      scene = await startScene({ mineMs: MINE_MS, nodes: count, settings });
      scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
    });
    after(async () => {
      await scene?.close();
      await postgres?.close();
    });

    test(`one of them killed and another started, ${rounds} times`, patient, async (t) => {
      for (let round = 0; round < rounds; round++) {
        await scene.request(`shared ${round % 7}`, "x", 1 + (round % 5));
        await sleep(Math.random() * 400);
        // The oldest: it leads, or else an earlier leader's work has just passed on.
        await scene.nodes.shift()!.kill();
        await scene.start();
      }
      t.diagnostic(`${rounds} kills: ${await settled(scene, "shared ", PATIENCE_MS)} delivered, ${GOOD}`);
    });
  });
}
