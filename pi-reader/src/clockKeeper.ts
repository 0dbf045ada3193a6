/** A jump of the wall clock against the monotonic one beyond this puts it under suspicion. */
const JUMP_NS = 2_000_000_000n;
/** The wall clock is read in whole milliseconds: what moves less than this has not moved, and lots keep their length. */
const DEAD_BAND_NS = 2_000_000n;
/** A suspected clock that wavers more than this is not settled. */
const STEADY_NS = 500_000_000n;
const NS_PER_MS = 1_000_000n;

/**
 * - `unsynchronised`: never synchronised since the start; a Pi has no clock of its own, so no lot can be placed
 * - `trusted`: synchronised
 * - `holdover`: was synchronised, is no longer; lots go on, with the bit "clock invalid"
 * - `suspect`: the wall clock jumped; nothing is placed until it is confirmed or jumps back
 */
export type ClockState = "unsynchronised" | "trusted" | "holdover" | "suspect";

/**
 * Decides whether the wall clock may place lot ends. Time itself is always measured on the monotonic clock; all that
 * the wall clock gives is the offset between the two.
 */
export class ClockKeeper {
  readonly #confirmNs: bigint;
  #state: ClockState = "unsynchronised";
  #offsetNs: bigint | undefined;
  #candidate: { offsetNs: bigint; sinceNs: bigint } | undefined;
  /** Confirmed steps. */
  steps = 0;

  /** @param confirmNs how long a clock that jumped must run steadily and synchronised to be believed */
  constructor(confirmNs = 16_000_000_000n) {
    this.#confirmNs = confirmNs;
  }

  get state(): ClockState {
    return this.#state;
  }

  /** True while the offset may be used. */
  get usable(): boolean {
    return this.#state === "trusted" || this.#state === "holdover";
  }

  /** Wall nanoseconds − monotonic nanoseconds; undefined before the first synchronisation. */
  get offsetNs(): bigint | undefined {
    return this.#offsetNs;
  }

  /**
   * Takes a look at both clocks at one moment.
   * @returns "stepped" when a jump has just been confirmed
   */
  observe(monotonicNs: bigint, wallMs: number, synchronised: boolean): "stepped" | undefined {
    const offset = BigInt(Math.round(wallMs * 1000)) * 1000n - monotonicNs;
    if (this.#offsetNs === undefined) {
      if (synchronised) {
        this.#offsetNs = offset;
        this.#state = "trusted";
      }
      return undefined;
    }
    if (distance(offset, this.#offsetNs) <= JUMP_NS) {
      // Slewing is followed; a jump that was taken back is forgotten.
      if (distance(offset, this.#offsetNs) > DEAD_BAND_NS) this.#offsetNs = offset;
      this.#candidate = undefined;
      this.#state = synchronised ? "trusted" : "holdover";
      return undefined;
    }
    this.#state = "suspect";
    if (this.#candidate === undefined || distance(offset, this.#candidate.offsetNs) > STEADY_NS || !synchronised) {
      this.#candidate = { offsetNs: offset, sinceNs: monotonicNs };
      return undefined;
    }
    if (monotonicNs - this.#candidate.sinceNs < this.#confirmNs) return undefined;
    this.#offsetNs = offset;
    this.#candidate = undefined;
    this.#state = "trusted";
    this.steps++;
    return "stepped";
  }

  /** Unix ms by the offset that is trusted; undefined before there is one. */
  wallMs(monotonicNs: bigint): number | undefined {
    return this.#offsetNs === undefined ? undefined : Number((monotonicNs + this.#offsetNs) / NS_PER_MS);
  }
}

const distance = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a);
