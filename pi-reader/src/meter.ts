import {
  BijuliError,
  encodeRecord,
  type Hex,
  type LotReading,
  lotEnd,
  lotStart,
  MAX_LOT_ENERGY,
  meterIdOf,
  Quality,
  type ReadingDomain,
  readingDigest,
  readingToJson,
  type SignedReading,
} from "@bijuli/protocol";
import { FEMTOJOULES_PER_UNIT, type LotMeasurement } from "./measurement.ts";
import { pause } from "./pause.ts";
import type { Signer } from "./signer.ts";
import { adoptSigners, type NextSigner, SigningKeys } from "./signerHistory.ts";
import type { Source } from "./source.ts";
import type { ClosedLot, Store } from "./store.ts";

/** A reading covers at most a month of five-minute lots. */
export const MAX_LOTS_A_READING = 8928;

/** Lots that one transaction closes after an outage: the event loop gets its turn in between. */
const BATCH = 288;

/** How a meter answers for a run of lots. */
export interface ServedReading extends SignedReading {
  serial: string;
  signer: Hex;
  digest: Hex;
  record: Hex;
}

export interface MeterOptions {
  serial: string;
  domain: ReadingDomain;
  lotSeconds: number;
  signer: Signer;
  /** The key that takes over, where a rotation is planned. */
  next?: NextSigner | undefined;
  source: Source;
  store: Store;
}

/** Registers in Units, and the femtojoules below one Unit. */
interface Registers {
  forward: bigint;
  reverse: bigint;
  forwardRest: bigint;
  reverseRest: bigint;
}

const ZERO: Registers = { forward: 0n, reverse: 0n, forwardRest: 0n, reverseRest: 0n };

/** A meter: takes what its source measured, keeps the registers, closes and signs lots, answers for them. */
export class Meter {
  readonly serial: string;
  readonly meterId: Hex;
  readonly domain: ReadingDomain;
  readonly lotSeconds: number;
  readonly source: Source;
  readonly #keys: SigningKeys;
  readonly #store: Store;
  #newest: ClosedLot | undefined;
  #first: bigint | undefined;
  #opening: ServedReading | undefined;
  #closing: Promise<void> | undefined;
  /** Asked by `run` before the first lot since the start is closed; what it throws keeps that from happening. */
  beforeFirstClosing: (() => Promise<void>) | undefined;
  /** Why the last closing failed; undefined when it did not. */
  failure: Error | undefined;

