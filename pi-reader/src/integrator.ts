/** One look at a sensor. */
export interface PowerSample {
  /** Monotonic nanoseconds of the moment that the values stand for: for a chip that averages, the middle of its window. */
  atNs: bigint;
  /** µW, positive towards the load. */
  power: bigint;
  /** µV and µA, where they are known. */
  voltage?: bigint | undefined;
  current?: bigint | undefined;
}

/** Measured time on the monotonic clock, which can be cut anywhere without losing or inventing energy. */
export interface Piece {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  /** Femtojoules from the piece's begin until `ns`, each direction for itself. */
  forwardUntil(ns: bigint): bigint;
  reverseUntil(ns: bigint): bigint;
  /** Samples that end in it, and the last one's values. */
  readonly samples: number;
  readonly voltage?: bigint | undefined;
  readonly current?: bigint | undefined;
  readonly power?: bigint | undefined;
}

/**
 * Femtojoules (µW · ns) that flow forward in the first x of dt nanoseconds while power runs straight from p0 to p1,
 * rounded down. `dt` is even, so that the whole trapezoid is an integer and forward − reverse is exact.
 */
export function forwardEnergy(p0: bigint, p1: bigint, dt: bigint, x: bigint): bigint {
  const trapezoid = () => (2n * p0 * x * dt + (p1 - p0) * x * x) / (2n * dt);
  if (p0 >= 0n && p1 >= 0n) return trapezoid();
  if (p0 <= 0n && p1 <= 0n) return 0n;
  // The power changes its sign on the way, after dt · p0 / (p0 − p1).
  if (p0 > 0n) return x * (p0 - p1) <= dt * p0 ? trapezoid() : (p0 * p0 * dt) / (2n * (p0 - p1));
  const past = x * (p1 - p0) + dt * p0;
  return past <= 0n ? 0n : (past * past) / (2n * dt * (p1 - p0));
}

class Trapezoid implements Piece {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly samples = 1;
  readonly power: bigint;
  readonly voltage: bigint | undefined;
  readonly current: bigint | undefined;
  readonly #p0: bigint;

  constructor(before: PowerSample, sample: PowerSample) {
    this.fromNs = before.atNs;
    this.toNs = sample.atNs;
    this.#p0 = before.power;
    this.power = sample.power;
    this.voltage = sample.voltage;
    this.current = sample.current;
  }

  forwardUntil(ns: bigint): bigint {
    return forwardEnergy(this.#p0, this.power, this.toNs - this.fromNs, ns - this.fromNs);
  }

  reverseUntil(ns: bigint): bigint {
    return forwardEnergy(-this.#p0, -this.power, this.toNs - this.fromNs, ns - this.fromNs);
  }
}

/** Times are cut to two nanoseconds: then every trapezoid is a whole number of femtojoules. */
const even = (ns: bigint): bigint => ns - (ns & 1n);

/**
 * Turns samples into pieces: power runs straight between two actual samples, and nowhere else. What lies between two
 * samples that are further apart than the limit was not measured.
 */
export class Integrator {
  readonly #gapLimitNs: bigint;
  #last: PowerSample | undefined;
  /** Intervals that were not bridged. */
  gaps = 0;

  constructor(gapLimitNs: bigint) {
    this.#gapLimitNs = gapLimitNs;
  }

  /** The piece that ends with this sample; undefined for the first one, after a gap, and for one that is not newer. */
  add(sample: PowerSample): Piece | undefined {
    const now = { ...sample, atNs: even(sample.atNs) };
    const before = this.#last;
    if (before !== undefined && now.atNs <= before.atNs) return undefined;
    this.#last = now;
    if (before === undefined) return undefined;
    if (now.atNs - before.atNs > this.#gapLimitNs) {
      this.gaps++;
      return undefined;
    }
    return new Trapezoid(before, now);
  }

  /** Forgets the last sample: what follows does not continue it (the sensor was reset). */
  interrupt(): void {
    if (this.#last !== undefined) this.gaps++;
    this.#last = undefined;
  }
}
