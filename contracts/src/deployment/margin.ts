import { BPS } from "@bijuli/protocol";

/**
 * Whether a distributor that loses just what it may still earns something.
 *
 * For each Unit sent it pays the plants' price and is paid for 1 − ideal Units at price · (1 + ideal + service):
 * (1 − ideal)(1 + ideal + service) < 1 is service · (1 − ideal) < ideal². In basis points, exactly.
 */
export function leavesDistributorWithoutProfit(terms: { idealLossBps: number; serviceBps: number }): boolean {
  const ideal = BigInt(terms.idealLossBps);
  return BigInt(terms.serviceBps) * (BPS - ideal) < ideal * ideal;
}

/** The warning in words, with the smallest service that would do; undefined when the terms leave a profit. */
export function marginWarning(feeder: string, terms: { idealLossBps: number; serviceBps: number }): string | undefined {
  if (!leavesDistributorWithoutProfit(terms)) return undefined;
  const ideal = BigInt(terms.idealLossBps);
  const least = ideal < BPS ? (ideal * ideal + (BPS - ideal) - 1n) / (BPS - ideal) : undefined;
  const advice =
    least === undefined ? "with all of it lost nothing is sold" : `serviceBps of at least ${least} would do`;
  return `the terms of ${JSON.stringify(feeder)} leave its distributor without profit even at the ideal loss of ${terms.idealLossBps} bps: ${advice}`;
}
