import type { Sensor, SensorSample } from "../sensor.ts";
import { divideRound, type I2cBus, powerOf, signed16 } from "./bus.ts";
import { Chip } from "./chip.ts";

export interface Ina219Options {
  address: number;
  /** nΩ. */
  shunt: bigint;
  /** Full scale of the bus voltage, V. */
  busRange: 16 | 32;
  /** Full scale of the shunt voltage, mV. */
  shuntRange: 40 | 80 | 160 | 320;
  /** Conversions that the chip averages. */
  averages: 1 | 2 | 4 | 8 | 16 | 32 | 64 | 128;
}

const CONFIG = 0x00;
const SHUNT = 0x01;
const BUS = 0x02;
const POWER = 0x03;
const CONVERTED = 0x2;
/** Shunt and bus, continuously. */
const MODE = 0b111;
const GAIN: Readonly<Record<number, number>> = { 40: 0, 80: 1, 160: 2, 320: 3 };
/** SADC/BADC code and microseconds of a conversion, by the number of averages (datasheet, table 5). */
const ADC: Readonly<Record<number, readonly [code: number, micros: number]>> = {
  1: [0b0011, 532],
  2: [0b1001, 1_060],
  4: [0b1010, 2_130],
  8: [0b1011, 4_260],
  16: [0b1100, 8_510],
  32: [0b1101, 17_020],
  64: [0b1110, 34_050],
  128: [0b1111, 68_100],
};

/**
 * TI INA219: DC voltage up to 26 V and current over a shunt, 12 bits. Current is computed from the shunt voltage, not
 * from the chip's own current register, which has rounded already. It has no identity register: a chip that takes
 * the configuration is taken for one.
 */
export class Ina219 implements Sensor {
  readonly description;
  readonly #chip: Chip;
  readonly #options: Ina219Options;
  readonly #config: number;
  readonly windowMs: number;

  constructor(bus: I2cBus, options: Ina219Options) {
    this.#chip = new Chip("INA219", bus, options.address);
    this.#options = options;
    const [code, micros] = ADC[options.averages]!;
    this.#config =
      (options.busRange === 32 ? 0x2000 : 0) | (GAIN[options.shuntRange]! << 11) | (code << 7) | (code << 3) | MODE;
    this.windowMs = (2 * micros) / 1000;
    this.description = { kind: "ina219", bus: bus.name, ...options, shunt: options.shunt.toString() };
  }

  async open(): Promise<void> {
    await this.#chip.configure(CONFIG, this.#config);
  }

  async sample(): Promise<SensorSample> {
    const { busRange, shuntRange, shunt: resistance } = this.#options;
    let busWord = 0;
    await this.#chip.ready(this.windowMs, async () => {
      busWord = await this.#chip.read(BUS);
      return (busWord & CONVERTED) !== 0;
    });
    const shuntRaw = signed16(await this.#chip.read(SHUNT));
    // Reading the power register clears "converted": the next sample waits for a new conversion.
    await this.#chip.read(POWER);
    // Afterwards: what was read is of a chip that has kept its configuration all the while.
    await this.#chip.verify(CONFIG, this.#config);
    const busRaw = busWord >> 3;
    if (Math.abs(shuntRaw) >= shuntRange * 100) throw this.#chip.outOfRange(`the shunt voltage of ${shuntRange} mV`);
    if (busRaw >= busRange * 250) throw this.#chip.outOfRange(`the bus voltage of ${busRange} V`);
    const voltage = BigInt(busRaw) * 4_000n;
    const current = divideRound(BigInt(shuntRaw) * 10_000n * 1_000_000n, resistance);
    return { voltage, current, power: powerOf(voltage, current), windowNs: BigInt(Math.round(this.windowMs * 1e6)) };
  }

  async close(): Promise<void> {
    await this.#chip.bus.close();
  }
}
