import type { LotMeasurement } from "./measurement.ts";

/** Lots one after another that hold the same: nothing, save for the first, which may be the only one. */
interface Run {
  first: LotMeasurement;
  last: bigint;
}

const holdsNothing = ({ forward, reverse, samples, coveredMs }: LotMeasurement): boolean =>
  forward === 0n && reverse === 0n && samples === 0 && coveredMs === 0;

/**
 * Lots that are over and wait to be stored, in their order. After years without power, or a clock that was set forward
 * by years, they are hundreds of thousands, nearly all alike: of such a run only the first is kept.
 */
export class CompleteLots {
  #runs: Run[] = [];

  /** The first and the last lot that wait; undefined when none does. */
  get first(): bigint | undefined {
    return this.#runs[0]?.first.lot;
  }
  get last(): bigint | undefined {
    return this.#runs.at(-1)?.last;
  }

  /** Takes the lot after the last one. */
  push(lot: LotMeasurement): void {
    const run = this.#runs.at(-1);
    if (run !== undefined && holdsNothing(lot) && holdsNothing(run.first) && lot.quality === run.first.quality) {
      run.last = lot.lot;
    } else this.#runs.push({ first: lot, last: lot.lot });
  }

  at(lot: bigint): LotMeasurement | undefined {
    const run = this.#runs.find(({ last }) => last >= lot);
    return run === undefined || run.first.lot > lot ? undefined : { ...run.first, lot };
  }

  /** Takes lots up to `through` out. */
  release(through: bigint): void {
    this.#runs = this.#runs.filter(({ last }) => last > through);
    const run = this.#runs[0];
    if (run !== undefined && run.first.lot <= through) run.first = { ...run.first, lot: through + 1n };
  }

  /** What the lots after `through` hold together: femtojoules, and all their bits. */
  after(through: bigint): { forward: bigint; reverse: bigint; quality: number } {
    const sum = { forward: 0n, reverse: 0n, quality: 0 };
    for (const { first, last } of this.#runs) {
      if (last <= through) continue;
      sum.forward += first.forward;
      sum.reverse += first.reverse;
      sum.quality |= first.quality;
    }
    return sum;
  }
}
