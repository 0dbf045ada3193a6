import { readFileSync, statSync } from "node:fs";
import { BijuliError } from "@bijuli/protocol";
import { z } from "zod";

/*
 * What happens to a simulated network: who taps it, and which sensors fail. The file is a history that only grows, and
 * each entry begins in the future: so a lot that was closed says the same whenever it is asked for again.
 */

/** What holds from a moment on. */
const entry = z.strictObject({
  /** Unix ms. */
  from: z.int().nonnegative(),
  /** Watts that are drawn, by the tap's name. */
  taps: z.record(z.string(), z.number().min(0).max(1e9)),
  /** Names of the sensors that fail. */
  failing: z.array(z.string()),
});
const history = z.array(entry);

/** A switches file's content: entries in the order of their time. */
export type SwitchHistory = z.infer<typeof history>;
type SwitchEntry = SwitchHistory[number];

/** A switches file, read again when it was replaced. */
export class Switches {
  readonly #path: string;
  #entries: SwitchHistory = [];
  #seen = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** Looks whether the file was replaced; it must be replaced atomically. A file that is not there yet is an empty one. */
  refresh(): void {
    const stat = statSync(this.#path, { throwIfNoEntry: false, bigint: true });
    const seen = stat === undefined ? "" : `${stat.ino}/${stat.mtimeNs}/${stat.size}`;
    if (seen === this.#seen) return;
    try {
      this.#entries = stat === undefined ? [] : history.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch (cause) {
      throw new BijuliError("bad-switches", `the switches file ${this.#path} cannot be read`, { cause });
    }
    this.#seen = seen;
  }

  /** Watts that a tap draws at a moment. */
  drawn(tap: string, unixMs: number): number {
    return this.#at(unixMs)?.taps[tap] ?? 0;
  }

  fails(sensor: string, unixMs: number): boolean {
    return this.#at(unixMs)?.failing.includes(sensor) ?? false;
  }

  #at(unixMs: number): SwitchEntry | undefined {
    return this.#entries.findLast(({ from }) => from <= unixMs);
  }
}
