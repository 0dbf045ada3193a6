import { BijuliError, Quality } from "@bijuli/protocol";
import { z } from "zod";
import type { Course, Step } from "./course.ts";
import { MICRO, parseMicro } from "./decimal.ts";
import { parseTime } from "./replay.ts";
import type { PartHealth } from "./source.ts";
import { Switches } from "./switches.ts";

const bps = z.int().min(0).max(9999);

/** A load: `watts` with a daily shape and noise, or the sum of other loads. */
export interface SimulationOptions {
  /** Average power in W; negative flows the other way. */
  watts?: number | undefined;
  /** How far power strays from its course, as a part of it: half of it every step, half of it over quarters of an hour. */
  noise?: number | undefined;
  seed?: number | undefined;
  /** A household's day (UTC): little at night, peaks in the morning and the evening; `watts` stays the day's mean. */
  daily?: boolean | undefined;
  /** Loads behind this meter, instead of `watts`. */
  sum?: SimulationOptions[] | undefined;
  /** What flows past the summed meters unmetered, in bps of their sum. */
  unmeteredBps?: number | undefined;
  /** What is lost on the way, in bps of what is sent: the load is divided by (1 − loss). */
  lossBps?: number | undefined;
  /** How far the loss strays from lossBps, as a part of it, over quarters of an hour. Plants of one feeder share its seed. */
  lossNoise?: number | undefined;
  lossSeed?: number | undefined;
  /** This meter's share of the load, in bps: of two plants, say, 6000 and 4000. */
  shareBps?: number | undefined;
  volts?: number | undefined;
  /** Seconds that power stays the same. */
  intervalSeconds?: number | undefined;
  /** ISO 8601 time of the first sample; unless told, the moment at which the meter is first started. */
  from?: string | undefined;
  /** Who taps the line here, by the name that the switches use: what they draw flows through this meter, too. */
  tap?: string | undefined;
  /** A file of switches (see switches.ts), and this meter's name in it. At the top only. */
  switches?: { file: string; sensor: string } | undefined;
}

const optionsShape: z.ZodType<SimulationOptions> = z
  .strictObject({
    watts: z.number().min(-1e9).max(1e9).optional(),
    noise: z.number().min(0).max(1).optional(),
    seed: z.int().min(0).optional(),
    daily: z.boolean().optional(),
    get sum() {
      return z.array(optionsShape).min(1).optional();
    },
    unmeteredBps: bps.optional(),
    lossBps: bps.optional(),
    lossNoise: z.number().min(0).max(1).optional(),
    lossSeed: z.int().min(0).optional(),
    shareBps: z.int().min(0).max(10_000).optional(),
    volts: z.number().positive().max(1e6).optional(),
    intervalSeconds: z.int().min(1).max(3600).optional(),
    from: z
      .string()
      .refine((text) => parseTime(text) !== undefined, "must be an ISO 8601 time with Z or an offset")
      .optional(),
    tap: z.string().min(1).max(32).optional(),
    switches: z.strictObject({ file: z.string().min(1), sensor: z.string().min(1) }).optional(),
  })
  .refine((o) => (o.watts === undefined) !== (o.sum === undefined), "needs either watts or sum")
  .refine((o) => (o.lossBps ?? 0) * (1 + (o.lossNoise ?? 0)) < 9999, "loses all that is sent");

/** zod schema of `simulate`'s options, strict. */
export const simulationOptions: z.ZodType<SimulationOptions> = optionsShape;

/**
 * Options from JSON; nothing given is a load of 400 W.
 * @throws BijuliError bad-simulation, naming the first option that is wrong
 */
export function parseSimulation(json: string): SimulationOptions {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new BijuliError("bad-simulation", "simulate: the options are not JSON", { cause });
  }
  const empty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
  const parsed = simulationOptions.safeParse(empty ? { watts: 400 } : value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new BijuliError(
      "bad-simulation",
      `simulate: ${[issue.path.join("."), issue.message].filter(Boolean).join(": ")}`,
    );
  }
  return parsed.data;
}

/** Hours of a household's day in thousandths of its mean; their sum is 24,000. */
const DAY = [
  520, 450, 420, 420, 450, 600, 900, 1250, 1200, 1000, 900, 950, 1050, 1000, 900, 900, 1050, 1400, 1850, 2000, 1790,
  1400, 950, 650,
] as const;
const HOUR_S = 3600n;
const DAY_S = 24n * HOUR_S;
/** Slow noise is drawn this often and runs straight in between. */
const DRIFT_S = 900n;
const BPS = 10_000n;
const PICO_PER_MICRO = 1_000_000n;
const MASK = 0xffff_ffff_ffff_ffffn;

/** splitmix64: the same draw for the same seed and index, on every machine. */
function draw(seed: bigint, index: bigint): bigint {
  let z = (seed * 0x9e37_79b9_7f4a_7c15n + index * 0xbf58_476d_1ce4_e5b9n + 0x94d0_49bb_1331_11ebn) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK;
  return z ^ (z >> 31n);
}

