import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { type CallbackOptions, callbackOf } from "./callback.ts";
import { type Entry, type Line, type Lines, sendable } from "./line.ts";
import type { Outgoing, TransactionManager } from "./transactions.ts";

/** How often lines are looked at whose front waits for a time to come. */
const TICK_MS = 250;
/** How long full pools are left alone: the next block makes room. */
const FULL_MS = 50;

export interface DispatchOptions extends Omit<CallbackOptions, "addresses"> {
  lines: Lines;
  transactions: TransactionManager;
  /** Transactions of one key that may wait for a block. */
  maxInFlight: number;
  /** Real ms that a line rests when its transactions could not be stored. */
  restMs: number;
  /** Tries an entry's transaction as a call; the entry is busy until the promise settles. */
  rehearse(entry: Entry, outgoing: Outgoing): Promise<void>;
  /** There can be no transaction for it. */
  impossible(entry: Entry, cause: string): Promise<void>;
  logger: Logger;
}

/** Sends what may leave: looks at the lines that changed, all in one go, and gives their transactions to the manager together. */
export class Dispatch {
  readonly #options: DispatchOptions;
  readonly #dirty = new Set<Line>();
  #pumping: Promise<void> | undefined;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const now = Date.now();
      for (const line of this.#options.lines.lines()) {
        const first = line.entries[0];
        if (first !== undefined && (first.notBefore <= now || first.run.failingSince !== undefined)) this.touch(line);
      }
    }, TICK_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#pumping;
  }

  /** Something in the line changed: what may leave is looked for. */
  touch(line: Line): void {
    this.#dirty.add(line);
    if (this.#stopped) return;
    this.#pumping ??= new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#pump())
      .catch((error: unknown) =>
        this.#options.logger.error({ cause: explain(error) }, "delivery failed: it is tried again"),
      )
      .finally(() => {
        this.#pumping = undefined;
        const [next] = this.#dirty;
        if (next !== undefined) this.touch(next);
      });
  }

  async #pump(): Promise<void> {
    const { transactions, maxInFlight } = this.#options;
    const lines = [...this.#dirty];
    this.#dirty.clear();
    const callback: CallbackOptions = { ...this.#options, addresses: transactions.addresses };
    const room = new Map(callback.addresses.map((address) => [address, maxInFlight - transactions.inFlight(address)]));
    const chosen: { entry: Entry; outgoing: Outgoing }[] = [];
    for (const line of lines) {
      for (const entry of sendable(line, Date.now())) {
        const outgoing = callbackOf(entry, callback);
        if (typeof outgoing === "string") {
          entry.busy = true;
          void this.#options.impossible(entry, outgoing);
          continue;
        }
        const left = room.get(outgoing.sender)!;
        if (left <= 0) {
          this.#dirty.add(line);
          break;
        }
        if (entry.rehearse) {
          entry.busy = true;
          void this.#rehearse(entry, outgoing);
          break;
        }
        room.set(outgoing.sender, left - 1);
        chosen.push({ entry, outgoing });
      }
    }
    if (chosen.length > 0) await this.#send(chosen);
    else if (this.#dirty.size > 0) await new Promise((resolve) => setTimeout(resolve, FULL_MS));
  }

  async #send(chosen: readonly { entry: Entry; outgoing: Outgoing }[]): Promise<void> {
    for (const { entry } of chosen) entry.busy = true;
    try {
      await this.#options.transactions.send(chosen.map(({ outgoing }) => outgoing));
      for (const { entry, outgoing } of chosen) {
        entry.run.state = "sent";
        entry.line.sender = outgoing.sender;
      }
    } catch (error) {
      for (const { entry } of chosen) {
        entry.notBefore = Date.now() + this.#options.restMs;
        this.touch(entry.line);
      }
      throw error;
    } finally {
      for (const { entry } of chosen) entry.busy = false;
    }
  }

  async #rehearse(entry: Entry, outgoing: Outgoing): Promise<void> {
    try {
      await this.#options.rehearse(entry, outgoing);
    } catch (error) {
      entry.notBefore = Date.now() + this.#options.restMs;
      this.#options.logger.warn({ run: entry.run.id, cause: explain(error) }, "a transaction could not be tried");
    } finally {
      entry.busy = false;
      this.touch(entry.line);
    }
  }
}
