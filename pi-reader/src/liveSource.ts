import { type Clock, Quality } from "@bijuli/protocol";
import { Backlog } from "./backlog.ts";
import { ClockKeeper } from "./clockKeeper.ts";
import { atOneMoment, type Clocks } from "./clockMoment.ts";
import { Integrator } from "./integrator.ts";
import { LotAssembler, type OpenLotState } from "./lotAssembler.ts";
import { FEMTOJOULES_PER_UNIT, type LotMeasurement } from "./measurement.ts";
import { pause } from "./pause.ts";
import { type Finding, Reconciler, type ReconcilerState } from "./reconciler.ts";
import { type Sensor, SensorFault, type SensorSample } from "./sensor.ts";
import type { LiveValues, PartHealth, Source } from "./source.ts";

/** The machine's clocks, as a meter sees them. */
export interface Timebase extends Clocks {
  /** Whether the wall clock is synchronised. */
  synchronised(): boolean;
}

/** What survives a power cut of a lot that is still open. */
export interface Checkpoint {
  open: OpenLotState | undefined;
  /** Femtojoules that were waiting for a trustworthy clock, or in lots that were not stored yet. */
  backlog: { forward: string; reverse: string };
  /** What the sensor's own counters said when they were last compared. */
  counters?: ReconcilerState | undefined;
}

export interface LiveSourceOptions {
  sensor: Sensor;
  timebase: Timebase;
  lotSeconds: number;
  /** How often the sensor is read. */
  sampleMs: number;
  /** Two samples further apart than this have a gap between them. */
  gapLimitMs: number;
  /** The lot after the newest stored one; undefined for a new meter. */
  next?: bigint | undefined;
  checkpoint?: Checkpoint | undefined;
  /** How long a clock that jumped must be steady to be believed. */
  confirmMs?: number;
  /** Why the sensor is not open: it is opened as soon as it can be. */
  unopened?: SensorFault | undefined;
  onFault?: (fault: Error) => void;
  /** How far the sensor's own counter may be from what is integrated, in basis points. */
  counterToleranceBps?: number;
  /** The counter went on during a gap, or is not what was integrated. */
  onFinding?: (finding: Finding) => void;
}

const NS_PER_MS = 1_000_000n;
/** A sample may be stamped this much before the moment at which it arrives. */
const LATENCY_NS = 2_000_000_000n;
const TELL_AGAIN_NS = 60_000_000_000n;
/** The sensor's own counters are compared as often, and after a gap. */
const COMPARE_NS = 60_000_000_000n;
/** A sensor that fails is opened again after this long at most. */
const LONGEST_REOPEN_MS = 30_000;

/** A meter that measures: samples a sensor, integrates on the monotonic clock, lets the wall clock place the lots. */
export class LiveSource implements Source {
  readonly repeatable = false;
  readonly #options: LiveSourceOptions;
  readonly #keeper: ClockKeeper;
  readonly #integrator: Integrator;
  readonly #assembler: LotAssembler;
  readonly #backlog = new Backlog();
  /** Energy from before a power cut whose time nobody knows: it goes into the open lot once there is one. */
  #timeless: { forward: bigint; reverse: bigint };
  #latest: { sample: SensorSample; atNs: bigint } | undefined;
  #fault: Error | undefined;
  #told: { message: string; atNs: bigint } | undefined;
  #wake: (() => void)[] = [];
  #faults = 0;
  #samples = 0;
  readonly #reconciler: Reconciler | undefined;
  #comparedNs: bigint | undefined;
  #lookedNs: bigint;
  #compared = { comparisons: 0, disagreements: 0, missedUnits: 0n, differenceUnits: 0n };
  #disagrees = false;

