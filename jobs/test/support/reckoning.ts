import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../fixtures/until.ts";
import type { Delivered, Scene, ShownRun } from "./scene.ts";

/** How many requests of groups that begin so the chain holds now: a reorg may have taken some. */
export async function askedOf({ chain }: Scene, prefix: string): Promise<number> {
  const { interface: operator, target } = chain.operator;
  const topic = operator.getEvent("OracleRequest")!.topicHash;
  const logs = await chain.provider.getLogs({ address: target as string, topics: [topic], fromBlock: 0 });
  return logs.filter((log) => {
    const { data } = operator.decodeEventLog("OracleRequest", log.data, log.topics);
    return Buffer.from(data.slice(2), "hex").includes(prefix);
  }).length;
}

/**
 * Waits until all that the chain was asked in such groups is delivered, and holds the chain to it: each request once, each group
 * in its order.
 * @returns how many there were
 */
export async function settled(scene: Scene, prefix: string, timeoutMs = 30_000): Promise<number> {
  const requester = scene.chain.requester;
  const delivered = async () =>
    ((await requester.getFunction("allDeliveries")()) as Delivered[]).filter((one) => one.group.startsWith(prefix));
  let wanted = 0;
  const done = async () => {
    wanted = await askedOf(scene, prefix);
    return wanted > 0 && (await delivered()).length >= wanted;
  };
  try {
    do {
      await until(`everything of ${prefix}`, done, timeoutMs);
      await sleep(300); // one more would come now; and a request that was still in the pool
    } while ((await askedOf(scene, prefix)) !== wanted);
  } catch (cause) {
    const runs = await scene.node.get<ShownRun[]>("/runs?limit=500");
    const open = runs.filter(({ group, state }) => group.startsWith(prefix) && !/delivered|orphaned/.test(state));
    const shown = open.slice(0, 5).map((run) => `${run.group} ${run.state}: ${run.cause}`);
    const { problems } = await scene.node.get<{ problems: string[] }>("/health");
    const [asked, got] = [wanted, (await delivered()).length];
    throw new Error(
      `${got} of ${asked} delivered, ${open.length} of the node's runs are open: ${shown.join("; ")}; ${problems.join("; ")}`,
      { cause },
    );
  }
  const next = new Map<string, number>();
  const seen = new Set<string>();
  const count = { delivered: 0, twice: 0, inversions: 0 };
  for (const { group, number } of await delivered()) {
    count.delivered++;
    if (Number(number) !== (next.get(group) ?? 0)) count.inversions++;
    next.set(group, Number(number) + 1);
    const key = `${group} ${number}`;
    if (seen.has(key)) count.twice++;
    seen.add(key);
  }
  assert.deepEqual(count, { delivered: wanted, twice: 0, inversions: 0 }, prefix);
  return wanted;
}

/** Takes blocks back; mining rests meanwhile, for anvil breaks when it mines within a reorg. */
export async function reorg(scene: Scene, depth: number, mineMs?: number): Promise<void> {
  await scene.stopMining();
  const { provider, requester } = scene.chain;
  await provider.send("anvil_reorg", [depth, []]).catch(() => {}); // deeper than the chain
  // Its pool keeps transactions afterwards that it never mines, also those that came in meanwhile; a pool that forgets them is
  // what a node has to bear.
  await provider.send("anvil_dropAllTransactions", []);
  await sleep(50);
  await provider.send("anvil_dropAllTransactions", []);
  // What a wallet does when its transaction fell out: the requester's nonces start over.
  (requester.runner as unknown as { reset(): void }).reset();
  scene.startMining(mineMs);
}
