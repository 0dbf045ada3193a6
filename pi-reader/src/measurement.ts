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

/** A tally as text, for checkpoints. */
export type SpreadTallyState = [min: string, max: string, weighted: string, weight: string];
export interface LotTallyState {
  forward: string;
  reverse: string;
  nanoseconds: string;
  samples: number;
  quality: number;
  voltage: SpreadTallyState;
  current: SpreadTallyState;
  power: SpreadTallyState;
}

class SpreadTally {
  #min = 0n;
  #max = 0n;
  #weighted = 0n;
  #weight = 0n;

  constructor(state: SpreadTallyState = ["0", "0", "0", "0"]) {
    const [min, max, weighted, weight] = state;
    this.#min = BigInt(min);
    this.#max = BigInt(max);
    this.#weighted = BigInt(weighted);
    this.#weight = BigInt(weight);
  }

  add(value: bigint, nanoseconds: bigint): void {
    if (this.#weight === 0n || value < this.#min) this.#min = value;
    if (this.#weight === 0n || value > this.#max) this.#max = value;
    this.#weighted += value * nanoseconds;
    this.#weight += nanoseconds;
  }

  get spread(): Spread | undefined {
    return this.#weight === 0n ? undefined : { min: this.#min, mean: this.#weighted / this.#weight, max: this.#max };
  }

  get state(): SpreadTallyState {
    return [this.#min.toString(), this.#max.toString(), this.#weighted.toString(), this.#weight.toString()];
  }
}

/** Sums stretches of one lot. */
export class LotTally {
  #forward: bigint;
  #reverse: bigint;
  #nanoseconds: bigint;
  #samples: number;
  #quality: number;
  readonly #voltage: SpreadTally;
  readonly #current: SpreadTally;
  readonly #power: SpreadTally;

  /** A new lot, or one that a checkpoint kept. */
  constructor(state?: LotTallyState) {
    this.#forward = BigInt(state?.forward ?? 0);
    this.#reverse = BigInt(state?.reverse ?? 0);
    this.#nanoseconds = BigInt(state?.nanoseconds ?? 0);
    this.#samples = state?.samples ?? 0;
    this.#quality = state?.quality ?? 0;
    this.#voltage = new SpreadTally(state?.voltage);
    this.#current = new SpreadTally(state?.current);
    this.#power = new SpreadTally(state?.power);
  }

  add(stretch: Stretch): void {
    this.#forward += stretch.forward;
    this.#reverse += stretch.reverse;
    this.#nanoseconds += stretch.nanoseconds;
    if (stretch.voltage !== undefined) this.#voltage.add(stretch.voltage, stretch.nanoseconds);
    if (stretch.current !== undefined) this.#current.add(stretch.current, stretch.nanoseconds);
    if (stretch.power !== undefined) this.#power.add(stretch.power, stretch.nanoseconds);
  }

  countSamples(samples: number): void {
    this.#samples += samples;
  }

  flag(bits: number): void {
    this.#quality |= bits;
  }

  get coveredMs(): number {
    return Number(this.#nanoseconds / 1_000_000n);
  }

  get state(): LotTallyState {
    return {
      forward: this.#forward.toString(),
      reverse: this.#reverse.toString(),
      nanoseconds: this.#nanoseconds.toString(),
      samples: this.#samples,
      quality: this.#quality,
      voltage: this.#voltage.state,
      current: this.#current.state,
      power: this.#power.state,
    };
  }

  /** The lot so far, with the bits that were flagged. */
  measurement(lot: bigint): LotMeasurement {
    const measurement: LotMeasurement = {
      lot,
      forward: this.#forward,
      reverse: this.#reverse,
      samples: this.#samples,
      coveredMs: this.coveredMs,
      quality: this.#quality,
    };
    const [voltage, current, power] = [this.#voltage.spread, this.#current.spread, this.#power.spread];
    if (voltage) measurement.voltage = voltage;
    if (current) measurement.current = current;
    if (power) measurement.power = power;
    return measurement;
  }
}
