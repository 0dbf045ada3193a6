import { Integrator } from "./integrator.ts";
import { FEMTOJOULES_PER_UNIT } from "./measurement.ts";
import type { Counters, SensorSample } from "./sensor.ts";

/** What was counted: energies in femtojoules, charge in µA · ns. */
interface Tally {
  forward: bigint;
  reverse: bigint;
  charge: bigint;
}

/** What the sensor's own counters say about the time since they were last compared. */
export interface Finding {
  /** - agrees; disagrees: measured without a gap, and still not what was counted; gap: what was counted while nobody measured */
  kind: "agrees" | "disagrees" | "gap";
  /** Femtojoules: what the counter went on by, and what was integrated in the same time, both directions together. */
  counted: bigint;
  integrated: bigint;
  /** Counted less integrated. */
  energy: bigint;
  /** The same of the charge, µA · ns: its sign is the direction. Undefined where the sensor counts none. */
  charge?: bigint;
}

const units = (femtojoules: bigint) => (femtojoules / FEMTOJOULES_PER_UNIT).toString();

/** A finding in a sentence. */
export function findingText({ kind, energy, counted, integrated }: Finding): string {
  return kind === "gap"
    ? `by the sensor's own counter a gap has missed ${units(energy)} Units`
    : `the sensor's own counter went on by ${units(counted)} Units, and ${units(integrated)} were integrated`;
}

/** A finding for the log: Units, and the charge in As. */
export function findingToJson({ kind, energy, counted, integrated, charge }: Finding) {
  return {
    counter: kind,
    countedUnits: units(counted),
    integratedUnits: units(integrated),
    differenceUnits: units(energy),
    ...(charge === undefined ? {} : { differenceAmpereSeconds: Number(charge) / 1e15 }),
  };
}

/** What a checkpoint keeps, so that an outage of the reader is a gap like any other. */
export interface ReconcilerState {
  energy: [string, string] | [string];
  charge: string | null;
  own: [forward: string, reverse: string, charge: string];
}

/** A comparison begins anew after so many steps of the counter: then its resolution is a hundredth. */
const WINDOW_STEPS = 200n;
const NS_PER_S = 1_000_000_000n;
const BPS = 10_000n;

/**
 * Compares what is integrated from samples with what the sensor has counted by itself. Registers stay what was
 * integrated; the comparison tells a wrong integration or wiring, and how much a gap has missed.
 */
export class Reconciler {
  readonly #integrator: Integrator;
  readonly #gapLimitNs: bigint;
  readonly #toleranceBps: bigint;
  readonly #own: Tally = { forward: 0n, reverse: 0n, charge: 0n };
  #base: { energy: bigint[]; charge: bigint | undefined; own: Tally } | undefined;
  #gapped = false;
  #gaps = 0;
  #last: { atNs: bigint; power: bigint; current: bigint | undefined } | undefined;
  /** µW, the greatest since the comparison began. */
  #most = 0n;

