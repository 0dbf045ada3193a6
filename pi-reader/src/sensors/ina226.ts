import type { Sensor, SensorSample } from "../sensor.ts";
import { divideRound, type I2cBus, powerOf, signed16 } from "./bus.ts";
import { Chip } from "./chip.ts";

export interface Ina226Options {
  address: number;
  /** nΩ. */
  shunt: bigint;
  averages: 1 | 4 | 16 | 64 | 128 | 256 | 512 | 1024;
  /** Microseconds of one conversion. */
  conversion: 140 | 204 | 332 | 588 | 1100 | 2116 | 4156 | 8244;
}

const CONFIG = 0x00;
const SHUNT = 0x01;
const BUS = 0x02;
const MASK = 0x06;
const MANUFACTURER = 0xfe;
const DIE = 0xff;
const CONVERTED = 0x8;
const OVERFLOW = 0x4;
/** Shunt and bus, continuously; bit 14 always reads one. */
const MODE = 0x4000 | 0b111;
const AVERAGES = [1, 4, 16, 64, 128, 256, 512, 1024];
const CONVERSIONS = [140, 204, 332, 588, 1100, 2116, 4156, 8244];

/** TI INA226: DC voltage up to 36 V and current over a shunt of at most ±81.92 mV, 16 bits, averaged by the chip. */
export class Ina226 implements Sensor {
  readonly description;
  readonly #chip: Chip;
  readonly #shunt: bigint;
  readonly #config: number;
  readonly windowMs: number;

  constructor(bus: I2cBus, options: Ina226Options) {
    this.#chip = new Chip("INA226", bus, options.address);
    this.#shunt = options.shunt;
    const conversion = CONVERSIONS.indexOf(options.conversion);
    this.#config = MODE | (AVERAGES.indexOf(options.averages) << 9) | (conversion << 6) | (conversion << 3);
    this.windowMs = (2 * options.conversion * options.averages) / 1000;
    this.description = { kind: "ina226", bus: bus.name, ...options, shunt: options.shunt.toString() };
  }

  async open(): Promise<void> {
    await this.#chip.expectId(MANUFACTURER, 0x5449, 0xffff, "manufacturer id");
    await this.#chip.expectId(DIE, 0x2260, 0xfff0, "die id");
    await this.#chip.configure(CONFIG, this.#config);
  }

  async sample(): Promise<SensorSample> {
    // Reading the mask register clears "converted".
    await this.#chip.ready(this.windowMs, async () => {
      const mask = await this.#chip.read(MASK);
      if (mask & OVERFLOW) throw this.#chip.outOfRange("its arithmetic");
      return (mask & CONVERTED) !== 0;
    });
    const shuntRaw = signed16(await this.#chip.read(SHUNT));
    const busRaw = await this.#chip.read(BUS);
    // Afterwards: what was read is of a chip that has kept its configuration all the while.
    await this.#chip.verify(CONFIG, this.#config);
    if (shuntRaw === 0x7fff || shuntRaw === -0x8000) throw this.#chip.outOfRange("the shunt voltage of 81.92 mV");
    if (busRaw >= 0x7fff) throw this.#chip.outOfRange("the bus voltage");
    const voltage = BigInt(busRaw) * 1_250n;
    const current = divideRound(BigInt(shuntRaw) * 2_500n * 1_000_000n, this.#shunt);
    return { voltage, current, power: powerOf(voltage, current), windowNs: BigInt(Math.round(this.windowMs * 1e6)) };
  }

  async close(): Promise<void> {
    await this.#chip.bus.close();
  }
}
