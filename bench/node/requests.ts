import type { Chain } from "../../jobs/test/fixtures/chain.ts";
import { SPEC_ID } from "../../jobs/test/fixtures/node.ts";

export interface Delivered {
  group: string;
  number: bigint;
  blockNumber: bigint;
}

/** Requests of one transaction at most. */
const BATCH = 40;

export async function deliveredCount(chain: Chain): Promise<number> {
  return Number(await chain.requester.getFunction("deliveryCount")());
}

/** Puts requests into the pool, spread over groups; a block has to hold them. @returns their transactions' hashes */
export async function ask(chain: Chain, requests: number, groups: number, prefix: string): Promise<string[]> {
  const each = Math.ceil(requests / groups);
  const hashes: string[] = [];
  for (let group = 0, left = requests; left > 0; group++, left -= each) {
    for (let rest = Math.min(each, left); rest > 0; rest -= BATCH) {
      const count = Math.min(rest, BATCH);
      const gasLimit = 150_000n + 250_000n * BigInt(count);
      const name = `${prefix}${group}`;
      const sent = await chain.requester.getFunction("request")(SPEC_ID, 0n, name, "abc", count, { gasLimit });
      hashes.push(sent.hash);
    }
  }
  return hashes;
}

/** Requests out of their group's order, among those with the prefix. */
export async function inversions(chain: Chain, prefix: string): Promise<number> {
  const all = (await chain.requester.getFunction("allDeliveries")()) as Delivered[];
  const next = new Map<string, number>();
  let found = 0;
  for (const { group, number } of all) {
    if (!group.startsWith(prefix)) continue;
    if (Number(number) !== (next.get(group) ?? 0)) found++;
    next.set(group, Number(number) + 1);
  }
  return found;
}
