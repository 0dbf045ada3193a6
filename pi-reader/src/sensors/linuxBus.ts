import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { constants as os } from "node:os";
import { BijuliError } from "@bijuli/protocol";
import { SensorFault } from "../sensor.ts";
import { hexAddress, type I2cBus } from "./bus.ts";

/** The part of i2c-bus that is used here. */
interface PromisifiedBus {
  readWord(address: number, command: number): Promise<number>;
  writeWord(address: number, command: number, word: number): Promise<void>;
  readI2cBlock(address: number, command: number, length: number, buffer: Buffer): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}
interface I2cModule {
  openPromisified(bus: number): Promise<PromisifiedBus>;
}

const { EBUSY } = os.errno;
const swap = (word: number): number => ((word & 0xff) << 8) | (word >> 8);

/**
 * /dev/i2c-N through the i2c-bus addon. SMBus words are little-endian and the chips are big-endian, so words are
 * swapped. All access is serialised; after any failure the bus is opened anew, for a failed address set leaves the
 * addon's object on the wrong chip.
 * @throws BijuliError no-i2c, with the remedy, when the addon or the device is missing or not permitted
 */
export async function openLinuxBus(number: number): Promise<I2cBus> {
  const name = `/dev/i2c-${number}`;
  // Not a literal: the addon is optional, and a meter that replays needs none.
  const addon = "i2c-bus";
  let module: I2cModule;
  try {
    const loaded = (await import(addon)) as I2cModule & { default?: I2cModule };
    module = loaded.default ?? loaded;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    throw new BijuliError("no-i2c", `the addon i2c-bus ${missing ? "is not installed" : "cannot be loaded"}`, {
      cause: missing ? undefined : cause,
      remedy: missing
        ? "npm install i2c-bus; it needs a compiler"
        : "npm rebuild i2c-bus with the Node that runs the reader",
    });
  }
  const open = async () => {
    try {
      // The addon opens the device only with the first access to a chip, and then the chip would seem to be missing.
      await access(name, constants.R_OK | constants.W_OK);
      return await module.openPromisified(number);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      const remedy =
        code === "EACCES"
          ? "add the reader's user to the group i2c"
          : "enable I2C (raspi-config, or dtparam=i2c_arm=on) and check the bus number";
      throw new BijuliError("no-i2c", `${name} ${code === "EACCES" ? "is not permitted" : "cannot be opened"}`, {
        cause,
        remedy,
      });
    }
  };

  let bus: PromisifiedBus | undefined = await open();
  let queue: Promise<unknown> = Promise.resolve();
  const serially = <T>(address: number, work: (bus: PromisifiedBus) => Promise<T>): Promise<T> => {
    const turn = queue.then(async () => {
      bus ??= await open();
      try {
        return await work(bus);
      } catch (cause) {
        await bus.close().catch(() => {});
        bus = undefined;
        const { errno } = cause as NodeJS.ErrnoException;
        const busy = errno === EBUSY || errno === -EBUSY;
        throw new SensorFault(
          "absent",
          `${hexAddress(address)} on ${name} ${busy ? "is held by a kernel driver: unbind it" : "does not answer"}`,
          cause,
        );
      }
    });
    queue = turn.catch(() => {});
    return turn;
  };

  return {
    name,
    readWord: (address, register) => serially(address, async (on) => swap(await on.readWord(address, register))),
    writeWord: (address, register, value) => serially(address, (on) => on.writeWord(address, register, swap(value))),
    readBytes: (address, register, length) =>
      serially(address, async (on) => {
        const buffer = Buffer.alloc(length);
        const { bytesRead } = await on.readI2cBlock(address, register, length, buffer);
        if (bytesRead !== length) throw new Error(`${bytesRead} bytes instead of ${length}`);
        return buffer;
      }),
    close: async () => {
      await queue;
      const open = bus;
      bus = undefined;
      await open?.close();
    },
  };
}
