import { type ClearedLot, clearLot, type Hex, type SignedReading } from "@bijuli/protocol";
import type { Charter } from "./charters.ts";

/** What a plant or the distributor brought into a clearing. */
export interface Supply {
  signed: SignedReading | undefined;
  /** Units, lot by lot: cut to capacity, corrected by what earlier estimates got wrong; undefined until it is known. */
  energies: bigint[] | undefined;
}

/** Consecutive lots of a feeder that are settled together, from their opening to their close. */
export class Clearing {
  readonly charter: Charter;
  /** Oldest first; the last one names the clearing. */
  readonly lots: readonly bigint[];
  readonly transactions: { open: Hex; plant: Hex; distributor: Hex; consumers: Hex[] };
  readonly plants = new Map<Hex, Supply>();
  received: Supply | undefined;
  /** An estimate took part: no penalty in any lot. */
  estimated = false;
  /** So many of its first lots carry a correction: no penalty there. */
  corrected = 0;

  constructor(charter: Charter, last: bigint, lots: number, open: Hex) {
    this.charter = charter;
    this.lots = Array.from({ length: lots }, (_, i) => last - BigInt(lots - 1 - i));
    this.transactions = { open, plant: "0x", distributor: "0x", consumers: [] };
  }

  get last(): bigint {
    return this.lots.at(-1)!;
  }

  /** The account of a plant or of the distributor, by its meter. */
  supplier(meterId: Hex): number {
    const { distributor, plants } = this.charter;
    if (distributor?.meterId === meterId) return distributor.account;
    return plants.find((plant) => plant.meterId === meterId)!.account;
  }

  /** What all plants sent in the i-th lot, in Units. */
  sent(i: number): bigint {
    return this.charter.plants.reduce((all, { meterId }) => all + this.plants.get(meterId)!.energies![i]!, 0n);
  }

  /** The i-th lot's arithmetic, once both supply stages are known. */
  clear(i: number, used: readonly bigint[]): ClearedLot {
    const { charter, plants, received, estimated, corrected } = this;
    return clearLot({
      plants: charter.plants.map(({ meterId, pricePerKWh }) => ({
        energy: plants.get(meterId)!.energies![i]!,
        pricePerKWh,
      })),
      received: received!.energies![i]!,
      used,
      terms: { ...charter.terms, penaltyWaived: estimated || i < corrected },
    });
  }
}
