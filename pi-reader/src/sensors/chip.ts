import { setTimeout as sleep } from "node:timers/promises";
import { SensorFault } from "../sensor.ts";
import { hexAddress, type I2cBus } from "./bus.ts";

/** A chip at its address: what all the drivers do in the same way. */
export class Chip {
  readonly bus: I2cBus;
  readonly address: number;
  readonly name: string;

  constructor(kind: string, bus: I2cBus, address: number) {
    this.bus = bus;
    this.address = address;
    this.name = `${kind} at ${hexAddress(address)} on ${bus.name}`;
  }

  read(register: number): Promise<number> {
    return this.bus.readWord(this.address, register);
  }

  write(register: number, value: number): Promise<void> {
    return this.bus.writeWord(this.address, register, value);
  }

  readBytes(register: number, length: number): Promise<Uint8Array> {
    return this.bus.readBytes(this.address, register, length);
  }

  /** Writes a configuration and makes sure that it was taken. */
  async configure(register: number, value: number): Promise<void> {
    await this.write(register, value);
    await this.verify(register, value, "wrong-chip");
  }

  /** A chip that lost its supply comes back with its default configuration, and with wrong numbers. */
  async verify(
    register: number,
    expected: number,
    kind: "reset" | "wrong-chip" = "reset",
    mask = 0xffff,
  ): Promise<void> {
    const found = await this.read(register);
    if ((found & mask) === (expected & mask)) return;
    const [has, should] = [found, expected].map((word) => `0x${word!.toString(16).padStart(4, "0")}`);
    throw new SensorFault(
      kind,
      kind === "reset"
        ? `${this.name} lost its configuration (${has} instead of ${should}): was its supply interrupted?`
        : `${this.name} does not take its configuration (${has} instead of ${should}): is it another chip?`,
    );
  }

  async expectId(register: number, expected: number, mask: number, what: string): Promise<void> {
    const id = await this.read(register);
    if ((id & mask) !== expected) {
      throw new SensorFault(
        "wrong-chip",
        `${this.name}: its ${what} is 0x${id.toString(16).padStart(4, "0")}: another chip`,
      );
    }
  }

  /** Waits for a conversion that takes `windowMs`; polls no more often than a tenth of it. */
  async ready(windowMs: number, isReady: () => Promise<boolean>): Promise<void> {
    const pollMs = Math.max(1, windowMs / 10);
    for (let waited = 0; waited <= 2 * windowMs + 20; waited += pollMs) {
      if (await isReady()) return;
      await sleep(pollMs);
    }
    throw new SensorFault("invalid", `${this.name} finishes no conversion`);
  }

  outOfRange(what: string): SensorFault {
    return new SensorFault("range", `${this.name}: ${what} is beyond its range`);
  }
}
