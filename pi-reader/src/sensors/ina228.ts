import type { Counters, Sensor, SensorSample } from "../sensor.ts";
import { divideRound, type I2cBus, powerOf, signed20 } from "./bus.ts";
import { Chip } from "./chip.ts";

export interface Ina228Options {
  address: number;
  /** nΩ. */
  shunt: bigint;
  /** Full scale of the shunt voltage: 163.84 or 40.96 mV. */
  shuntRange: 164 | 41;
  averages: 1 | 4 | 16 | 64 | 128 | 256 | 512 | 1024;
  /** Microseconds of one conversion. */
  conversion: 50 | 84 | 150 | 280 | 540 | 1052 | 2074 | 4120;
}

const CONFIG = 0x00;
const ADC_CONFIG = 0x01;
const SHUNT_CAL = 0x02;
const SHUNT = 0x04;
const BUS = 0x05;
const ENERGY = 0x09;
const CHARGE = 0x0a;
const DIAGNOSIS = 0x0b;
const MANUFACTURER = 0x3e;
const DEVICE = 0x3f;
const CONVERTED = 0x0002;
const MEMORY_OK = 0x0001;
const MATH_OVERFLOW = 0x0200;
const ADC_RANGE = 0x0010;
/** Shunt and bus, continuously; the temperature is left out, so that it takes no time from them. */
const MODE = 0xb000;
/** CURRENT_LSB = full scale / 2^19 makes 13107.2 · 10^6 · CURRENT_LSB · R the same for every shunt. */
const CALIBRATION = 4096;
const AVERAGES = [1, 4, 16, 64, 128, 256, 512, 1024];
const CONVERSIONS = [50, 84, 150, 280, 540, 1052, 2074, 4120];

/** TI INA228: DC voltage up to 85 V and current over a shunt, 20 bits, with energy counted by the chip itself. */
export class Ina228 implements Sensor {
  readonly description;
  readonly #chip: Chip;
  readonly #options: Ina228Options;
  readonly #config: number;
  readonly #adcConfig: number;
  readonly windowMs: number;
  /** The counters were lost with the supply, and nobody was told yet. */
  #restarted = false;

  constructor(bus: I2cBus, options: Ina228Options) {
    this.#chip = new Chip("INA228", bus, options.address);
    this.#options = options;
    this.#config = options.shuntRange === 41 ? ADC_RANGE : 0;
    const conversion = CONVERSIONS.indexOf(options.conversion);
    this.#adcConfig =
      MODE | (conversion << 9) | (conversion << 6) | (conversion << 3) | AVERAGES.indexOf(options.averages);
    this.windowMs = (2 * options.conversion * options.averages) / 1000;
    this.description = { kind: "ina228", bus: bus.name, ...options, shunt: options.shunt.toString() };
  }

  async open(): Promise<void> {
    await this.#chip.expectId(MANUFACTURER, 0x5449, 0xffff, "manufacturer id");
    await this.#chip.expectId(DEVICE, 0x2280, 0xfff0, "device id");
    // A chip that still has its configuration has kept its counters, too.
    const kept =
      (await this.#chip.read(ADC_CONFIG)) === this.#adcConfig && (await this.#chip.read(SHUNT_CAL)) === CALIBRATION;
    if (!kept) this.#restarted = true;
    await this.#chip.configure(CONFIG, this.#config);
    await this.#chip.configure(ADC_CONFIG, this.#adcConfig);
    await this.#chip.configure(SHUNT_CAL, CALIBRATION);
  }

  async sample(): Promise<SensorSample> {
    await this.#chip.ready(this.windowMs, async () => {
      const diagnosis = await this.#chip.read(DIAGNOSIS);
      if ((diagnosis & MEMORY_OK) === 0) throw this.#chip.outOfRange("its trim memory's checksum");
      if (diagnosis & MATH_OVERFLOW) throw this.#chip.outOfRange("its arithmetic");
      return (diagnosis & CONVERTED) !== 0;
    });
    const shuntRaw = signed20(await this.#chip.readBytes(SHUNT, 3));
    const busRaw = signed20(await this.#chip.readBytes(BUS, 3));
    // Afterwards: a chip that was reset while its conversion was waited for would have the other range.
    await this.#chip.verify(CONFIG, this.#config);
    await this.#chip.verify(ADC_CONFIG, this.#adcConfig);
    if (shuntRaw >= 0x7_ffff || shuntRaw <= -0x8_0000) throw this.#chip.outOfRange("the shunt voltage");
    if (busRaw < 0 || busRaw >= 0x7_ffff) throw this.#chip.outOfRange("the bus voltage");
    // 195.3125 µV a step.
    const voltage = divideRound(BigInt(busRaw) * 1_953_125n, 10_000n);
    // 312.5 nV a step, or 78.125 nV in the small range; in pV here.
    const picovolts = BigInt(shuntRaw) * (this.#options.shuntRange === 41 ? 78_125n : 312_500n);
    const current = divideRound(picovolts * 1_000n, this.#options.shunt);
    return { voltage, current, power: powerOf(voltage, current), windowNs: BigInt(Math.round(this.windowMs * 1e6)) };
  }

  /**
   * What the chip itself has counted since it was switched on: energy as |power|, in 40 bits that wrap, and charge with
   * its sign. It goes on while nobody reads it, so it tells what a gap has missed, and with the charge which way.
   */
  async counters(): Promise<Counters> {
    const [energy, charge] = [await this.#wide(ENERGY), await this.#wide(CHARGE)];
    // CURRENT_LSB is the shunt's step over R: here in 10^-15 A·s, for one count of the charge.
    const picovolts = this.#options.shuntRange === 41 ? 78_125n : 312_500n;
    const charges = (counts: bigint) => divideRound(counts * picovolts * 10n ** 12n, this.#options.shunt);
    // 16 · 3.2 · CURRENT_LSB joules for one count of the energy.
    const joules = (counts: bigint) => divideRound(counts * 512n * picovolts * 10n ** 11n, this.#options.shunt);
    const restarted = this.#restarted;
    this.#restarted = false;
    return {
      energy: { absolute: joules(energy) },
      charge: charges(BigInt.asIntN(40, charge)),
      step: joules(1n),
      wrap: joules(2n ** 40n),
      chargeWrap: charges(2n ** 40n),
      restarted,
    };
  }

  async #wide(register: number): Promise<bigint> {
    return BigInt(`0x${Buffer.from(await this.#chip.readBytes(register, 5)).toString("hex")}`);
  }

  async close(): Promise<void> {
    await this.#chip.bus.close();
  }
}
