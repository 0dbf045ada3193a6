import type { Head } from "../chain/types.ts";

export interface FeePolicy {
  /** wei */
  tip: bigint;
  /** wei; no transaction bids more. */
  maxFee: bigint;
  /** Blocks after which a transaction that waits is bid higher. */
  bumpAfter: number;
  /** Percent; Ethereum's pools want at least 10. */
  bumpPercent: bigint;
}

/** What a transaction bids, in wei per gas (EIP-1559). */
export interface Bid {
  maxFee: bigint;
  tip: bigint;
}

/** A first bid: room for the base fee to double, at most the cap. */
export function firstBid(policy: FeePolicy, head: Head | undefined): Bid {
  const wanted = 2n * (head?.baseFee ?? 0n) + policy.tip;
  const maxFee = wanted < policy.maxFee ? wanted : policy.maxFee;
  return { maxFee, tip: policy.tip < maxFee ? policy.tip : maxFee };
}

/** A bid that replaces the last one: both fees higher by the policy's percentage, and no less than the market asks. */
export function higherBid(policy: FeePolicy, head: Head | undefined, last: Bid): Bid {
  const raised = (fee: bigint) => (fee * (100n + policy.bumpPercent)) / 100n + 1n;
  const tip = raised(last.tip);
  const maxFee = [raised(last.maxFee), firstBid(policy, head).maxFee, tip].reduce((a, b) => (a > b ? a : b));
  return { maxFee, tip };
}
