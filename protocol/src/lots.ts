import { BijuliError } from "./errors.ts";

/** The default length of a lot: five minutes. */
export const DEFAULT_LOT_SECONDS = 300;

/**
 * The lot that a moment lies in: floor(unixSeconds / lotSeconds), covering [lot·lotSeconds, (lot+1)·lotSeconds).
 * @param unixSeconds whole seconds since 1970, not negative
 * @param lotSeconds a registry's fixed lot length, 1 … 2^32 − 1
 */
export function lotOf(unixSeconds: bigint, lotSeconds: number): bigint {
  if (unixSeconds < 0n) throw new BijuliError("bad-time", `no lot lies before 1970: ${unixSeconds} s`);
  return unixSeconds / BigInt(checkLotSeconds(lotSeconds));
}

/** First second of a lot. */
export function lotStart(lot: bigint, lotSeconds: number): bigint {
  return lot * BigInt(checkLotSeconds(lotSeconds));
}

/** First second after a lot. */
export function lotEnd(lot: bigint, lotSeconds: number): bigint {
  return (lot + 1n) * BigInt(checkLotSeconds(lotSeconds));
}

/** Refuses a lot length that the reading's uint32 cannot carry, or that is zero. */
export function checkLotSeconds(lotSeconds: number): number {
  if (!Number.isInteger(lotSeconds) || lotSeconds < 1 || lotSeconds > 0xffff_ffff) {
    throw new BijuliError(
      "bad-lot-seconds",
      `lotSeconds must be a whole number from 1 to 4294967295, not ${lotSeconds}`,
    );
  }
  return lotSeconds;
}
