import type { Clock } from "@bijuli/protocol";
import type { Head } from "./types.ts";

/**
 * Holds the chain's time against this machine's clock (or the virtual one of its network). Nothing here is decided by the
 * machine's clock, but the parts that fetch readings have one, and a block's time that is far off is the RPC's or the clock's
 * fault.
 */
export class ChainClock {
  readonly #clock: Clock;
  /** Real ms. */
  readonly #toleranceMs: number;
  #problem: string | undefined;

  constructor(clock: Clock, toleranceMs: number) {
    this.#clock = clock;
    this.#toleranceMs = toleranceMs;
  }

  /** What is wrong, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** A block that has just come. */
  onHead(head: Head): void {
    this.#problem = undefined;
    if (this.#toleranceMs === 0 || !this.#clock.started()) return;
    const aheadMs = Number(head.timestamp) * 1000 - this.#clock.nowMs();
    if (this.#clock.realMs(Math.abs(aheadMs)) <= this.#toleranceMs) return;
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    this.#problem =
      aheadMs > 0
        ? `this machine's clock is ${seconds} s behind the newest block's time`
        : `the newest block's time is ${seconds} s behind this machine's clock: the clock is ahead, or the RPC lags`;
  }
}
