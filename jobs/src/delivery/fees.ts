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

/** Ethereum's pools take a replacement that bids 10 percent more. */
const LEAST_PERCENT = 10n;

/**
 * A bid that replaces the last one: both fees higher by the policy's percentage, and no less than the market asks; up to the
 * cap, as long as that is still a replacement.
 * @returns undefined when the cap leaves no higher bid
 */
export function higherBid(policy: FeePolicy, head: Head | undefined, last: Bid): Bid | undefined {
  const raised = (fee: bigint, percent: bigint) => (fee * (100n + percent)) / 100n + 1n;
  const tip = raised(last.tip, policy.bumpPercent);
  const wanted = [raised(last.maxFee, policy.bumpPercent), firstBid(policy, head).maxFee, tip];
  const maxFee = wanted.reduce((a, b) => (a > b ? a : b));
  if (maxFee <= policy.maxFee) return { maxFee, tip };
  return policy.maxFee >= raised(last.maxFee, LEAST_PERCENT) && tip <= policy.maxFee
    ? { maxFee: policy.maxFee, tip }
    : undefined;
}

/** One that replaces it whatever the cap: for a transaction that does nothing, so that those behind it are not held up. */
export function replacingBid(policy: FeePolicy, head: Head | undefined, last: Bid): Bid {
  return higherBid({ ...policy, maxFee: 2n * policy.maxFee + 2n * last.maxFee }, head, last)!;
}