  constructor(options: { gapLimitNs: bigint; toleranceBps: number; kept?: ReconcilerState | undefined }) {
    this.#integrator = new Integrator(options.gapLimitNs);
    this.#gapLimitNs = options.gapLimitNs;
    this.#toleranceBps = BigInt(options.toleranceBps);
    const { kept } = options;
    if (kept === undefined) return;
    const [forward, reverse, charge] = kept.own.map(BigInt);
    this.#base = {
      energy: kept.energy.map(BigInt),
      charge: kept.charge === null ? undefined : BigInt(kept.charge),
      own: { forward: -forward!, reverse: -reverse!, charge: -charge! },
    };
    this.#gapped = true;
  }

  /** Whether something was missed since the last comparison. */
  get gapped(): boolean {
    return this.#gapped;
  }

  /** Integrates a sample as the meter does, but before its calibration: as the sensor counts. */
  take(sample: SensorSample, atNs: bigint): void {
    const { power, current } = sample.uncalibrated ?? sample;
    const piece = this.#integrator.add({ atNs, power });
    const before = this.#last;
    this.#last = { atNs, power, current };
    const size = power < 0n ? -power : power;
    if (size > this.#most) this.#most = size;
    if (this.#integrator.gaps > this.#gaps) {
      this.#gaps = this.#integrator.gaps;
      this.#gapped = true;
    }
    if (piece === undefined) return;
    this.#own.forward += piece.forwardUntil(piece.toNs);
    this.#own.reverse += piece.reverseUntil(piece.toNs);
    if (before?.current !== undefined && current !== undefined) {
      this.#own.charge += ((before.current + current) * (atNs - before.atNs)) / 2n;
    }
  }

  /** The sensor was reset: what follows does not continue what was before. */
  interrupt(): void {
    this.#integrator.interrupt();
    this.#last = undefined;
  }

  /**
   * Compares with counters that were read at this monotonic moment.
   * @returns undefined where there is nothing to compare with yet
   */
  compare(counters: Counters, atNs: bigint): Finding | undefined {
    const energy =
      "absolute" in counters.energy ? [counters.energy.absolute] : [counters.energy.forward, counters.energy.reverse];
    const own = this.#ownAt(atNs);
    const base = this.#base;
    const gapped = this.#gapped;
    const most = this.#most;
    const begin = () => {
      this.#base = { energy, charge: counters.charge, own };
      this.#gapped = false;
      this.#most = 0n;
    };
    if (base === undefined || counters.restarted || base.energy.length !== energy.length) return void begin();
    const counted = energy.map((now, index) => onward(base.energy[index]!, now, counters.wrap));
    // A counter without a wrap that goes back was reset, or is another meter's.
    if (counted.some((one) => one < 0n)) return void begin();
    const [forward, reverse] = [own.forward - base.own.forward, own.reverse - base.own.reverse];
    const integrated = energy.length === 1 ? [forward + reverse] : [forward, reverse];
    const sum = (list: bigint[]) => list.reduce((a, b) => a + b, 0n);
    const finding = { counted: sum(counted), integrated: sum(integrated), energy: sum(counted) - sum(integrated) };
    if (gapped) {
      begin();
      if (counters.charge === undefined || base.charge === undefined) return { kind: "gap", ...finding };
      const charged = centred(counters.charge - base.charge, counters.chargeWrap);
      return { kind: "gap", ...finding, charge: charged - (own.charge - base.own.charge) };
    }
    // Neither says to the second when it looked; that much of the greatest power is no disagreement.
    const limit = (finding.integrated * this.#toleranceBps) / BPS + 2n * counters.step + most * NS_PER_S;
    const off = counted.some((one, index) => distance(one, integrated[index]!) > limit);
    if (off || finding.integrated >= WINDOW_STEPS * counters.step) begin();
    return { kind: off ? "disagrees" : "agrees", ...finding };
  }

  /** Integrated up to a moment a little after the last sample. */
  #ownAt(atNs: bigint): Tally {
    const own = { ...this.#own };
    const last = this.#last;
    if (last === undefined || atNs - last.atNs > this.#gapLimitNs) return own;
    const energy = last.power * (atNs - last.atNs);
    if (energy > 0n) own.forward += energy;
    else own.reverse -= energy;
    own.charge += (last.current ?? 0n) * (atNs - last.atNs);
    return own;
  }

  get state(): ReconcilerState | undefined {
    const base = this.#base;
    if (base === undefined) return undefined;
    const { forward, reverse, charge } = this.#own;
    return {
      energy: base.energy.map(String) as ReconcilerState["energy"],
      charge: base.charge === undefined ? null : base.charge.toString(),
      own: [
        (forward - base.own.forward).toString(),
        (reverse - base.own.reverse).toString(),
        (charge - base.own.charge).toString(),
      ],
    };
  }
}

/** How far a counter went on that may have wrapped once. */
function onward(before: bigint, now: bigint, wrap: bigint | undefined): bigint {
  return now >= before || wrap === undefined ? now - before : now - before + wrap;
}

/** The shorter way round. */
function centred(difference: bigint, wrap: bigint | undefined): bigint {
  if (wrap === undefined) return difference;
  if (difference > wrap / 2n) return difference - wrap;
  return difference < -wrap / 2n ? difference + wrap : difference;
}

const distance = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a);
