import { setTimeout as sleep } from "node:timers/promises";
import type { Sensor, SensorSample } from "../sensor.ts";
import { divideRound, type I2cBus, powerOf, signed16 } from "./bus.ts";
import { Chip } from "./chip.ts";

/** One input of the converter. */
export interface Ads1115Input {
  /** A channel against ground, or a pair for the difference. */
  channel: 0 | 1 | 2 | 3 | "0-1" | "0-3" | "1-3" | "2-3";
  /** Full scale, mV. */
  range: 6144 | 4096 | 2048 | 1024 | 512 | 256;
}

export interface Ads1115Options {
  address: number;
  voltage: Ads1115Input & {
    /** Millionths: volts at the terminals per volt at the input (a divider's ratio). */
    scale: bigint;
  };
  current: Ads1115Input & {
    /** Millionths: amperes per volt at the input (a shunt's 1/R, or a Hall sensor's sensitivity). */
    scale: bigint;
    /** µV at the input when no current flows. */
    zero: bigint;
  };
  /** Conversions a second. */
  rate: 8 | 16 | 32 | 64 | 128 | 250 | 475 | 860;
}

const CONVERSION = 0x00;
const CONFIG = 0x01;
const START = 0x8000;
/** Set in what is read while no conversion runs. */
const IDLE = 0x8000;
const SINGLE_SHOT = 0x0100;
const COMPARATOR_OFF = 0x0003;
const MUX: Readonly<Record<string, number>> = { "0-1": 0, "0-3": 1, "1-3": 2, "2-3": 3, 0: 4, 1: 5, 2: 6, 3: 7 };
const RANGES = [6144, 4096, 2048, 1024, 512, 256];
const RATES = [8, 16, 32, 64, 128, 250, 475, 860];

/**
 * TI ADS1115, 16 bits: DC voltage through a divider on one input, current through a shunt amplifier or Hall sensor on
 * another. The two are converted one after the other, so ripple between them is error.
 */
export class Ads1115 implements Sensor {
  readonly description;
  readonly #chip: Chip;
  readonly #options: Ads1115Options;

  constructor(bus: I2cBus, options: Ads1115Options) {
    this.#chip = new Chip("ADS1115", bus, options.address);
    this.#options = options;
    const { voltage, current } = options;
    this.description = {
      kind: "ads1115",
      bus: bus.name,
      address: options.address,
      rate: options.rate,
      voltage: { ...voltage, scale: voltage.scale.toString() },
      current: { ...current, scale: current.scale.toString(), zero: current.zero.toString() },
    };
  }

  async open(): Promise<void> {
    await this.#convert(this.#options.voltage);
  }

  async sample(): Promise<SensorSample> {
    const { voltage: v, current: i, rate } = this.#options;
    const current = divideRound(((await this.#convert(i)) - i.zero) * i.scale, 1_000_000n);
    const voltage = divideRound((await this.#convert(v)) * v.scale, 1_000_000n);
    return { voltage, current, power: powerOf(voltage, current), windowNs: BigInt(Math.round(2e9 / rate)) };
  }

  /** µV at an input. */
  async #convert(input: Ads1115Input): Promise<bigint> {
    const config =
      (MUX[input.channel]! << 12) |
      (RANGES.indexOf(input.range) << 9) |
      SINGLE_SHOT |
      (RATES.indexOf(this.#options.rate) << 5) |
      COMPARATOR_OFF;
    await this.#chip.write(CONFIG, START | config);
    const windowMs = 1000 / this.#options.rate;
    await sleep(windowMs);
    await this.#chip.ready(windowMs, async () => ((await this.#chip.read(CONFIG)) & IDLE) !== 0);
    // The configuration still stands: the conversion was this one, not one of a chip that has restarted.
    await this.#chip.verify(CONFIG, config, "reset", 0x7fff);
    const raw = signed16(await this.#chip.read(CONVERSION));
    if (raw === 0x7fff || raw === -0x8000) throw this.#chip.outOfRange(`channel ${input.channel}`);
    return divideRound(BigInt(raw) * BigInt(input.range) * 1000n, 32_768n);
  }

  async close(): Promise<void> {
    await this.#chip.bus.close();
  }
}
