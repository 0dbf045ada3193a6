import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { BijuliError } from "./errors.ts";

/**
 * Tells what time it is in the network: sample times, lot ends and block timestamps follow it. HTTP, retry and queue
 * timers do not; they run in real time.
 */
export interface Clock {
  /** Unix milliseconds. A clock that has not started stands still at its origin. */
  nowMs(): number;
  started(): boolean;
  /** How many real milliseconds a span of this clock's milliseconds lasts. */
  realMs(spanMs: number): number;
  /** Resolves once nowMs() has reached `unixMs`; rejects with the signal's reason when aborted. */
  sleepUntil(unixMs: number, signal?: AbortSignal): Promise<void>;
}

/** setTimeout counts in 32 bits; longer waits are taken in steps, which also follows steps of the wall clock. */
const LONGEST_STEP_MS = 60_000;
const POLL_MS = 50;

abstract class SteppingClock implements Clock {
  abstract nowMs(): number;
  abstract started(): boolean;
  abstract realMs(spanMs: number): number;

  async sleepUntil(unixMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    for (;;) {
      const left = unixMs - this.nowMs();
      if (left <= 0) return;
      const step = this.started() ? Math.min(Math.max(Math.ceil(this.realMs(left)), 1), LONGEST_STEP_MS) : POLL_MS;
      await sleep(step, undefined, signal ? { signal } : {});
    }
  }
}

class SystemClock extends SteppingClock {
  nowMs(): number {
    return Date.now();
  }
  started(): boolean {
    return true;
  }
  realMs(spanMs: number): number {
    return spanMs;
  }
}

const clockFile = z.strictObject({
  origin: z.int().nonnegative(),
  speed: z.number().positive().max(1_000_000),
  startedAt: z.int().nonnegative().optional(),
});

/** What the clock's file holds: unix ms at which virtual time begins, how many times as fast it runs, and the real unix ms at which it was started. */
export type ClockFile = z.infer<typeof clockFile>;

class FileClock extends SteppingClock {
  readonly #path: string;
  #file: ClockFile;
  #looked = Number.NEGATIVE_INFINITY;

  constructor(path: string) {
    super();
    this.#path = path;
    this.#file = this.#read();
  }

  nowMs(): number {
    if (!this.started()) return this.#file.origin;
    const elapsed = performance.timeOrigin + performance.now() - this.#file.startedAt!;
    return Math.floor(this.#file.origin + Math.max(elapsed, 0) * this.#file.speed);
  }

  started(): boolean {
    if (this.#file.startedAt === undefined && performance.now() - this.#looked >= POLL_MS) {
      this.#looked = performance.now();
      this.#file = this.#read();
    }
    return this.#file.startedAt !== undefined;
  }

  realMs(spanMs: number): number {
    return spanMs / this.#file.speed;
  }

  #read(): ClockFile {
    try {
      return clockFile.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch (cause) {
      throw new BijuliError("bad-clock", `the clock file ${this.#path} cannot be read`, {
        cause,
        remedy: 'BIJULI_CLOCK names a JSON file {"origin": unix ms, "speed": n, "startedAt"?: unix ms}',
      });
    }
  }
}

/** The machine's own time. */
export function systemClock(): Clock {
  return new SystemClock();
}

/** The virtual clock that several processes of one network share through a file; it must be replaced atomically. */
export function clockFromFile(path: string): Clock {
  return new FileClock(path);
}

/** The clock that BIJULI_CLOCK names, or the system's. */
export function openClock(path: string | undefined): Clock {
  return path === undefined || path === "" ? systemClock() : clockFromFile(path);
}
