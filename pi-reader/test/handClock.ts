import type { Clock } from "@bijuli/protocol";

/** A clock that moves when the test moves it. */
export class HandClock implements Clock {
  #now: number;
  #waiting: { at: number; resolve: () => void }[] = [];

  constructor(at: string | number) {
    this.#now = typeof at === "number" ? at : Date.parse(at);
  }

  nowMs(): number {
    return this.#now;
  }

  started(): boolean {
    return true;
  }

  realMs(spanMs: number): number {
    return spanMs;
  }

  sleepUntil(unixMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#now >= unixMs) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ at: unixMs, resolve });
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  moveTo(at: string | number): void {
    this.#now = typeof at === "number" ? at : Date.parse(at);
    const due = this.#waiting.filter((one) => one.at <= this.#now);
    this.#waiting = this.#waiting.filter((one) => one.at > this.#now);
    for (const one of due) one.resolve();
  }
}
