import { spawnSync } from "node:child_process";
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./i2c.c", import.meta.url));

/** Why the addon cannot be run on the shim here; false where it can. */
export function shimMissing(): string | false {
  if (process.platform !== "linux") return "needs Linux";
  const addon = spawnSync(process.execPath, ["-e", 'require("i2c-bus")'], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  if (addon.status !== 0) return "the addon i2c-bus is not built for this Node";
  return spawnSync("cc", ["--version"]).status === 0 ? false : "needs a C compiler";
}

/** Compiles the shim; the library, for LD_PRELOAD. */
export function buildShim(folder: string): string {
  const library = join(folder, "i2c.so");
  const options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"];
  const { status, stderr } = spawnSync("cc", options, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return library;
}

/** Where struct chip of the shim has its parts. */
const AT = { nakEvery: 0, absent: 4, busy: 8, denied: 12, address: 16, busHz: 20, transfers: 24, bits: 32, words: 40 };
const WIDE = AT.words + 512;
const SIZE = WIDE + 2048;

/** The chip behind the shim: its file is the shim's shared memory. */
export class ShimChip {
  readonly #fd: number;
  readonly env: Record<string, string>;

  constructor(folder: string, library: string, words: Readonly<Record<number, number>>) {
    const state = join(folder, "chip");
    writeFileSync(state, Buffer.alloc(SIZE));
    this.#fd = openSync(state, "r+");
    for (const [register, word] of Object.entries(words)) this.word(Number(register), word);
    this.env = { LD_PRELOAD: library, I2C_SHIM: state };
  }

  close(): void {
    closeSync(this.#fd);
  }

  #set(offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    writeSync(this.#fd, bytes, 0, 4, offset);
  }
  #count(offset: number): bigint {
    const bytes = Buffer.alloc(8);
    readSync(this.#fd, bytes, 0, 8, offset);
    return bytes.readBigUInt64LE();
  }

  set nakEvery(transfers: number) {
    this.#set(AT.nakEvery, transfers);
  }
  set absent(is: boolean) {
    this.#set(AT.absent, is ? 1 : 0);
  }
  set busy(is: boolean) {
    this.#set(AT.busy, is ? 1 : 0);
  }
  set denied(is: boolean) {
    this.#set(AT.denied, is ? 1 : 0);
  }
  /** 0x40 unless told. */
  set address(address: number) {
    this.#set(AT.address, address);
  }
  /** A transfer takes as long as its bits at this clock; at 0 no time. */
  set busHz(hz: number) {
    this.#set(AT.busHz, hz);
  }
  get transfers(): bigint {
    return this.#count(AT.transfers);
  }
  /** Clock cycles of all transfers so far, as they are on the wire. */
  get bits(): bigint {
    return this.#count(AT.bits);
  }
  word(register: number, value: number): void {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    writeSync(this.#fd, bytes, 0, 2, AT.words + 2 * register);
  }
  wide(register: number, value: bigint, length: number): void {
    const digits = BigInt.asUintN(8 * length, value).toString(16);
    const bytes = Buffer.from(digits.padStart(2 * length, "0"), "hex");
    writeSync(this.#fd, bytes, 0, length, WIDE + 8 * register);
  }
}
