import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { echo, type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { type Postgres, postgresPrograms, startPostgres } from "./fixtures/postgres.ts";
import { until } from "./fixtures/until.ts";

/* Needs PostgreSQL's programs; what every machine has is tested on the embedded one. */
describe(
  "several processes on one PostgreSQL",
  { skip: postgresPrograms() ? false : "PostgreSQL is not installed" },
  () => {
    let chain: Chain;
    let adapter: FakeAdapter;
    let home: NodeHome;
    let postgres: Postgres;
    let stopMining: () => Promise<void>;
    const nodes: RunningNode[] = [];

    const start = async () => {
      const node = await startNode(chain, home, {
        BRIDGES: JSON.stringify({ words: adapter.url }),
        QUEUE_URL: postgres.url,
      });
      nodes.push(node);
      return node;
    };
    const leads = async (node: RunningNode) => {
      const health = await node.get<{ checks: { leads: boolean } }>("/health").catch(() => undefined);
      return health?.checks.leads === true;
    };
    const leader = () =>
      until("a leader", async () => {
        for (const node of nodes)
          if (node.child.exitCode === null && node.child.signalCode === null && (await leads(node))) return node;
        return undefined;
      });
    const request = (group: string, count: number) =>
      chain.requester.getFunction("request")(SPEC_ID, 0n, group, "x", count);
    const numbers = async (group: string) =>
      ((await chain.requester.getFunction("allDeliveries")()) as { group: string; number: bigint }[])
        .filter((one) => one.group === group)
        .map((one) => Number(one.number));

    before(async () => {
      postgres = await startPostgres();
      chain = await startChain();
      adapter = await startAdapter();
      home = makeHome({ "words.toml": await spec(chain) });
      await start();
      await start();
      stopMining = chain.mineEvery(100);
    });
    after(async () => {
      await stopMining?.();
      for (const node of nodes) await node.kill();
      await adapter?.close();
      await chain?.close();
      await postgres?.close();
      home?.remove();
    });

    test("two share the work: one leads, each request is delivered once, in order", async () => {
      adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
      assert.equal((await Promise.all(nodes.map(leads))).filter(Boolean).length, 1);
      for (const group of ["a", "b", "c"]) await request(group, 10);
      for (const group of ["a", "b", "c"]) {
        await until(`ten of ${group}`, async () => (await numbers(group)).length === 10);
        assert.deepEqual(await numbers(group), [...Array(10).keys()]);
      }
    });

    test("four, whose leader is killed in the midst of it, again and again", async () => {
      await start();
      await start();
      for (let round = 0; round < 3; round++) {
        await request("killed", 6);
        await sleep(100 + 60 * round);
        await (await leader()).kill();
        await request("killed", 2);
        await leader();
      }
      await until("twenty-four", async () => (await numbers("killed")).length >= 24, 60_000);
      assert.deepEqual(await numbers("killed"), [...Array(24).keys()]);
    });
  },
);
