import { BPS, decodeEnergies, energyOf, type Hex, type SignedReading } from "@bijuli/protocol";
import type { Capacities } from "./capacities.ts";
import type { Clearing, Supply } from "./clearing.ts";

/** An energy takes six bytes. */
const MAX_ENERGY = 2n ** 48n - 1n;

export const sum = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);

/**
 * What a feeder's plants and distributor bring into its clearings: what their readings say, or what was estimated for
 * them; and what a late reading, less what was estimated, leaves to be added to the next lots.
 */
export class Supplies {
  readonly #capacities: Capacities;
  /** account → the last lot that its readings have covered. */
  readonly #cursors = new Map<number, bigint>();
  /** account → Units that a late reading, less what was estimated, leaves to be added to its next lots. */
  readonly #carried = new Map<number, bigint>();

  constructor(capacities: Capacities) {
    this.#capacities = capacities;
  }

  /** A member's cursor begins at the lot before its first. */
  seat(account: number, fromLot: bigint): void {
    if (!this.#cursors.has(account)) this.#cursors.set(account, fromLot - 1n);
  }

  /**
   * A plant's or the distributor's lots: each cut to capacity; what the reading says about lots that were closed
   * without it, less what was estimated, goes into the first open lot, and what does not fit there into the next.
   */
  measured(clearing: Clearing, signed: SignedReading): Supply {
    const account = clearing.supplier(signed.reading.meterId);
    let carried = this.#carried.get(account) ?? 0n;
    for (let lot = this.#cursors.get(account)! + 1n; lot < clearing.lots[0]!; lot++) {
      carried += this.#energy(signed, lot);
    }
    const energies = clearing.lots.map((lot, i) => {
      const measured = this.#energy(signed, lot);
      if (carried === 0n) return measured;
      const wanted = measured + carried;
      const energy = wanted < 0n ? 0n : wanted > MAX_ENERGY ? MAX_ENERGY : wanted;
      carried = wanted - energy;
      clearing.corrected = Math.max(clearing.corrected, i + 1);
      return energy;
    });
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
    const kept = BPS - BigInt(charter.terms.idealLossBps);
    received.energies = clearing.lots.map((_, i) => {
      const ideal = (clearing.sent(i) * kept) / BPS;
      return ideal > MAX_ENERGY ? MAX_ENERGY : ideal;
    });
    this.#carry(clearing, charter.distributor!.meterId, -sum(received.energies));
  }

  #energy(signed: SignedReading, lot: bigint): bigint {
    return this.#capacities.cut(signed.reading.meterId, lot, energyOf(signed.reading, lot));
  }

  #carry(clearing: Clearing, meterId: Hex, energy: bigint): void {
    const account = clearing.supplier(meterId);
    this.#carried.set(account, (this.#carried.get(account) ?? 0n) + energy);
  }
}
