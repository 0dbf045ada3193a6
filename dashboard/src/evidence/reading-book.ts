import {
  encodeRecord,
  energyOf,
  type Hex,
  lotBefore,
  qualityNames,
  type ReadingDomain,
  type recoverReadingSigner,
  registerAt,
  type SignedReading,
} from "@bijuli/protocol";
import type { BillMeter } from "./bill.ts";
import type { MeterKey } from "./registry-state.ts";
import { DoesNotHold } from "./witness.ts";

export type Recover = typeof recoverReadingSigner;

/** The signed readings of a bill: each is held against its meter's signer, and each must be needed. */
export class ReadingBook {
  readonly #readings: readonly SignedReading[];
  readonly #signers: readonly Hex[];
  readonly #meters = new Map<Hex, Omit<BillMeter, "meterId">>();
  readonly #checked = new Set<SignedReading>();
  readonly #used = new Set<SignedReading>();

  constructor(readings: readonly SignedReading[], domain: ReadingDomain, lotSeconds: number, recover: Recover) {
    this.#readings = readings;
    this.#signers = readings.map(({ reading, signature }) => {
      const what = nameOf(reading.meterId, reading.lot);
      if (reading.lotSeconds !== lotSeconds) {
        throw new DoesNotHold(`${what}: its lots last ${reading.lotSeconds} s, the registry's ${lotSeconds} s`);
      }
      try {
        return recover(domain, reading, signature).toLowerCase() as Hex;
      } catch (cause) {
        throw new DoesNotHold(`${what}: its signature is malformed`, cause);
      }
    });
  }

  /** @param meter as the registry has it, proven */
  know({ meterId, ...meter }: BillMeter): void {
    this.#meters.set(meterId, meter);
  }

  get meters(): BillMeter[] {
    return [...this.#meters].map(([meterId, meter]) => ({ meterId, ...meter }));
  }

  /**
   * The reading by which a meter was cleared: the one whose last lot is the clearing's, signed by who signs for the
   * meter in that lot.
   */
  of(meterId: Hex, lot: bigint, first: bigint): SignedReading {
    const at = this.#readings.findIndex(({ reading }) => reading.meterId === meterId && reading.lot === lot);
    const signed = this.#readings[at];
    if (!signed) throw new DoesNotHold(`${nameOf(meterId, lot)} is missing`);
    this.#used.add(signed);
    if (lotBefore(signed.reading) >= first) {
      throw new DoesNotHold(`${nameOf(meterId, lot)} does not reach back to lot ${first}`);
    }
    if (this.#checked.has(signed)) return signed;
    const { signer, suspended } = this.#keyAt(meterId, lot);
    if (this.#signers[at] !== signer) {
      throw new DoesNotHold(
        `${nameOf(meterId, lot)}: its signature is not its meter's. It was signed by ${this.#signers[at]}; the registry knows ${signer}`,
      );
    }
    if (suspended) throw new DoesNotHold(`${nameOf(meterId, lot)}: the meter is suspended`);
    this.#checked.add(signed);
    return signed;
  }

  /** A lot's energy, cut to what the meter's capacity allows, in Units. */
  energy({ reading }: SignedReading, lot: bigint): bigint {
    const energy = energyOf(reading, lot);
    const { capacity } = this.#keyAt(reading.meterId, lot);
    return energy > capacity ? capacity : energy;
  }

  /** That a reading's record is what a transaction delivered. */
  delivered({ reading, signature }: SignedReading, input: Hex, transaction: Hex): void {
    if (!input.includes(encodeRecord(reading, signature).slice(2))) {
      throw new DoesNotHold(
        `${nameOf(reading.meterId, reading.lot)} is not the one that transaction ${transaction} delivered`,
      );
    }
  }

  /** That a meter's register at the end of a lot is the one that was cleared. */
  continues({ reading }: SignedReading, lot: bigint, register: bigint): void {
    const says = registerAt(reading, lot);
    if (says !== register) {
      throw new DoesNotHold(
        `${nameOf(reading.meterId, reading.lot)}: its register at the end of lot ${lot} is ${says}; ${register} was cleared`,
      );
    }
  }

  /** That the file holds no reading which the bill does not rest on. */
  allUsed(): void {
    const spare = this.#readings.find((signed) => !this.#used.has(signed));
    if (spare) throw new DoesNotHold(`${nameOf(spare.reading.meterId, spare.reading.lot)} is not part of this bill`);
  }

  #keyAt(meterId: Hex, lot: bigint): MeterKey {
    const key = this.#meters.get(meterId)?.keys.findLast(({ fromLot }) => fromLot <= lot);
    if (!key) throw new DoesNotHold(`meter ${meterId} has no key for lot ${lot}`);
    return key;
  }
}

const nameOf = (meterId: Hex, lot: bigint): string => `the reading of meter ${meterId} for lot ${lot}`;

/** A quality's bits, in words. */
export const qualityText = (bits: number): string => qualityNames(bits).join(", ");