  /**
   * @throws BijuliError wrong-store when the store is another meter's, source-changed when a recording or simulation
   *   does not say again what the store says it said
   */
  constructor(options: MeterOptions) {
    this.serial = options.serial;
    this.meterId = meterIdOf(options.serial);
    this.domain = options.domain;
    this.lotSeconds = options.lotSeconds;
    this.source = options.source;
    this.#store = options.store;
    this.#store.claim({
      serial: this.serial,
      chainId: this.domain.chainId.toString(),
      registry: this.domain.registry,
      lotSeconds: this.lotSeconds.toString(),
    });
    const { signer, next } = options;
    this.#keys = new SigningKeys(adoptSigners(this.#store, signer, next), [signer, next?.signer]);
    this.#newest = this.#store.newest();
    const first = this.#store.get("firstLot");
    if (first !== undefined) this.#first = BigInt(first);
    this.#begin();
    this.#checkSource();
  }

  /** The first lot that counts; undefined before the source has seen a sample. */
  get firstLot(): bigint | undefined {
    return this.#first;
  }

  /** The oldest lot that is still in the store: the first one, unless older ones were archived. */
  get oldestLot(): bigint | undefined {
    const pruned = this.#store.pruned;
    return pruned === undefined ? this.#first : pruned.lot + 1n;
  }

  /** The address that signs the open lot. */
  get signer(): Hex {
    return this.#keys.addressAt(this.openLot ?? 0n);
  }

  /** The address that takes over, and from which lot on; undefined where none is planned. */
  get nextSigner(): { address: string; fromLot: bigint } | undefined {
    const last = this.#keys.history.at(-1)!;
    return last.fromLot > (this.openLot ?? 0n) ? last : undefined;
  }

  get newestLot(): bigint | undefined {
    return this.#newest?.lot;
  }

  /**
   * The reading that the registry starts from: the lot before the first one, with the registers that the first one
   * starts at. Undefined before there is a first lot.
   */
  get opening(): ServedReading | undefined {
    return this.#opening;
  }

  /** The lot that closes next; undefined before there is a first lot. */
  get openLot(): bigint | undefined {
    return this.#newest === undefined ? this.#first : this.#newest.lot + 1n;
  }

  /** Closes lots as they end, until aborted. A lot that cannot be stored is tried again, at most once a second. */
  async run(signal: AbortSignal, onFailure: (error: Error) => void = () => {}): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.beforeFirstClosing !== undefined && this.source.closedThrough() !== undefined) {
          await this.beforeFirstClosing();
          this.beforeFirstClosing = undefined;
        }
        await this.closeDue();
        await this.source.untilDue(this.openLot ?? 0n, signal);
      } catch (error) {
        if (signal.aborted) return;
        onFailure(error as Error);
        await pause(1000, signal);
      }
    }
  }

  /** Closes every lot that is over; concurrent callers share one closing. */
  closeDue(): Promise<void> {
    this.#closing ??= this.#closeDue()
      .then(
        () => {
          this.failure = undefined;
        },
        (error: Error) => {
          this.failure = error;
          throw error;
        },
      )
      .finally(() => {
        this.#closing = undefined;
      });
    return this.#closing;
  }

  async #closeDue(): Promise<void> {
    this.#begin();
    // Whoever asks meanwhile is told that the lots are open: the one that is waited for may be among them.
    if (this.beforeFirstClosing !== undefined) return;
    const { source } = this;
    for (;;) {
      const through = source.closedThrough();
      let next = this.openLot;
      if (through === undefined || next === undefined || next > through) return;
      const closed: ClosedLot[] = [];
      for (; next <= through && closed.length < BATCH; next++) {
        closed.push(this.#close(source.measured(next), closed.at(-1) ?? this.#newest ?? ZERO));
      }
      const last = closed.at(-1)!;
      // What a live source measured exists only once: with these lots goes a checkpoint of all that it still holds.
      this.#store.append(closed, source.checkpoint?.(last.lot));
      this.#newest = last;
      source.stored?.(last.lot);
      await new Promise(setImmediate);
    }
  }

  /** Registers at a lot's end, signed. */
  #close(measured: LotMeasurement, before: Registers): ClosedLot {
    const after = advance(before, measured);
    const energy = after.forward - before.forward;
    if (energy > MAX_LOT_ENERGY) {
      throw new BijuliError(
        "lot-overflow",
        `meter ${this.serial}: lot ${measured.lot} measured ${energy} Units, which no reading can carry`,
      );
    }
    const reading = this.#reading(measured.lot, after, measured.quality, [energy]);
    return {
      ...after,
      lot: measured.lot,
      energy,
      reverseEnergy: after.reverse - before.reverse,
      quality: measured.quality,
      samples: measured.samples,
      coveredMs: measured.coveredMs,
      voltage: measured.voltage,
      current: measured.current,
      power: measured.power,
      signature: this.#keys.at(measured.lot).sign(this.domain, reading),
    };
  }

  /**
   * The reading that covers `lots` closed lots ending with `lot`.
   * @throws BijuliError bad-lots for a count outside 1…8,928, before-first-lot where the meter has no value,
   *   lot-open where it has none yet, key-retired for a run whose last lot another key signed
   */
  async reading(lot: bigint, lots = 1): Promise<ServedReading> {
    if (!Number.isInteger(lots) || lots < 1 || lots > MAX_LOTS_A_READING) {
      throw new BijuliError(
        "bad-lots",
        `meter ${this.serial}: a reading covers 1 to ${MAX_LOTS_A_READING} lots, not ${lots}`,
      );
    }
    if (this.#newest === undefined || lot > this.#newest.lot) await this.closeDue();
    const from = lot - BigInt(lots) + 1n;
    if (this.#first !== undefined && from < this.#first) {
      throw new BijuliError(
        "before-first-lot",
        lots === 1
          ? `meter ${this.serial} has no value for lot ${lot}: its first lot is ${this.#first}`
          : `meter ${this.serial} has no value for lot ${from}, the first of ${lots} up to ${lot}: its first lot is ${this.#first}`,
      );
    }
    if (this.#newest === undefined || lot > this.#newest.lot) {
      throw new BijuliError("lot-open", `meter ${this.serial}: lot ${lot} is not over`);
    }
    const closed = this.#store.lots(from, lot);
    const last = closed.at(-1);
    if (last === undefined || closed.length !== lots) {
      throw new BijuliError("not-kept", `meter ${this.serial} no longer keeps all of the lots ${from} to ${lot}`, {
        remedy: "they are in the meter's archive",
      });
    }
    const quality = closed.reduce((bits, one) => bits | one.quality, 0);
    const reading = this.#reading(
      lot,
      last,
      quality,
      closed.map((one) => one.energy),
    );
    return this.#serve(reading, lots === 1 ? last.signature : this.#keys.at(lot).sign(this.domain, reading));
  }

  /** The stored lots of from … to that there are, oldest first. */
  lots(from: bigint, to: bigint): ClosedLot[] {
    return this.#store.lots(from, to);
  }

  /** The registers now, in Units, and the open lot so far. */
  async now(): Promise<{
    forward: bigint;
    reverse: bigint;
    open: (LotMeasurement & { energy: bigint }) | undefined;
  }> {
    // What a failing disk keeps from being closed is shown by /health; the rest of the meter still answers.
    await this.closeDue().catch(() => {});
    const before: Registers = this.#newest ?? ZERO;
    const lot = this.openLot;
    if (lot === undefined) return { forward: before.forward, reverse: before.reverse, open: undefined };
    const open = this.source.measured(lot);
    const after = advance(before, open);
    return {
      forward: after.forward,
      reverse: after.reverse,
      open: { ...open, energy: after.forward - before.forward },
    };
  }

  /** A lot's first and last moment, ISO 8601. */
  period(lot: bigint): { start: string; end: string } {
    const iso = (second: bigint) => new Date(Number(second) * 1000).toISOString().replace(".000Z", "Z");
    return { start: iso(lotStart(lot, this.lotSeconds)), end: iso(lotEnd(lot, this.lotSeconds)) };
  }

  /** Fixes the first lot once the source knows it, and the opening reading with it. */
  #begin(): void {
    if (this.#opening !== undefined) return;
    if (this.#first === undefined) {
      const first = this.source.firstLot();
      if (first === undefined) return;
      if (first < 1n) throw new BijuliError("bad-first-lot", `meter ${this.serial}: no lot lies before lot ${first}`);
      this.#store.set({ firstLot: first.toString() });
      this.#first = first;
    }
    const opening = this.#reading(this.#first - 1n, ZERO, Quality.GAP, [0n]);
    let signature = this.#store.get("openingSignature") as Hex | undefined;
    if (signature === undefined) {
      signature = this.#keys.at(opening.lot).sign(this.domain, opening);
      this.#store.set({ openingSignature: signature });
    }
    this.#opening = this.#serve(opening, signature);
  }

  /** A recording that was exchanged would make the meter contradict what it signed. */
  #checkSource(): void {
    if (!this.source.repeatable || this.#first === undefined) return;
    const differs = (what: string) =>
      new BijuliError("source-changed", `meter ${this.serial}: the source says otherwise than the store: ${what}`, {
        remedy: "give it the source it had, or a new store and key",
      });
    const first = this.source.firstLot();
    if (first !== this.#first) throw differs(`the first lot is ${first}, not ${this.#first}`);
    if (this.#newest === undefined) return;
    const { lot } = this.#newest;
    const through = this.source.closedThrough();
    if (through === undefined || lot > through) {
      throw new BijuliError(
        "clock-behind",
        `meter ${this.serial}: the clock says that lot ${lot} is not over, but the store has closed it`,
        {
          remedy: "set the clock right, or use the store that belongs to it",
        },
      );
    }
    // Beyond a recording's end all lots are alike: the newest that holds a sample tells recordings apart.
    for (const kept of [this.#newest, this.#store.newestMeasured()]) {
      if (kept === undefined) continue;
      const [before] = this.#store.lots(kept.lot - 1n, kept.lot - 1n);
      if (before === undefined && kept.lot !== this.#first) continue;
      const again = advance(before ?? ZERO, this.source.measured(kept.lot));
      if (again.forward !== kept.forward || again.reverse !== kept.reverse) {
        throw differs(`lot ${kept.lot} ends at ${again.forward} Units, not ${kept.forward}`);
      }
    }
  }

  #reading(lot: bigint, at: Registers, quality: number, energies: bigint[]): LotReading {
    const { meterId, lotSeconds } = this;
    return { meterId, lot, lotSeconds, forward: at.forward, reverse: at.reverse, quality, energies };
  }

  #serve(reading: LotReading, signature: Hex): ServedReading {
    return {
      serial: this.serial,
      reading,
      signature,
      signer: this.#keys.addressAt(reading.lot),
      digest: readingDigest(this.domain, reading),
      record: encodeRecord(reading, signature),
    };
  }
}

/** Registers after a lot: whole Units counted, the rest carried. */
function advance(before: Registers, measured: LotMeasurement): Registers {
  const forward = before.forwardRest + measured.forward;
  const reverse = before.reverseRest + measured.reverse;
  return {
    forward: before.forward + forward / FEMTOJOULES_PER_UNIT,
    reverse: before.reverse + reverse / FEMTOJOULES_PER_UNIT,
    forwardRest: forward % FEMTOJOULES_PER_UNIT,
    reverseRest: reverse % FEMTOJOULES_PER_UNIT,
  };
}

/** A served reading as JSON (SPEC: GET /readings/:lot). */
export function servedReadingToJson(served: ServedReading) {
  const { serial, reading, signature, signer, digest, record } = served;
  return { serial, reading: readingToJson(reading), signature, signer, digest, record };
}
