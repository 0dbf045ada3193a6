import { BPS, UNITS_PER_KWH, WAD } from "./units.ts";

/*
 * SPEC's clearing arithmetic, integers only. Its twin is ClearingMath.sol; vectors/clearing.json holds both to the
 * same numbers. Nothing else in the project may compute a price.
 */

/** The terms that price a lot, as the regulator set them for it. */
export interface ClearingTerms {
  idealLossBps: number;
  serviceBps: number;
  penaltyBps: number;
  toleranceBps: number;
  /** wei per kWh; 0 where none is set. */
  maxPricePerKWh: bigint;
  /** True where an estimate took part: no penalty then. */
  penaltyWaived: boolean;
}

export interface LotInput {
  /** Units and wei per kWh. */
  plants: readonly { energy: bigint; pricePerKWh: bigint }[];
  /** The distributor's energy in Units. */
  received: bigint;
  /** Each consumer's energy in Units. */
  used: readonly bigint[];
  terms: ClearingTerms;
}

/** A cleared lot: Units, WAD for losses and factor, wei per kWh for the price. */
export interface ClearedLot {
  sent: bigint;
  lost: bigint;
  available: bigint;
  /** What was received beyond what was sent: a meter error, flagged. */
  gain: bigint;
  actualLoss: bigint;
  excessLoss: bigint;
  factor: bigint;
  factorClamped: boolean;
  pricePerKWh: bigint;
  priceCapped: boolean;
  delivered: bigint;
  unaccounted: bigint;
  overdrawn: bigint;
}

const max0 = (value: bigint): bigint => (value > 0n ? value : 0n);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const ceilDiv = (a: bigint, b: bigint): bigint => (a + b - 1n) / b;
const bps = (value: number): bigint => (BigInt(value) * WAD) / BPS;

/** Clears one lot. */
export function clearLot({ plants, received, used, terms }: LotInput): ClearedLot {
  const sent = plants.reduce((sum, plant) => sum + plant.energy, 0n);
  const value = plants.reduce((sum, plant) => sum + plant.energy * plant.pricePerKWh, 0n);
  const usedSum = used.reduce((sum, energy) => sum + energy, 0n);
  const lost = max0(sent - received);
  const available = min(sent, received);
  const actualLoss = sent === 0n ? 0n : ceilDiv(lost * WAD, sent);
  const excessLoss = terms.penaltyWaived ? 0n : max0(actualLoss - bps(terms.idealLossBps) - bps(terms.toleranceBps));
  const unclamped =
    WAD + bps(terms.idealLossBps) + bps(terms.serviceBps) - (excessLoss * BigInt(terms.penaltyBps)) / BPS;
  const factor = max0(unclamped);
  const uncapped = sent === 0n ? 0n : (value * factor) / (sent * WAD);
  const priceCapped = terms.maxPricePerKWh > 0n && uncapped > terms.maxPricePerKWh;
  return {
    sent,
    lost,
    available,
    gain: max0(received - sent),
    actualLoss,
    excessLoss,
    factor,
    factorClamped: unclamped < 0n,
    pricePerKWh: priceCapped ? terms.maxPricePerKWh : uncapped,
    priceCapped,
    delivered: min(available, usedSum),
    unaccounted: max0(available - usedSum),
    overdrawn: max0(usedSum - available),
  };
}

/**
 * An account's money: floor(Σ energy · price / 10^7) over all lots so far. The part below one wei is carried, so
 * that it makes no difference how lots are batched.
 */
export class Money {
  /** 10^-7 wei. */
  #sum: bigint;

  /** @param remainder what earlier lots left below one wei, in 10^-7 wei, for a count that does not begin at the first */
  constructor(remainder = 0n) {
    this.#sum = remainder;
  }

  /** Adds one lot (Units, wei per kWh) and returns the wei that it added. */
  add(energy: bigint, pricePerKWh: bigint): bigint {
    const before = this.total;
    this.#sum += energy * pricePerKWh;
    return this.total - before;
  }

  /** wei so far. */
  get total(): bigint {
    return this.#sum / UNITS_PER_KWH;
  }

  /** What is left below one wei, in 10^-7 wei. */
  get remainder(): bigint {
    return this.#sum % UNITS_PER_KWH;
  }
}