/** −MICRO … +MICRO, evenly. */
function jitter(seed: bigint, index: bigint): bigint {
  return (draw(seed, index) % (2n * MICRO + 1n)) - MICRO;
}

/** −MICRO … +MICRO, drifting. */
function drift(seed: bigint, second: bigint): bigint {
  const index = second / DRIFT_S;
  const into = second % DRIFT_S;
  return (jitter(~seed & MASK, index) * (DRIFT_S - into) + jitter(~seed & MASK, index + 1n) * into) / DRIFT_S;
}

/** The daily shape at a second of the day, in millionths, straight between the hours. */
function dailyShape(second: bigint): bigint {
  const inDay = second % DAY_S;
  const hour = Number(inDay / HOUR_S);
  const into = inDay % HOUR_S;
  return ((BigInt(DAY[hour]!) * (HOUR_S - into) + BigInt(DAY[(hour + 1) % 24]!) * into) * 1000n) / HOUR_S;
}

const micro = (value: number): bigint => parseMicro(value.toFixed(6));

/** Watts that a tap draws at a second. */
export type Drawn = (tap: string, second: bigint) => number;
const NOTHING: Drawn = () => 0;

/** µW of a load at a second, integers only, so that every machine and every restart says the same. */
export function simulatedPower(options: SimulationOptions, second: bigint, drawn: Drawn = NOTHING): bigint {
  const step = BigInt(options.intervalSeconds ?? 10);
  const at = second - (second % step);
  let power: bigint;
  if (options.sum) {
    power = options.sum.reduce((sum, load) => sum + simulatedPower(load, at, drawn), 0n);
    power += (power * BigInt(options.unmeteredBps ?? 0)) / BPS;
  } else {
    power = micro(options.watts ?? 0);
    if (options.daily) power = (power * dailyShape(at)) / MICRO;
  }
  const noise = micro(options.noise ?? (options.sum ? 0 : 0.1));
  if (noise > 0n) {
    const seed = BigInt(options.seed ?? 1);
    const stray = (noise * (jitter(seed, at / step) + drift(seed, at))) / (2n * MICRO);
    power = (power * (MICRO + stray)) / MICRO;
  }
  if (options.tap !== undefined) power += micro(drawn(options.tap, at));
  if (options.lossBps) {
    const stray = (micro(options.lossNoise ?? 0) * drift(BigInt(options.lossSeed ?? 1), at)) / MICRO;
    // 10^4 bps of 10^6 parts each: the loss keeps its six decimals.
    const loss = BigInt(options.lossBps) * (MICRO + stray);
    power = (power * BPS * MICRO) / (BPS * MICRO - loss);
  }
  return (power * BigInt(options.shareBps ?? 10_000)) / BPS;
}

/** A load that never ends. */
export class Simulation implements Course {
  readonly beginMs: number;
  readonly #options: SimulationOptions;
  readonly #stepMs: number;
  readonly #voltage: bigint;
  readonly #switches: Switches | undefined;

  /** @param began unix ms of its first sample, unless the options say */
  constructor(options: SimulationOptions, began: number) {
    this.#options = options;
    this.beginMs = options.from === undefined ? began : parseTime(options.from)!;
    this.#stepMs = (options.intervalSeconds ?? 10) * 1000;
    this.#voltage = micro(options.volts ?? 230);
    this.#switches = options.switches && new Switches(options.switches.file);
  }

  /** While the sensor fails, there is nothing to measure. */
  #fails(unixMs: number): boolean {
    return this.#switches?.fails(this.#options.switches!.sensor, unixMs) ?? false;
  }

  /** The bits that the sensor itself raised in [fromMs, toMs). */
  quality(fromMs: number, toMs: number): number {
    if (this.#switches === undefined) return 0;
    this.#switches.refresh();
    for (let at = fromMs - (fromMs % this.#stepMs); at < toMs; at += this.#stepMs)
      if (this.#fails(at)) return Quality.SENSOR_FAULT;
    return 0;
  }

  health(nowMs: number): PartHealth {
    this.#switches?.refresh();
    return this.#fails(nowMs) ? { status: "failing", detail: "the sensor does not answer" } : { status: "ok" };
  }

  *steps(fromMs: number, toMs: number): Generator<Step> {
    this.#switches?.refresh();
    const drawn: Drawn = (tap, second) => this.#switches?.drawn(tap, Number(second) * 1000) ?? 0;
    const begin = Math.max(fromMs, this.beginMs);
    for (let at = begin - (begin % this.#stepMs); at < toMs; at += this.#stepMs) {
      if (this.#fails(at)) continue;
      const power = simulatedPower(this.#options, BigInt(at / 1000), drawn);
      yield {
        fromMs: Math.max(at, this.beginMs),
        toMs: at + this.#stepMs,
        power: power * PICO_PER_MICRO,
        voltage: this.#voltage,
        current: (power * MICRO) / this.#voltage,
      };
    }
  }
}
