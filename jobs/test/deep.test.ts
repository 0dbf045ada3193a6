import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { echo, type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

/*
 * The long version: BIJULI_DEEP=1 node --test jobs/test/deep.test.ts
 * BIJULI_DEEP_ROUNDS says how often each fault strikes (100), BIJULI_DEEP_REQUESTS how many requests the first test makes (1,000).
 */
const rounds = Number(process.env.BIJULI_DEEP_ROUNDS ?? 100);
const requests = Number(process.env.BIJULI_DEEP_REQUESTS ?? 1_000);
const GROUPS = 50;

interface Delivered {
  group: string;
  number: bigint;
}

describe(
  "many requests and many faults",
  { skip: process.env.BIJULI_DEEP === "1" ? false : "BIJULI_DEEP=1 runs it" },
  () => {
    let chain: Chain;
    let adapter: FakeAdapter;
    let home: NodeHome;
    let node: RunningNode;
    let stop = async () => {};

    const start = async () => {
      node = await startNode(chain, home, { BRIDGES: JSON.stringify({ words: adapter.url }), MAX_IN_FLIGHT: "256" });
    };
    const request = (group: string, count: number) =>
      chain.requester.getFunction("request")(SPEC_ID, 0n, group, "x", count);
    const oracleRequest = () => chain.operator.interface.getEvent("OracleRequest")!.topicHash;

    /** What the chain holds in the end: each request delivered once, each group in its order. */
    const settle = async (prefix: string) => {
      const asked = async () => {
        const logs = await chain.provider.getLogs({
          address: chain.operator.target as string,
          topics: [oracleRequest()],
          fromBlock: 0,
        });
        return logs.filter((log) =>
          Buffer.from(
            chain.operator.interface.decodeEventLog("OracleRequest", log.data, log.topics).data.slice(2),
            "hex",
          ).includes(prefix),
        ).length;
      };
      const delivered = async () =>
        ((await chain.requester.getFunction("allDeliveries")()) as Delivered[]).filter((one) =>
          one.group.startsWith(prefix),
        );
      const count = await until(
        `everything of ${prefix}`,
        async () => {
          const wanted = await asked();
          return wanted > 0 && (await delivered()).length === wanted && wanted;
        },
        300_000,
      );
      await sleep(500);
      const all = await delivered();
      const next = new Map<string, number>();
      let inversions = 0;
      let twice = 0;
      const seen = new Set<string>();
      for (const { group, number } of all) {
        if (Number(number) !== (next.get(group) ?? 0)) inversions++;
        next.set(group, Number(number) + 1);
        if (seen.has(`${group} ${number}`)) twice++;
        seen.add(`${group} ${number}`);
      }
      assert.deepEqual({ delivered: all.length, twice, inversions }, { delivered: count, twice: 0, inversions: 0 });
      return count;
    };

    before(async () => {
      chain = await startChain();
      await chain.mine(20); // no reorg reaches back to the contracts
      adapter = await startAdapter();
      home = makeHome({ "words.toml": await spec(chain) });
      await start();
    });
    after(async () => {
      await node?.kill();
      await adapter?.close();
      await chain?.close();
      home?.remove();
    });

    test(`${requests} requests over ${GROUPS} groups, with random delays and failures`, async (t) => {
      stop = chain.mineEvery(100);
      adapter.answer = (body) =>
        Math.random() < 0.1 ? { status: 503 } : { ...echo(body), delayMs: Math.random() * 400 };
      for (let left = requests; left > 0; ) {
        const count = Math.min(left, 1 + Math.floor(Math.random() * 5));
        await request(`many${Math.floor(Math.random() * GROUPS)}`, count);
        left -= count;
      }
      t.diagnostic(`${await settle("many")} delivered, none lost, none twice, no inversion`);
      await stop();
    });

    const faults: Record<string, () => Promise<void>> = {
      "kill -9": async () => {
        await sleep(Math.random() * 600);
        await node.kill();
        await start();
      },
      reorg: async () => {
        await sleep(Math.random() * 500);
        // anvil breaks when it mines within a reorg, and its pool then keeps transactions that it never mines.
        await stop();
        await chain.provider.send("anvil_reorg", [1 + Math.floor(Math.random() * 10), []]).catch(() => {});
        await chain.provider.send("anvil_dropAllTransactions", []);
        (chain.requester.runner as unknown as { reset(): void }).reset();
        stop = chain.mineEvery(60);
      },
      "RPC cut": async () => {
        await sleep(Math.random() * 300);
        chain.pause();
        await sleep(Math.random() * 600);
        chain.resume();
      },
    };
    for (const [name, strike] of Object.entries(faults)) {
      test(`${rounds} times: ${name}`, async (t) => {
        const stop = chain.mineEvery(60);
        adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
        for (let round = 0; round < rounds; round++) {
          await request(`${name} ${round % 7}`, 1 + (round % 3));
          await strike();
        }
        // What comes after has to arrive in any case; a reorg may have taken all the rest.
        for (let group = 0; group < 7; group++) await (await request(`${name} ${group}`, 2)).wait();
        t.diagnostic(`${await settle(name)} delivered, none lost, none twice, no inversion`);
        await stop();
      });
    }
  },
);
