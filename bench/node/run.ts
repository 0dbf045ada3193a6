import { parseArgs } from "node:util";
import type { SendingKey } from "../../jobs/src/delivery/keys.ts";
import { type FakeAdapter, startAdapter } from "../../jobs/test/fixtures/adapter.ts";
import { type Chain, startChain } from "../../jobs/test/fixtures/chain.ts";
import { makeHome, type RunningNode, spec, startNode } from "../../jobs/test/fixtures/node.ts";
import { openPostgres, postgresHere } from "../../jobs/test/fixtures/postgres.ts";
import { redisInstalled, startRedis } from "../../jobs/test/fixtures/redis.ts";
import { until } from "../../jobs/test/fixtures/until.ts";
import { floor, SIGNERS } from "./floor.ts";
import { cpuMs, residentMb } from "./process-usage.ts";
import { ask, type Delivered, deliveredCount, inversions } from "./requests.ts";

/*
 * Fulfilments per second of the oracle node, and blocks from a request's to its fulfilment's, for some numbers of groups
 * (feeders), beside the floor: a bare loop that signs and sends the same number of fulfilments, built beforehand, to a chain of
 * the same kind in the same run. Prints Markdown tables.
 *
 *   node bench/node/run.ts [--requests 2000] [--groups 1,10,100] [--block-ms 250] [--queues redis,embedded,postgres]
 *   node bench/node/run.ts --memory [--requests 100000] [--minutes 25] [--queues redis]
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string" },
    groups: { type: "string", default: "1,10,100" },
    "block-ms": { type: "string", default: "250" },
    queues: { type: "string" },
    memory: { type: "boolean", default: false },
    minutes: { type: "string", default: "25" },
  },
});
const requests = Number(values.requests ?? (values.memory ? 100_000 : 2_000));
const blockMs = Number(values["block-ms"]);
const groupCounts = values.groups.split(",").map(Number);
const wanted = (values.queues ?? (values.memory ? "redis" : "redis,redis+postgres,embedded,postgres")).split(",");
/** Rounds in which every group asks for a clearing's three stages. */
const ROUNDS = 10;
const FLOORS = 5;

const say = (line: string) => process.stdout.write(`${line}\n`);

interface Stage {
  chain: Chain;
  adapter: FakeAdapter;
  node: RunningNode;
  close(): Promise<void>;
}

/** Where queue and state lie, or why they cannot. */
async function places(name: string): Promise<{ settings: Record<string, string>; close(): Promise<void> } | string> {
  const [queue, database] = name.split("+");
  const closing: (() => Promise<void>)[] = [];
  const settings: Record<string, string> = {};
  if (queue === "redis") {
    if (!redisInstalled()) return "redis-server is not installed";
    const redis = await startRedis();
    closing.push(() => redis.kill());
    settings.QUEUE_URL = redis.url;
  }
  if (queue === "postgres" || database === "postgres") {
    if (!postgresHere()) return "PostgreSQL is not installed";
    const postgres = await openPostgres();
    closing.push(() => postgres.close());
    settings.DATABASE_URL = postgres.url;
    if (queue === "postgres") settings.QUEUE_URL = postgres.url;
  }
  return {
    settings,
    async close() {
      for (const close of closing) await close();
    },
  };
}

/** A chain whose blocks hold all that is asked, an adapter that answers at once, and the node. */
async function stage(settings: Record<string, string>): Promise<Stage> {
  const chain = await startChain({ args: ["--gas-limit", "2000000000", "--prune-history", "200"] });
  const adapter = await startAdapter();
  const home = makeHome({ "words.toml": await spec(chain) });
  const node = await startNode(
    chain,
    home,
    {
      BRIDGES: JSON.stringify({ words: adapter.url }),
      POLL_INTERVAL_MS: "20",
      MAX_IN_FLIGHT: "2000",
      ...settings,
    },
    { keepLog: false, forLong: true },
  );
  return {
    chain,
    adapter,
    node,
    async close() {
      await node.stop();
      await adapter.close();
      await chain.close();
      home.remove();
    },
  };
}

/** All at once: how long until the last of so many requests that one block holds is fulfilled. */
async function throughput({ chain, node, adapter }: Stage, groups: number) {
  const stopWarm = chain.mineEvery(blockMs);
  // The first ones load code.
  await ask(chain, 50, 5, "warm ");
  await until("the first", async () => (await deliveredCount(chain)) === 50);
  await stopWarm();
  adapter.reset();
  await ask(chain, requests, groups, "many ");
  const cpuBefore = cpuMs(node.child.pid!);
  const startedAt = performance.now();
  const stop = chain.mineEvery(blockMs);
  await until("all fulfilments", async () => (await deliveredCount(chain)) >= requests + 50, 600_000);
  const perSecond = requests / ((performance.now() - startedAt) / 1000);
  const cpu = cpuMs(node.child.pid!);
  await stop();
  return {
    perSecond,
    cpuMs: cpu === undefined || cpuBefore === undefined ? undefined : (cpu - cpuBefore) / requests,
    inversions: await inversions(chain, "many "),
  };
}

