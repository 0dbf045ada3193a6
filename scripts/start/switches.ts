import { renameSync, writeFileSync } from "node:fs";
import type { SwitchHistory } from "@bijuli/pi-reader";
import type { Clock } from "@bijuli/protocol";

/** A switch holds from so many real milliseconds on: by then every reader has seen it. */
const AHEAD_MS = 400;
const STEP_MS = 10_000;

/** What the demo does to its simulated meters; written to the file that they follow. */
export class DemoSwitches {
  readonly path: string;
  readonly #history: SwitchHistory = [];
  readonly #taps: Record<string, number> = {};
  readonly #failing = new Set<string>();

  constructor(path: string) {
    this.path = path;
  }

  drawn(tap: string): number {
    return this.#taps[tap] ?? 0;
  }

  isFailing(serial: string): boolean {
    return this.#failing.has(serial);
  }

  draw(tap: string, watts: number, clock: Clock): void {
    this.#taps[tap] = watts;
    this.#write(clock);
  }

  fail(serial: string, failing: boolean, clock: Clock): void {
    if (failing) this.#failing.add(serial);
    else this.#failing.delete(serial);
    this.#write(clock);
  }

  /** What holds begins in the future, or a lot that was signed would be another one when it is measured again. */
  #write(clock: Clock): void {
    const now = clock.nowMs();
    const from = Math.ceil((now + AHEAD_MS / clock.realMs(1)) / STEP_MS) * STEP_MS;
    while ((this.#history.at(-1)?.from ?? -1) >= from) this.#history.pop();
    this.#history.push({ from, taps: { ...this.#taps }, failing: [...this.#failing] });
    writeFileSync(`${this.path}.new`, JSON.stringify(this.#history));
    renameSync(`${this.path}.new`, this.path);
  }
}
