import { Quality } from "@bijuli/protocol";

/**
 * Energy is summed in femtojoules, as integers: 1 fJ = 1 µW · 1 ns = 1 pW · 1 ms, so that neither a sample nor a
 * duration is ever rounded. One Unit (0.36 J) is exactly this many.
 */
export const FEMTOJOULES_PER_UNIT = 360_000_000_000_000n;

/** Smallest, time-weighted mean and largest value of a lot, in millionths of V, A or W. */
export interface Spread {
  min: bigint;
  mean: bigint;
  max: bigint;
}

/** What a source measured in one lot, before it becomes register values. */
export interface LotMeasurement {
  lot: bigint;
  /** Femtojoules towards the load, and the other way. */
  forward: bigint;
  reverse: bigint;
  /** Samples taken in the lot. */
  samples: number;
  /** How much of the lot was measured. */
  coveredMs: number;
  quality: number;
  voltage?: Spread;
  current?: Spread;
  power?: Spread;
}

/** A stretch of time over which something was measured. */
export interface Stretch {
  nanoseconds: bigint;
  /** Femtojoules. */
  forward: bigint;
  reverse: bigint;
  /** Representative values in millionths; left out where they are not known. */
  voltage?: bigint | undefined;
  current?: bigint | undefined;
  power?: bigint | undefined;
}

class SpreadTally {
  #min = 0n;
  #max = 0n;
  #weighted = 0n;
  #weight = 0n;

  add(value: bigint, nanoseconds: bigint): void {
    if (this.#weight === 0n || value < this.#min) this.#min = value;
    if (this.#weight === 0n || value > this.#max) this.#max = value;
    this.#weighted += value * nanoseconds;
    this.#weight += nanoseconds;
  }

  get spread(): Spread | undefined {
    return this.#weight === 0n ? undefined : { min: this.#min, mean: this.#weighted / this.#weight, max: this.#max };
  }
}

/** Sums stretches of one lot. */
export class LotTally {
  #forward = 0n;
  #reverse = 0n;
  #nanoseconds = 0n;
  #samples = 0;
  #quality = 0;
  readonly #voltage = new SpreadTally();
  readonly #current = new SpreadTally();
  readonly #power = new SpreadTally();

  add(stretch: Stretch): void {
    this.#forward += stretch.forward;
    this.#reverse += stretch.reverse;
    this.#nanoseconds += stretch.nanoseconds;
    if (stretch.voltage !== undefined) this.#voltage.add(stretch.voltage, stretch.nanoseconds);
    if (stretch.current !== undefined) this.#current.add(stretch.current, stretch.nanoseconds);
    if (stretch.power !== undefined) this.#power.add(stretch.power, stretch.nanoseconds);
  }

  countSample(): void {
    this.#samples++;
  }

  flag(bits: number): void {
    this.#quality |= bits;
  }

  /** The lot so far; what `lotSeconds` has more than was covered sets the gap bit. */
  measurement(lot: bigint, lotSeconds: number): LotMeasurement {
    const coveredMs = Number(this.#nanoseconds / 1_000_000n);
    const gap = coveredMs < lotSeconds * 1000 ? Quality.GAP : 0;
    const measurement: LotMeasurement = {
      lot,
      forward: this.#forward,
      reverse: this.#reverse,
      samples: this.#samples,
      coveredMs,
      quality: this.#quality | gap,
    };
    const [voltage, current, power] = [this.#voltage.spread, this.#current.spread, this.#power.spread];
    if (voltage) measurement.voltage = voltage;
    if (current) measurement.current = current;
    if (power) measurement.power = power;
    return measurement;
  }
}