/** On a node that is not busy otherwise: each group asks for three at once, and again when all are there. */
async function latency({ chain }: Stage, groups: number): Promise<Record<string, number>> {
  const stop = chain.mineEvery(blockMs);
  const shapes: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round++) {
    const prefix = `clearing ${round} of `;
    const before = await deliveredCount(chain);
    const hashes = await ask(chain, 3 * groups, groups, prefix);
    await until("the clearings", async () => (await deliveredCount(chain)) === before + 3 * groups, 120_000);
    const all = [...((await chain.requester.getFunction("deliveriesFrom")(before)) as Delivered[])];
    for (const [group, hash] of hashes.entries()) {
      const asked = (await chain.provider.getTransactionReceipt(hash))!.blockNumber;
      const own = all.filter((one) => one.group === `${prefix}${group}`);
      const shape = own.map((one) => `+${Number(one.blockNumber) - asked}`).join(" ");
      const inOrder = own.every((one, index) => Number(one.number) === index);
      shapes[inOrder ? shape : `${shape} out of order`] = (shapes[inOrder ? shape : `${shape} out of order`] ?? 0) + 1;
    }
  }
  await stop();
  return shapes;
}

/** The median of some floors, each on a chain of its own: one takes two seconds only, and varies by a seventh. */
async function medianFloor(key: SendingKey): Promise<number> {
  const seen: number[] = [];
  for (let run = 0; run < FLOORS; run++) {
    const bare = await startChain({ args: ["--gas-limit", "2000000000", "--prune-history", "200"] });
    seen.push(await floor(bare, requests, blockMs, key));
    await bare.close();
  }
  return seen.sort((a, b) => a - b)[(FLOORS - 1) / 2]!;
}

async function compare(): Promise<void> {
  const floors = [await medianFloor(SIGNERS.ethers), await medianFloor(SIGNERS.own)];
  const [ethers, own] = floors.map((perSecond) => perSecond.toFixed(0));
  say(`${requests} requests at once, a block every ${blockMs} ms.`);
  say(`Floor: ${ethers} fulfilments/s by a loop that signs with ethers, ${own} by one that signs as the node does.\n`);
  say(
    "| queue, state | groups | fulfilments/s | of ethers' floor | of the own signer's | node's CPU, ms a request | inversions | blocks from a clearing's request to its three callbacks |",
  );
  say("|---|---|---|---|---|---|---|---|");
  for (const name of wanted) {
    for (const groups of groupCounts) {
      const opened = await places(name);
      if (typeof opened === "string") {
        say(`| ${name} | ${groups} | ${opened} | | | | | |`);
        continue;
      }
      const one = await stage(opened.settings);
      const many = await throughput(one, groups);
      const shapes = Object.entries(await latency(one, groups)).sort((a, b) => b[1] - a[1]);
      const shown = shapes.slice(0, 4).map(([shape, count]) => `${shape}: ${count}`);
      if (shapes.length > 4) shown.push(`others: ${shapes.slice(4).reduce((sum, [, count]) => sum + count, 0)}`);
      const shares = floors.map((perSecond) => `${((100 * many.perSecond) / perSecond).toFixed(0)} %`);
      const cells = [
        name,
        groups,
        many.perSecond.toFixed(0),
        ...shares,
        many.cpuMs?.toFixed(2) ?? "?",
        many.inversions,
      ];
      say(`| ${cells.join(" | ")} | ${shown.join(", ")} |`);
      await one.close();
      await opened.close();
    }
  }
}

/** Many requests, some hundreds at a time, and the node's resident memory on the way. */
async function memory(): Promise<void> {
  const opened = await places(wanted[0]!);
  if (typeof opened === "string") throw new Error(opened);
  const one = await stage(opened.settings);
  const { chain, node, adapter } = one;
  const stop = chain.mineEvery(blockMs);
  const end = Date.now() + Number(values.minutes) * 60_000;
  say(
    `| requests served (${wanted[0]}) | node's memory, MB | node's CPU since, ms a request | chain's memory, MB | seconds |`,
  );
  say("|---|---|---|---|---|");
  const startedAt = performance.now();
  const every = Math.max(Math.floor(requests / 20), 1);
  let asked = 0;
  let last = { done: 0, cpu: cpuMs(node.child.pid!) };
  for (let shown = 0, done = 0; done < requests && Date.now() < end; ) {
    done = await deliveredCount(chain);
    adapter.reset();
    if (done >= shown) {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
      const cpu = cpuMs(node.child.pid!);
      const each =
        cpu === undefined || done === last.done ? "" : ((cpu - (last.cpu ?? 0)) / (done - last.done)).toFixed(2);
      const memories = [residentMb(node.child.pid!), each, residentMb(chain.pid)].map((value) => value ?? "?");
      say(`| ${done} | ${memories.join(" | ")} | ${seconds} |`);
      last = { done, cpu };
      shown += every;
    }
    if (asked < requests && asked - done < 800) {
      const count = Math.min(200, requests - asked);
      await ask(chain, count, 10, "m");
      asked += count;
    } else await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const done = await deliveredCount(chain);
  if (done < requests) say(`\nThe time was over after ${done} of ${requests} requests.`);
  await stop();
  await one.close();
  await opened.close();
}

await (values.memory ? memory() : compare());
