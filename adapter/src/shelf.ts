import {
  decodeRecords,
  disagreement,
  encodeRecord,
  type Hex,
  lotBefore,
  readingFromRecord,
  registerAt,
  type SignedReading,
} from "@bijuli/protocol";
import type { Meter } from "./meters.ts";

/** A verified reading, ready to be handed out. */
export interface ShelfEntry {
  readonly lot: bigint;
  readonly lots: number;
  /** Its record's hex digits, without 0x. */
  readonly digits: string;
  readonly forward: bigint;
  /** Who signed it, lower-case. */
  readonly signer: string;
  /** Real unix ms when it was asked for and when it came. */
  readonly requestedAt: number;
  readonly receivedAt: number;
}

/** A reading and the key that signed it, lower-case. */
export interface Testimony extends SignedReading {
  signer: string;
}

/** Two readings of one meter, both properly signed, that cannot both be true. */
export interface Contradiction {
  kind: "registers-differ" | "register-goes-back";
  /** The lot at whose end they differ; for a register that goes back, the later reading's. */
  lot: bigint;
  /** What was known before, and what came then. */
  earlier: Testimony;
  later: Testimony;
}

/** Whether one key signed both: only then does the registry take them as proof. */
export const oneSigner = ({ earlier, later }: Contradiction): boolean => earlier.signer === later.signer;

/** A run takes the room of a reading for each so many of its lots begun: else long ones could fill the memory. */
const LOTS_A_PLACE = 16;
const placesOf = ({ lots }: ShelfEntry): number => Math.ceil(lots / LOTS_A_PLACE);

export const shelfKey = (lot: bigint, lots: number): string => `${lot}:${lots}`;

/**
 * All verified readings, by meter. A closed lot never changes, so what is here is true for ever; it leaves only for
 * age or number, the oldest first.
 */
export class Shelf {
  readonly #lotSeconds: number;
  readonly #maxAgeMs: number;
  readonly #maxItems: number;
  /** Every entry in the order of arrival. */
  readonly #arrivals = new Map<ShelfEntry, Meter>();
  #places = 0;

  constructor(options: { lotSeconds: number; maxAgeMs: number; maxItems: number }) {
    this.#lotSeconds = options.lotSeconds;
    this.#maxAgeMs = options.maxAgeMs;
    this.#maxItems = options.maxItems;
  }

  get size(): number {
    return this.#arrivals.size;
  }

  /** The reading as it was signed. */
  signed(meter: Meter, entry: { lot: bigint; digits: string }): SignedReading {
    const [record] = decodeRecords(`0x${entry.digits}`);
    return readingFromRecord(record!, { meterId: meter.id, lot: entry.lot, lotSeconds: this.#lotSeconds });
  }

  /**
   * What contradicts a reading among the earlier ones of its meter: a different register at the same lot's end, or a
   * register that would have gone back in between. What the same key signed comes first, for it is proof.
   */
  contradiction(meter: Meter, later: Testimony): Contradiction | undefined {
    const { reading, signer } = later;
    let differs: Contradiction | undefined;
    const from = lotBefore(reading);
    let before: ShelfEntry | undefined;
    let after: ShelfEntry | undefined;
    const { remembered } = meter;
    for (const entry of remembered === undefined ? meter.readings.values() : [...meter.readings.values(), remembered]) {
      const start = entry.lot - BigInt(entry.lots);
      if (entry.lot < from) {
        if (before === undefined || entry.lot > before.lot) before = entry;
      } else if (start > reading.lot) {
        if (after === undefined || start < after.lot - BigInt(after.lots)) after = entry;
      } else {
        const earlier = this.#testimony(meter, entry);
        const lot = disagreement(earlier.reading, reading);
        if (lot === undefined || (differs !== undefined && entry.signer !== signer)) continue;
        differs = { kind: "registers-differ", lot, earlier, later };
        if (oneSigner(differs)) return differs;
      }
    }
    if (differs !== undefined) return differs;
    if (before !== undefined && before.forward > registerAt(reading, from)) {
      return { kind: "register-goes-back", lot: reading.lot, earlier: this.#testimony(meter, before), later };
    }
    if (after !== undefined) {
      const next = this.#testimony(meter, after);
      if (registerAt(next.reading, lotBefore(next.reading)) < reading.forward) {
        return { kind: "register-goes-back", lot: next.reading.lot, earlier: next, later };
      }
    }
    return undefined;
  }

  #testimony(meter: Meter, entry: ShelfEntry): Testimony {
    return { ...this.signed(meter, entry), signer: entry.signer };
  }

  /** Keeps a reading that was verified and contradicts nothing. */
  put(
    meter: Meter,
    signed: SignedReading,
    from: { signer: string; requestedAt: number; receivedAt: number },
  ): ShelfEntry {
    const { reading, signature } = signed;
    const lots = reading.energies.length;
    const key = shelfKey(reading.lot, lots);
    const there = meter.readings.get(key);
    if (there !== undefined) return there;
    const record: Hex = encodeRecord(reading, signature);
    const entry: ShelfEntry = {
      lot: reading.lot,
      lots,
      digits: record.slice(2),
      forward: reading.forward,
      signer: from.signer,
      requestedAt: from.requestedAt,
      receivedAt: from.receivedAt,
    };
    meter.readings.set(key, entry);
    // What it says now about that time has been found to agree.
    if (meter.remembered !== undefined && meter.remembered.lot <= entry.lot) meter.remembered = undefined;
    this.#arrivals.set(entry, meter);
    this.#places += placesOf(entry);
    if (meter.newest === undefined || meter.newest.lot < entry.lot) meter.newest = entry;
    this.#evict();
    return entry;
  }

  #evict(): void {
    const oldest = Date.now() - this.#maxAgeMs;
    for (const [entry, meter] of this.#arrivals) {
      if (this.#places <= this.#maxItems && entry.receivedAt >= oldest) return;
      this.#arrivals.delete(entry);
      this.#places -= placesOf(entry);
      meter.readings.delete(shelfKey(entry.lot, entry.lots));
    }
  }
}
