import { SensorFault } from "../src/sensor.ts";
import type { I2cBus } from "../src/sensors/bus.ts";

/** A chip's registers as its datasheet describes them. */
export interface BenchChip {
  read(register: number): number;
  write(register: number, value: number): void;
  /** Registers wider than 16 bits. */
  readBytes?(register: number, length: number): Uint8Array;
}

/** A bus with chips at addresses; what is not there does not answer. */
export class BenchBus implements I2cBus {
  readonly name = "/dev/i2c-bench";
  readonly chips = new Map<number, BenchChip>();
  closed = false;

  #chip(address: number): BenchChip {
    const chip = this.chips.get(address);
    if (chip === undefined)
      throw new SensorFault("absent", `0x${address.toString(16)} on ${this.name} does not answer`);
    return chip;
  }
  async readWord(address: number, register: number): Promise<number> {
    return this.#chip(address).read(register) & 0xffff;
  }
  async writeWord(address: number, register: number, value: number): Promise<void> {
    this.#chip(address).write(register, value);
  }
  async readBytes(address: number, register: number, length: number): Promise<Uint8Array> {
    return this.#chip(address).readBytes!(register, length);
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

/** INA219: configuration 0x399f after power-up, "converted" cleared by reading the power register. */
export class BenchIna219 implements BenchChip {
  config = 0x399f;
  shunt = 0;
  bus = 0;
  converted = true;
  read(register: number): number {
    if (register === 0) return this.config;
    if (register === 1) return this.shunt;
    if (register === 2) return (this.bus << 3) | (this.converted ? 2 : 0);
    if (register === 3) this.converted = false;
    // The next conversion is there as soon as the last one was taken.
    if (register === 3) setImmediate(() => (this.converted = true));
    return 0;
  }
  write(register: number, value: number): void {
    if (register === 0) this.config = value;
  }
}

/** INA226: configuration 0x4127 after power-up, "converted" cleared by reading the mask register. */
export class BenchIna226 implements BenchChip {
  config = 0x4127;
  shunt = 0;
  bus = 0;
  overflow = false;
  dead = false;
  ids: Record<number, number> = { 254: 0x5449, 255: 0x2260 };
  #converted = true;
  read(register: number): number {
    if (register === 0) return this.config;
    if (register === 1) return this.shunt;
    if (register === 2) return this.bus;
    if (register === 6) {
      const mask = (this.#converted ? 8 : 0) | (this.overflow ? 4 : 0);
      this.#converted = false;
      if (!this.dead) setImmediate(() => (this.#converted = true));
      return mask;
    }
    return this.ids[register] ?? 0;
  }
  write(register: number, value: number): void {
    if (register === 0) this.config = 0x4000 | (value & 0x0fff);
  }
}

/** INA228: 20-bit values in 24 bits, a 40-bit energy register. */
export class BenchIna228 implements BenchChip {
  words: Record<number, number> = { 0: 0, 1: 0xfb68, 2: 0x1000, 11: 0x0003, 62: 0x5449, 63: 0x2281 };
  wide: Record<number, bigint> = {};
  read(register: number): number {
    return this.words[register] ?? 0;
  }
  write(register: number, value: number): void {
    this.words[register] = value;
  }
  readBytes(register: number, length: number): Uint8Array {
    const value = BigInt.asUintN(length * 8, this.wide[register] ?? 0n);
    return Buffer.from(value.toString(16).padStart(length * 2, "0"), "hex");
  }
}

/** ADS1115: single-shot conversions of whatever the multiplexer selects, millivolts per channel. */
export class BenchAds1115 implements BenchChip {
  config = 0x8583;
  /** mV at AIN0 … AIN3. */
  readonly inputs = [0, 0, 0, 0];
  #conversion = 0;
  read(register: number): number {
    if (register === 0) return this.#conversion;
    if (register === 1) return this.config | 0x8000;
    return register === 3 ? 0x7fff : 0x8000;
  }
  write(register: number, value: number): void {
    if (register !== 1) return;
    this.config = value & 0x7fff;
    const mux = (value >> 12) & 7;
    const pairs = [
      [0, 1],
      [0, 3],
      [1, 3],
      [2, 3],
    ];
    const millivolts = mux >= 4 ? this.inputs[mux - 4]! : this.inputs[pairs[mux]![0]!]! - this.inputs[pairs[mux]![1]!]!;
    const range = [6144, 4096, 2048, 1024, 512, 256][(value >> 9) & 7]!;
    this.#conversion = Math.max(-0x8000, Math.min(0x7fff, Math.round((millivolts / range) * 0x8000)));
  }
}
