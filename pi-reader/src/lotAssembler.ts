import { lotEnd, lotOf, lotStart, Quality } from "@bijuli/protocol";
import { CompleteLots } from "./completeLots.ts";
import type { Piece } from "./integrator.ts";
import { type LotMeasurement, LotTally, type LotTallyState } from "./measurement.ts";

const NS_PER_S = 1_000_000_000n;
/** As far as a clock can go between two looks at it without being suspected. */
const SLEWED_NS = 2_000_000_000n;

/** An open lot as a checkpoint keeps it. */
export interface OpenLotState {
  lot: string;
  tally: LotTallyState;
}

/**
 * Places pieces of monotonic time in lots. Only ends of lots matter: what is measured goes into the lot that is open
 * until the clock passes its end, so that whatever the clock does, energy is neither lost nor counted twice, and a
 * lot once complete is never touched again.
 */
export class LotAssembler {
  readonly #lotSeconds: number;
  #offsetNs: bigint | undefined;
  #open: bigint | undefined;
  #tally = new LotTally();
  /** Monotonic time up to which the open lot is accounted for. */
  #reachedNs: bigint | undefined;
  /** Bits for every lot from now up to the one in which measuring goes on. */
  #interruption = 0;
  /** Lots that are over and not stored yet. */
  readonly complete = new CompleteLots();

  /**
   * @param next the lot after the newest stored one, undefined for a new meter
   * @param kept what a checkpoint kept of it
   */
  constructor(lotSeconds: number, next?: bigint, kept?: OpenLotState) {
    this.#lotSeconds = lotSeconds;
    this.#open = next;
    if (kept !== undefined) {
      this.#open = BigInt(kept.lot);
      this.#tally = new LotTally(kept.tally);
    }
    if (this.#open !== undefined) this.interrupt(Quality.POWER_DOWN | Quality.GAP);
  }

  /** The lot that is open; undefined before the first piece of a new meter. */
  get open(): bigint | undefined {
    return this.#open;
  }

  setOffset(offsetNs: bigint): void {
    this.#offsetNs = offsetNs;
  }

  /** Flags the open lot and all that follow up to the one in which the next piece is placed. */
  interrupt(bits: number): void {
    this.#interruption |= bits;
    this.#tally.flag(bits);
  }

  flag(bits: number): void {
    this.#tally.flag(bits);
  }

  /** Energy whose time is not known any more, into the open lot. */
  addTimeless(forward: bigint, reverse: bigint): void {
    this.#tally.add({ nanoseconds: 0n, forward, reverse });
  }

  /** Places a piece; pieces come in the order of time. `bits` flag every lot that it touches. */
  place(piece: Piece, bits: number): void {
    this.#open ??= this.#lotAt(piece.fromNs);
    this.passTo(piece.fromNs, bits);
    this.#interruption = 0;
    let fromNs = piece.fromNs;
    let forward = 0n;
    let reverse = 0n;
    for (;;) {
      const endNs = this.#endNs(this.#open);
      const toNs = piece.toNs < endNs ? piece.toNs : endNs;
      const forwardUntil = piece.forwardUntil(toNs);
      const reverseUntil = piece.reverseUntil(toNs);
      this.#tally.add({
        nanoseconds: toNs - fromNs,
        forward: forwardUntil - forward,
        reverse: reverseUntil - reverse,
        voltage: piece.voltage,
        current: piece.current,
        power: piece.power,
      });
      this.#tally.flag(bits);
      forward = forwardUntil;
      reverse = reverseUntil;
      fromNs = toNs;
      if (toNs === piece.toNs) break;
      this.#finish(bits);
    }
    this.#tally.countSamples(piece.samples);
    this.#reachedNs = piece.toNs;
  }

  /** Time passes until `ns` without anything measured since the last piece: lots that ended meanwhile are complete. */
  passTo(ns: bigint, bits: number): void {
    if (this.#open === undefined || this.#offsetNs === undefined) return;
    // A meter that begins within a lot has missed the part before.
    let reached = this.#reachedNs ?? this.#startNs(this.#open);
    for (let endNs = this.#endNs(this.#open); endNs <= ns; endNs = this.#endNs(this.#open)) {
      // A slewed clock may end a lot a little before what was already placed in it; that is no gap, a step is.
      const slewed = endNs <= reached && reached - endNs < SLEWED_NS;
      if (!slewed) this.#tally.flag(Quality.GAP);
      this.#finish(bits);
      if (!slewed) reached = endNs;
    }
    if (ns > reached) {
      this.#tally.flag(Quality.GAP);
      reached = ns;
    }
    this.#reachedNs = reached;
  }

  #finish(bits: number): void {
    this.#tally.flag(bits);
    const measured = this.#tally.measurement(this.#open!);
    // A slewed clock makes a lot some microseconds longer or shorter than its name.
    const whole = this.#lotSeconds * 1000;
    if ((measured.quality & Quality.GAP) === 0 || measured.coveredMs > whole) measured.coveredMs = whole;
    this.complete.push(measured);
    this.#open = this.#open! + 1n;
    this.#tally = new LotTally();
    this.#tally.flag(this.#interruption);
  }

  /** The open lot so far. */
  measurement(): LotMeasurement | undefined {
    return this.#open === undefined ? undefined : this.#tally.measurement(this.#open);
  }

  /** The open lot as a checkpoint keeps it. */
  get state(): OpenLotState | undefined {
    return this.#open === undefined ? undefined : { lot: this.#open.toString(), tally: this.#tally.state };
  }

  /**
   * What a checkpoint keeps when the lots up to `through` are stored and later ones still wait: the next one as the open
   * lot, and the energy of all of them, whose time a power cut would forget.
   */
  stateAfter(through: bigint): { open: OpenLotState; forward: bigint; reverse: bigint } {
    const waiting = this.complete.after(through);
    const now = this.#tally.measurement(this.#open!);
    const next = new LotTally();
    next.flag(waiting.quality);
    return {
      open: { lot: (through + 1n).toString(), tally: next.state },
      forward: waiting.forward + now.forward,
      reverse: waiting.reverse + now.reverse,
    };
  }

  #lotAt(ns: bigint): bigint {
    return lotOf((ns + this.#offsetNs!) / NS_PER_S, this.#lotSeconds);
  }

  #startNs(lot: bigint): bigint {
    return lotStart(lot, this.#lotSeconds) * NS_PER_S - this.#offsetNs!;
  }

  #endNs(lot: bigint): bigint {
    return lotEnd(lot, this.#lotSeconds) * NS_PER_S - this.#offsetNs!;
  }
}
