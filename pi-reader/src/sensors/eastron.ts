import type { Counters, Sensor, SensorSample } from "../sensor.ts";
import { SensorFault } from "../sensor.ts";
import type { ModbusLink } from "./modbusLink.ts";

/**
 * Input registers of Eastron's meters: 32-bit floats, most significant word first ("SDM120-Modbus protocol
 * implementation" 2.4, "SDM630Modbus protocol" 1.8). One request covers what belongs to one moment.
 */
const MAPS = {
  sdm120: { count: 14, voltage: [0x0000], current: [0x0006], power: 0x000c },
  // Mean of the line-to-neutral voltages, sum of the line currents, total power.
  sdm630: { count: 54, voltage: [0x0000, 0x0002, 0x0004], current: [0x0006, 0x0008, 0x000a], power: 0x0034 },
} as const;
const IMPORTED = 0x0048;
const EXPORTED = 0x004a;
/** Beyond any of these meters. */
const MOST = { V: 1000, A: 10_000, W: 10_000_000 };
/** Femtojoules of a kWh, and of the watt-hour in which the meters count. */
const FJ_PER_KWH = 3_600_000n * 10n ** 15n;
const COUNTING_STEP = FJ_PER_KWH / 1000n;

export interface EastronOptions {
  meter: keyof typeof MAPS;
  /** Which of the meter's directions is downstream: its import, unless it is wired the other way round. */
  forward: "import" | "export";
}

/** An AC meter that measures by itself. Its power is integrated here; its own counters are the cross-check. */
export class Eastron implements Sensor {
  readonly description;
  readonly measuresPower = true;
  readonly #link: ModbusLink;
  readonly #options: EastronOptions;

  constructor(link: ModbusLink, options: EastronOptions) {
    this.#link = link;
    this.#options = options;
    this.description = { kind: "modbus", meter: options.meter, at: link.name, forward: options.forward };
  }

  /** Connects and reads everything once: a meter that lacks a register is another one. */
  async open(): Promise<void> {
    await this.#link.open();
    await this.sample();
    await this.counters();
  }

  async sample(): Promise<SensorSample> {
    const { meter, forward } = this.#options;
    const map = MAPS[meter];
    const asked = process.hrtime.bigint();
    const bytes = await this.#link.readInput(0, map.count);
    const value = (register: number, unit: keyof typeof MOST) => this.#micro(bytes, register, unit);
    const voltages = map.voltage.map((register) => value(register, "V")).filter((microvolts) => microvolts !== 0n);
    const power = value(map.power, "W");
    return {
      // A phase that is not connected reads zero and says nothing about the voltage.
      voltage: voltages.length === 0 ? 0n : sum(voltages) / BigInt(voltages.length),
      current: sum(map.current.map((register) => value(register, "A"))),
      power: forward === "import" ? power : -power,
      // The values are of some moment between question and answer.
      windowNs: process.hrtime.bigint() - asked,
    };
  }

  async counters(): Promise<Counters> {
    const bytes = await this.#link.readInput(IMPORTED, 4);
    const kWh = [0, EXPORTED - IMPORTED].map((register) => bytes.readFloatBE(2 * register));
    if (!kWh.every((one) => Number.isFinite(one) && one >= 0)) {
      throw new SensorFault("invalid", `${this.#link.name} counts ${kWh.join(" and ")} kWh, which cannot be`);
    }
    const [imported, exported] = kWh.map((one) => BigInt(Math.round(one * 1e6)) * (FJ_PER_KWH / 1_000_000n));
    const energy =
      this.#options.forward === "import"
        ? { forward: imported!, reverse: exported! }
        : { forward: exported!, reverse: imported! };
    // A float of 24 bits counts ever coarser the more it holds.
    const ulp = 2 ** (Math.floor(Math.log2(Math.max(...kWh, 2 ** -30))) - 23);
    const step = BigInt(Math.ceil(ulp * 1e6)) * (FJ_PER_KWH / 1_000_000n);
    return { energy, step: step > COUNTING_STEP ? step : COUNTING_STEP, restarted: false };
  }

  #micro(bytes: Buffer, register: number, unit: keyof typeof MOST): bigint {
    const value = bytes.readFloatBE(2 * register);
    if (Math.abs(value) <= MOST[unit]) return BigInt(Math.round(value * 1e6));
    throw new SensorFault("invalid", `${this.#link.name} shows ${value} ${unit}, which cannot be`);
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}

const sum = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);
