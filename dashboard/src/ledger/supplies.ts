import { BPS, decodeEnergies, energyOf, type Hex, MAX_LOT_ENERGY, type SignedReading } from "@bijuli/protocol";
import type { Capacities } from "./capacities.ts";
import type { Clearing, Supply } from "./clearing.ts";

export const sum = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);

/**
 * Adds what earlier estimates got wrong to a meter's lots: as much to the first as fits, the rest to the next.
 * @param measured Units, each cut to capacity
 * @param correction Units, to be added or, below zero, taken off
 * @returns what enters the clearing, what is carried on, and how many of the first lots were touched
 */
export function withCorrection(
  measured: readonly bigint[],
  correction: bigint,
): { energies: bigint[]; carried: bigint; corrected: number } {
  let carried = correction;
  let corrected = 0;
  const energies = measured.map((energy, i) => {
    if (carried === 0n) return energy;
    const wanted = energy + carried;
    const entered = wanted < 0n ? 0n : wanted > MAX_LOT_ENERGY ? MAX_LOT_ENERGY : wanted;
    carried = wanted - entered;
    corrected = i + 1;
    return entered;
  });
  return { energies, carried, corrected };
}

/** What a distributor that was gone on without counts as having received: sent · (1 − ideal), lot by lot, in Units. */
export function idealReceipt(clearing: Clearing): bigint[] {
  const kept = BPS - BigInt(clearing.charter.terms.idealLossBps);
  return clearing.lots.map((_, i) => {
    const ideal = (clearing.sent(i) * kept) / BPS;
    return ideal > MAX_LOT_ENERGY ? MAX_LOT_ENERGY : ideal;
  });
}

/**
 * What a feeder's plants and distributor bring into its clearings: what their readings say, or what was estimated for
 * them; and what a late reading, less what was estimated, leaves to be added to the next lots.
 */
export class Supplies {
  readonly #capacities: Capacities;
  /** account → the last lot that its readings have covered. */
  readonly #cursors = new Map<number, bigint>();
  /** account → the first lot of the meter that takes the place of another, until it is read or estimated. */
  readonly #replaced = new Map<number, bigint>();
  /** account → Units that a late reading, less what was estimated, leaves to be added to its next lots. */
  readonly #carried = new Map<number, bigint>();

  constructor(capacities: Capacities) {
    this.#capacities = capacities;
  }

  /** A member's cursor begins at the lot before its first. */
  seat(account: number, fromLot: bigint): void {
    if (!this.#cursors.has(account)) this.#cursors.set(account, fromLot - 1n);
  }

  /** From a lot on, another meter is read in an account's place. */
  replace(account: number, fromLot: bigint): void {
    this.#replaced.set(account, fromLot);
  }

  /**
   * A meter that took another's place takes over in the first clearing of its own. What the old one never read is given
   * up: the estimate for it stands, and nothing of it is carried on.
   */
  #takeOver(account: number, clearing: Clearing): void {
    const from = this.#replaced.get(account);
    if (from === undefined || clearing.last < from) return;
    this.#replaced.delete(account);
    if (this.#cursors.get(account)! + 1n < from) this.#carried.set(account, 0n);
    this.#cursors.set(account, from - 1n);
  }

  /**
   * A plant's or the distributor's lots: each cut to capacity; what the reading says about lots that were closed
   * without it, less what was estimated, goes into the first open lot, and what does not fit there into the next.
   */
  measured(clearing: Clearing, signed: SignedReading): Supply {
    const account = clearing.supplier(signed.reading.meterId);
    this.#takeOver(account, clearing);
    let late = this.#carried.get(account) ?? 0n;
    for (let lot = this.#cursors.get(account)! + 1n; lot < clearing.lots[0]!; lot++) late += this.#energy(signed, lot);
    const { energies, carried, corrected } = withCorrection(
      clearing.lots.map((lot) => this.#energy(signed, lot)),
      late,
    );
    clearing.corrected = Math.max(clearing.corrected, corrected);
    this.#carried.set(account, carried);
    this.#cursors.set(account, clearing.last);
    return { signed, energies };
  }

  /** A silent meter's energies, as the regulator estimates them; empty where it was gone on without. */
  estimate(clearing: Clearing, meterId: Hex, bytes: Hex): void {
    clearing.estimated = true;
    const isDistributor = clearing.charter.distributor?.meterId === meterId;
    let energies: bigint[] | undefined;
    if (bytes !== "0x") energies = decodeEnergies(bytes);
    else if (!isDistributor) energies = clearing.lots.map(() => 0n);
    const supply = { signed: undefined, energies };
    if (isDistributor) clearing.received = supply;
    else clearing.plants.set(meterId, supply);
    if (energies) this.#carry(clearing, meterId, -sum(energies));
  }

  /** A distributor that was gone on without received the ideal: sent · (1 − ideal), lot by lot. */
  assumeIdeal(clearing: Clearing): void {
    const { received, charter } = clearing;
    if (!received || received.energies) return;
    received.energies = idealReceipt(clearing);
    this.#carry(clearing, charter.distributor!.meterId, -sum(received.energies));
  }

  #energy(signed: SignedReading, lot: bigint): bigint {
    return this.#capacities.cut(signed.reading.meterId, lot, energyOf(signed.reading, lot));
  }

  #carry(clearing: Clearing, meterId: Hex, energy: bigint): void {
    const account = clearing.supplier(meterId);
    this.#takeOver(account, clearing);
    this.#carried.set(account, (this.#carried.get(account) ?? 0n) + energy);
  }
}
