import { setTimeout as sleep } from "node:timers/promises";
import { type Clock, explain, lotEnd, lotOf } from "@bijuli/protocol";
import type { Logger } from "pino";
import type { Collector } from "./collector.ts";
import type { Meter, Roster } from "./meters.ts";
import { Refusal } from "./refusal.ts";

export interface PollerOptions {
  clock: Clock;
  collector: Collector;
  roster: Roster;
  lotSeconds: number;
  delayMs: number;
  jitterMs: number;
  concurrency: number;
  backfillLots: number;
  log: Logger;
}

/** Waits between attempts at a lot that its reader does not give yet, ms of real time. */
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 15_000;

/**
 * Reads every meter shortly after each lot's end, so that the answer is ready before a request comes. A meter that
 * fails is tried again, ever less often, until the next lot's poll takes over; once it is back, or this adapter is, the
 * newest of the lots missed meanwhile are read too, and older ones when they are asked for.
 */
export class Poller {
  readonly #o: PollerOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** Lots still to be read of meters that were away: from `lot` back to the one after `after`. */
  readonly #gaps = new Map<Meter, { lot: bigint; after: bigint }>();
  /** The last lot whose poll began, how many meters it read and how long it took; and how many polls there were. */
  readonly progress = { lot: -1n, read: 0, seconds: 0, rounds: 0 };

  constructor(options: PollerOptions) {
    this.#o = options;
  }

  start(): void {
    this.#running ??= this.#run().catch((error) => {
      if (!this.#stop.signal.aborted) this.#o.log.fatal({ err: error }, `polling stopped: ${explain(error)}`);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, lotSeconds } = this.#o;
    const { signal } = this.#stop;
    const realLotMs = clock.realMs(lotSeconds * 1000);
    // A network's clock that has not started stands still: no reader needs to be there yet.
    if (!clock.started()) await clock.sleepUntil(clock.nowMs() + 1, signal);
    let lot = this.#currentLot() - 1n;
    let round: Promise<void> = Promise.resolve();
    while (!signal.aborted) {
      // No lot is longer away than one; where a wrong clock was set back, the lot to wait for is another by then.
      const patience = AbortSignal.timeout(Math.min(Math.ceil(realLotMs), 3_600_000));
      try {
        await clock.sleepUntil(Number(lotEnd(lot, lotSeconds)) * 1000, AbortSignal.any([signal, patience]));
      } catch (error) {
        if (signal.aborted || !patience.aborted) throw error;
        const current = this.#currentLot();
        if (current < lot) lot = current - 1n;
        continue;
      }
      await sleep(Math.min(this.#o.delayMs, realLotMs / 10), undefined, { signal });
      // A round that outlasts a lot holds the next one back instead of piling up; what is skipped is fetched on demand.
      await round;
      const newest = this.#currentLot() - 1n;
      if (newest > lot) lot = newest;
      round = this.#poll(lot, Math.min(this.#o.jitterMs, realLotMs / 5));
      lot++;
    }
    await round;
  }

  #currentLot(): bigint {
    return lotOf(BigInt(Math.floor(this.#o.clock.nowMs() / 1000)), this.#o.lotSeconds);
  }

  /** False once the next lot is over, and where the clock was set back to before this one's end. */
  #isNewest(lot: bigint): boolean {
    return this.#currentLot() - 1n === lot;
  }

  async #poll(lot: bigint, jitterMs: number): Promise<void> {
    const began = performance.now();
    this.progress.lot = lot;
    this.progress.rounds++;
    this.progress.read = 0;
    let left = this.#o.roster.meters.filter((meter) => meter.url !== undefined);
    try {
      for (let attempt = 0; left.length > 0; attempt++) {
        left = await this.#pass(lot, left, jitterMs);
        await this.#backfill(lot);
        this.progress.seconds = (performance.now() - began) / 1000;
        const pause = Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
        const untilNext = this.#o.clock.realMs(
          Number(lotEnd(lot + 1n, this.#o.lotSeconds)) * 1000 - this.#o.clock.nowMs(),
        );
        if (left.length === 0 || untilNext <= pause || !this.#isNewest(lot)) return;
        await sleep(pause, undefined, { signal: this.#stop.signal });
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  /** One attempt at each meter, spread over the jitter; returns those to try again. */
  async #pass(lot: bigint, meters: readonly Meter[], jitterMs: number): Promise<Meter[]> {
    const began = performance.now();
    const turns = meters.map((meter) => ({ meter, at: began + Math.random() * jitterMs })).sort((a, b) => a.at - b.at);
    const again: Meter[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < turns.length) {
        const { meter, at } = turns[next++]!;
        const pause = at - performance.now();
        if (pause > 0) await sleep(pause, undefined, { signal: this.#stop.signal });
        if (this.#stop.signal.aborted || !this.#isNewest(lot)) return;
        const newest = (meter.newest ?? meter.remembered)?.lot;
        if (await this.#read(meter, lot)) {
          this.progress.read++;
          this.#noteGap(meter, newest, lot);
        } else again.push(meter);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#o.concurrency, turns.length) }, worker));
    return again;
  }

  /** Reads lots that were missed while a meter was away, of all meters, one by one, until the next lot is over. */
  async #backfill(lot: bigint): Promise<void> {
    while (this.#gaps.size > 0) {
      for (const [meter, gap] of this.#gaps) {
        if (!this.#isNewest(lot) || this.#stop.signal.aborted) return;
        if (gap.lot <= gap.after) {
          this.#gaps.delete(meter);
          continue;
        }
        // A gap that cannot be read now is left for when it is asked for.
        if (await this.#read(meter, gap.lot)) gap.lot--;
        else this.#gaps.delete(meter);
      }
    }
  }

  /** Notes what lies between a meter's newest reading and the one that is read now. */
  #noteGap(meter: Meter, newest: bigint | undefined, lot: bigint): void {
    const { backfillLots } = this.#o;
    if (backfillLots === 0 || newest === undefined || newest >= lot - 1n) return;
    const after = lot - 1n - BigInt(backfillLots) > newest ? lot - 1n - BigInt(backfillLots) : newest;
    this.#gaps.set(meter, { lot: lot - 1n, after });
  }

  /** True when there is nothing more to do for this meter and lot. */
  async #read(meter: Meter, lot: bigint): Promise<boolean> {
    const { collector, log } = this.#o;
    // A feeder cleared every n lots asks for runs of n that follow one another: have the next run ready too.
    const run = meter.asked !== undefined && meter.asked.lots > 1 && meter.asked.lot + BigInt(meter.asked.lots) === lot;
    try {
      await collector.obtain(meter, lot, run ? meter.asked!.lots : 1, false);
      return true;
    } catch (error) {
      if (!(error instanceof Refusal)) {
        // A bug that one meter's reader brings out must not end the polls of all others.
        log.error({ meter: meter.serial, lot: lot.toString(), err: error }, `${meter.label}: its poll failed`);
        return false;
      }
      log.debug({ meter: meter.serial, lot: lot.toString() }, error.message);
      // A meter whose reader begins later, and one that contradicts itself, will say the same again.
      return error.code === "before-first-lot" || error.code === "disagreement";
    }
  }
}