  constructor(options: LiveSourceOptions) {
    this.#options = options;
    this.#lookedNs = options.timebase.monotonicNs();
    this.#keeper = new ClockKeeper(options.confirmMs === undefined ? undefined : BigInt(options.confirmMs) * NS_PER_MS);
    this.#integrator = new Integrator(BigInt(options.gapLimitMs) * NS_PER_MS);
    // A checkpoint of another lot than the one that comes next is older or newer than the store: not of this life.
    const { next, checkpoint } = options;
    const kept = next === undefined || checkpoint?.open?.lot === next.toString() ? checkpoint : undefined;
    this.#assembler = new LotAssembler(options.lotSeconds, next, kept?.open);
    const { forward, reverse } = kept?.backlog ?? { forward: "0", reverse: "0" };
    this.#timeless = { forward: BigInt(forward), reverse: BigInt(reverse) };
    if (options.sensor.counters !== undefined) {
      this.#reconciler = new Reconciler({
        gapLimitNs: BigInt(options.gapLimitMs) * NS_PER_MS,
        toleranceBps: options.counterToleranceBps ?? 200,
        kept: checkpoint?.counters,
      });
    }
    if (options.unopened !== undefined) this.#failed(options.unopened);
  }

  get sensor(): Source["sensor"] {
    return this.#options.sensor.description;
  }

  counters() {
    return {
      samples: this.#samples,
      sensor_faults: this.#faults,
      gaps: this.#integrator.gaps,
      clock_steps: this.#keeper.steps,
      clock_trusted: this.#keeper.state === "trusted" ? 1 : 0,
      ...(this.#reconciler === undefined
        ? {}
        : {
            counter_comparisons: this.#compared.comparisons,
            counter_disagreements: this.#compared.disagreements,
            counter_difference_units: Number(this.#compared.differenceUnits),
            gap_missed_units: Number(this.#compared.missedUnits),
          }),
    };
  }

  /** Takes one sample, or notes why there is none, and lets time pass. */
  async cycle(): Promise<void> {
    const { sensor, timebase } = this.#options;
    try {
      const sample = await sensor.sample();
      // Before anything else is done: what is done takes time, and the sample's moment is now.
      const readNs = timebase.monotonicNs();
      this.observe();
      this.take(sample, readNs);
      this.#fault = undefined;
      await this.#reconcile(sample, readNs);
    } catch (error) {
      this.observe();
      this.#failed(error as Error);
    }
  }

  /** Integrates a sample that was read at this monotonic moment. */
  take(sample: SensorSample, readNs: bigint): void {
    this.#samples++;
    this.#latest = { sample, atNs: readNs };
    const piece = this.#integrator.add({ ...sample, atNs: readNs - sample.windowNs / 2n });
    if (piece === undefined) return;
    if (!this.#keeper.usable) {
      this.#backlog.add(piece);
      return;
    }
    this.#assembler.place(piece, this.#clockBits());
    if (this.#assembler.complete.last !== undefined) this.#rouse();
  }

  /** Holds what is integrated against what the sensor counts by itself. */
  async #reconcile(sample: SensorSample, readNs: bigint): Promise<void> {
    const reconciler = this.#reconciler;
    if (reconciler === undefined) return;
    reconciler.take(sample, readNs - sample.windowNs / 2n);
    const due = this.#comparedNs === undefined || readNs - this.#comparedNs >= COMPARE_NS || reconciler.gapped;
    if (!due) return;
    const { sensor, timebase, onFinding } = this.#options;
    const counters = await sensor.counters!();
    this.#comparedNs = readNs;
    const finding = reconciler.compare(counters, timebase.monotonicNs());
    if (finding === undefined) return;
    this.#compared.comparisons++;
    if (finding.kind === "gap") {
      // A counter that resolves less than was missed says nothing.
      if (finding.energy > counters.step) this.#compared.missedUnits += finding.energy / FEMTOJOULES_PER_UNIT;
    } else {
      this.#compared.differenceUnits = finding.energy / FEMTOJOULES_PER_UNIT;
      this.#disagrees = finding.kind === "disagrees";
      if (this.#disagrees) {
        this.#compared.disagreements++;
        this.#assembler.flag(Quality.DATA_INVALID);
      }
    }
    if (finding.kind !== "agrees") onFinding?.(finding);
  }

  /** Looks at the clocks; places what waited for them; closes lots that ended without a sample. */
  observe(): void {
    const { timebase, gapLimitMs } = this.#options;
    const { monotonicNs: now, wallMs } = atOneMoment(timebase);
    this.#lookedNs = now;
    const stepped = this.#keeper.observe(now, wallMs, timebase.synchronised());
    if (!this.#keeper.usable) return;
    this.#assembler.setOffset(this.#keeper.offsetNs!);
    if (stepped) this.#assembler.interrupt(Quality.CLOCK_ADJUSTED);
    for (const piece of this.#backlog.drain()) this.#assembler.place(piece, this.#clockBits());
    if (this.#assembler.open !== undefined && (this.#timeless.forward > 0n || this.#timeless.reverse > 0n)) {
      this.#assembler.addTimeless(this.#timeless.forward, this.#timeless.reverse);
      this.#assembler.flag(Quality.CLOCK_INVALID);
      this.#timeless = { forward: 0n, reverse: 0n };
    }
    this.#assembler.passTo(now - BigInt(gapLimitMs) * NS_PER_MS - LATENCY_NS, this.#clockBits());
    if (this.#assembler.complete.last !== undefined) this.#rouse();
  }

  #failed(error: Error): void {
    this.#faults++;
    this.#report(error);
    this.#fault = error;
    const kind = error instanceof SensorFault ? error.kind : "absent";
    this.#assembler.flag(Quality.SENSOR_FAULT | (kind === "invalid" || kind === "range" ? Quality.DATA_INVALID : 0));
    // What a chip says after a reset does not continue what it said before.
    if (kind === "absent") return;
    this.#integrator.interrupt();
    this.#reconciler?.interrupt();
  }

  /** A fault that comes and goes fills no log: the same one is told once a minute. */
  #report(error: Error): void {
    const now = this.#options.timebase.monotonicNs();
    const told = this.#told;
    if (told !== undefined && told.message === error.message && now - told.atNs < TELL_AGAIN_NS) return;
    this.#told = { message: error.message, atNs: now };
    this.#options.onFault?.(error);
  }

  #clockBits(): number {
    return this.#keeper.state === "holdover" ? Quality.CLOCK_INVALID : 0;
  }

  /** Samples until aborted. A sensor that fails is opened anew, ever less often. */
  async run(signal: AbortSignal): Promise<void> {
    const { sensor, sampleMs } = this.#options;
    const firstReopenMs = Math.max(sampleMs, 100);
    let reopenMs = this.#options.unopened === undefined ? 0 : firstReopenMs;
    while (!signal.aborted) {
      const began = performance.now();
      if (reopenMs > 0) {
        try {
          await sensor.open();
          reopenMs = 0;
        } catch (error) {
          this.observe();
          this.#failed(error as Error);
          await pause(Math.min(reopenMs, LONGEST_REOPEN_MS), signal);
          reopenMs = Math.min(reopenMs * 2, LONGEST_REOPEN_MS);
          continue;
        }
      }
      await this.cycle();
      if (this.#fault !== undefined) reopenMs = firstReopenMs;
      const restMs = sampleMs - (performance.now() - began);
      // A timer waits for a millisecond at least; a sensor that is read as fast as it goes leaves others their turn only.
      if (restMs > 0) await pause(restMs, signal);
      else await new Promise(setImmediate);
    }
    await sensor.close();
  }

  /** Lets go of the sensor, where `run` has not. */
  close(): Promise<void> {
    return this.#options.sensor.close();
  }

  firstLot(): bigint | undefined {
    return this.#assembler.complete.first ?? this.#assembler.open;
  }

  closedThrough(): bigint | undefined {
    return this.#assembler.complete.last;
  }

  measured(lot: bigint): LotMeasurement {
    const measurement = this.#assembler.complete.at(lot) ?? this.#assembler.measurement();
    if (measurement?.lot !== lot) throw new Error(`lot ${lot} was not measured; ${measurement?.lot} is open`);
    return measurement;
  }

  /**
   * The open lot as it stands, to be stored with the lots up to `through`. Lots that are over and not stored yet are
   * kept by their energy.
   */
  checkpoint(through?: bigint): string {
    const { first, last } = this.#assembler.complete;
    const stored = through ?? (first === undefined ? undefined : first - 1n);
    const waits = stored !== undefined && last !== undefined && last > stored;
    const waiting = waits ? this.#assembler.stateAfter(stored) : undefined;
    const { forward, reverse } = this.#backlog.energy;
    const checkpoint: Checkpoint = {
      open: waiting === undefined ? this.#assembler.state : waiting.open,
      backlog: {
        forward: (forward + this.#timeless.forward + (waiting?.forward ?? 0n)).toString(),
        reverse: (reverse + this.#timeless.reverse + (waiting?.reverse ?? 0n)).toString(),
      },
      counters: this.#reconciler?.state,
    };
    return JSON.stringify(checkpoint);
  }

  /** Lots up to `through` are on the disk. */
  stored(through: bigint): void {
    this.#assembler.complete.release(through);
  }

  live(): LiveValues | undefined {
    const { timebase, gapLimitMs } = this.#options;
    if (this.#latest === undefined) return undefined;
    if (timebase.monotonicNs() - this.#latest.atNs > BigInt(gapLimitMs) * NS_PER_MS) return undefined;
    const { voltage, current, power } = this.#latest.sample;
    return { voltage, current, power };
  }

  async untilDue(_lot: bigint, signal: AbortSignal): Promise<void> {
    if (this.#assembler.complete.last !== undefined) return;
    await new Promise<void>((resolve) => {
      this.#wake.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  idleMs(): number {
    return Number((this.#options.timebase.monotonicNs() - this.#lookedNs) / NS_PER_MS);
  }

  #rouse(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }

  health(): PartHealth {
    // One refused transfer is bridged; a sensor that says nothing for longer than that is down.
    if (this.#fault !== undefined) {
      return { status: this.live() === undefined ? "failing" : "degraded", detail: this.#fault.message };
    }
    if (this.#disagrees) {
      const detail = `the sensor's own counter differs by ${this.#compared.differenceUnits} Units from what was integrated`;
      return { status: "degraded", detail };
    }
    return this.#latest === undefined ? { status: "degraded", detail: "no sample yet" } : { status: "ok" };
  }

  clockState() {
    const ms = this.#keeper.wallMs(this.#options.timebase.monotonicNs());
    return {
      state: this.#keeper.state,
      now: ms === undefined ? null : new Date(ms).toISOString(),
      steps: this.#keeper.steps,
    };
  }

  /** The trusted wall clock for what only shows or waits: never for energy. */
  get clock(): Clock {
    const { timebase } = this.#options;
    const nowMs = () => this.#keeper.wallMs(timebase.monotonicNs()) ?? timebase.wallMs();
    return {
      nowMs,
      started: () => this.#keeper.usable,
      realMs: (spanMs) => spanMs,
      sleepUntil: (unixMs, signal) => pause(Math.max(unixMs - nowMs(), 0), signal),
    };
  }
}
