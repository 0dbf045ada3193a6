import { type Clock, lotEnd, lotOf, lotStart, Quality } from "@bijuli/protocol";
import { type LotMeasurement, LotTally } from "./measurement.ts";
import type { LiveValues, PartHealth, Source } from "./source.ts";

/** Constant power over a time, as a recording or a simulation knows it. */
export interface Step {
  fromMs: number;
  toMs: number;
  /** pW: a recording's V × A has twelve decimals. */
  power: bigint;
  voltage?: bigint | undefined;
  current?: bigint | undefined;
}

/** A meter's whole life as a function of time. */
export interface Course {
  /** Unix ms of the first sample. */
  readonly beginMs: number;
  /** Unix ms at which the last sample stops to hold; undefined for a course without end. */
  readonly endMs?: number;
  /** The steps that touch [fromMs, toMs), not clipped, in order; a gap is where none is. */
  steps(fromMs: number, toMs: number): Iterable<Step>;
  /** Bits that hold in [fromMs, toMs) besides those of a gap. */
  quality?(fromMs: number, toMs: number): number;
  health?(nowMs: number): PartHealth;
}

const PICO_PER_MICRO = 1_000_000n;
const NS_PER_MS = 1_000_000n;

/**
 * A source that is a function of time: a recording or a simulation. The clock decides how much of it has been seen;
 * an outage of the process is none of the meter, for the same lots come out again.
 */
export class CourseSource implements Source {
  readonly sensor: Source["sensor"];
  readonly repeatable = true;
  readonly #course: Course;
  readonly #clock: Clock;
  readonly #lotSeconds: number;

  constructor(course: Course, sensor: Source["sensor"], clock: Clock, lotSeconds: number) {
    this.#course = course;
    this.sensor = sensor;
    this.#clock = clock;
    this.#lotSeconds = lotSeconds;
  }

  firstLot(): bigint {
    return lotOf(BigInt(Math.floor(this.#course.beginMs / 1000)), this.#lotSeconds);
  }

  closedThrough(): bigint | undefined {
    const open = lotOf(BigInt(Math.floor(this.#clock.nowMs() / 1000)), this.#lotSeconds);
    return open > this.firstLot() ? open - 1n : undefined;
  }

  measured(lot: bigint): LotMeasurement {
    return measureLot(this.#course, lot, this.#lotSeconds, this.#clock.nowMs());
  }

  live(): LiveValues | undefined {
    const now = this.#clock.nowMs();
    for (const step of this.#course.steps(now, now + 1)) {
      return { voltage: step.voltage, current: step.current, power: step.power / PICO_PER_MICRO };
    }
    return undefined;
  }

  async untilDue(lot: bigint, signal: AbortSignal): Promise<void> {
    await this.#clock.sleepUntil(Number(lotEnd(lot, this.#lotSeconds)) * 1000, signal);
  }

  health(): PartHealth {
    const { endMs } = this.#course;
    const own = this.#course.health?.(this.#clock.nowMs());
    if (own !== undefined && own.status !== "ok") return own;
    if (endMs === undefined || this.#clock.nowMs() < endMs) return { status: "ok" };
    return {
      status: "degraded",
      detail: `the recording ended at ${new Date(endMs).toISOString()}; lots since then hold nothing`,
    };
  }

  clockState() {
    return { state: this.#clock.started() ? "trusted" : "waiting", now: new Date(this.#clock.nowMs()).toISOString() };
  }
}

/** What a course says about a lot, up to `nowMs`. */
export function measureLot(course: Course, lot: bigint, lotSeconds: number, nowMs: number): LotMeasurement {
  const startMs = Number(lotStart(lot, lotSeconds)) * 1000;
  const untilMs = Math.min(Number(lotEnd(lot, lotSeconds)) * 1000, nowMs);
  const tally = new LotTally();
  for (const step of course.steps(startMs, untilMs)) {
    const fromMs = Math.max(step.fromMs, startMs);
    const ms = BigInt(Math.min(step.toMs, untilMs) - fromMs);
    if (step.fromMs === fromMs) tally.countSamples(1);
    const femtojoules = step.power * ms;
    tally.add({
      nanoseconds: ms * NS_PER_MS,
      forward: femtojoules > 0n ? femtojoules : 0n,
      reverse: femtojoules < 0n ? -femtojoules : 0n,
      voltage: step.voltage,
      current: step.current,
      power: step.power / PICO_PER_MICRO,
    });
  }
  if (tally.coveredMs < lotSeconds * 1000) tally.flag(Quality.GAP);
  tally.flag(course.quality?.(startMs, untilMs) ?? 0);
  return tally.measurement(lot);
}
