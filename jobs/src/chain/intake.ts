import { setTimeout as sleep } from "node:timers/promises";
import { BijuliError, explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { quantity, type RpcClient, RpcError } from "./rpc.ts";
import { type Head, headOf, type RpcBlock, type RpcLog } from "./types.ts";

/** What the chain brought, block range by block range, in order. */
export interface ChainEvents {
  /** Logs of blocks `from` … `to`, all of them part of the chain as seen now. What is thrown is tried again. */
  logs(logs: readonly RpcLog[], from: number, to: number): Promise<void>;
  /** Blocks above `ancestor` are no longer part of the chain; their logs follow anew. */
  reorg(ancestor: number): Promise<void>;
  /** All logs up to this block have been given. */
  head(head: Head): Promise<void>;
  /** Worth writing down: everything up to here has been dealt with. */
  position(number: number, hash: string): Promise<void>;
}

export interface IntakeOptions {
  rpc: RpcClient;
  addresses: readonly string[];
  topics: readonly string[];
  pollMs: number;
  /** Blocks that a reorg may take back; on a start that many are read again. */
  reorgDepth: number;
  /** Blocks asked for in one eth_getLogs at most. */
  logRange: number;
  logger: Logger;
}

const POSITION_EVERY_MS = 1_000;
/** So many looks in a row an endpoint may lag behind what was seen before another one is asked. */
const BEHIND_STEPS = 10;

/**
 * Follows the chain: every block from the stored position on, each once while it stays part of the chain, and again what a
 * reorg brought in its stead. It trusts hashes, not numbers.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #events: ChainEvents;
  /** Hashes of the blocks that were dealt with, as deep as a reorg may go. */
  readonly #seen = new Map<number, string>();
  #last = -1;
  #head: Head | undefined;
  readonly #stopping = new AbortController();
  #wake: (() => void) | undefined;
  #woken = false;
  #loop: Promise<void> | undefined;
  #positionAt = 0;
  #behind = 0;
  #lastAdvance = Date.now();
  #problem: string | undefined;

  constructor(options: IntakeOptions, events: ChainEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** The newest head. */
  get head(): Head | undefined {
    return this.#head;
  }

  /** What is wrong with following the chain, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Real ms since the chain last moved on. */
  get quietMs(): number {
    return Date.now() - this.#lastAdvance;
  }

  /** The block after which nothing has been read. */
  get position(): number {
    return this.#last;
  }

  /** @param after the last block that was dealt with; undefined: begin at `first` */
  async start(after: number | undefined, first: number): Promise<void> {
    // What was read before a stop may have been taken back meanwhile.
    this.#last = after === undefined ? first - 1 : Math.max(after - this.#options.reorgDepth, first - 1, -1);
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#keepPosition(true);
  }

  /** There may be a new block: it is looked for at once. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Reads blocks from `number` on again: for requests that an operator misses. */
  rewind(number: number): void {
    this.#last = Math.min(this.#last, number - 1);
    for (const seen of this.#seen.keys()) if (seen > this.#last) this.#seen.delete(seen);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      let moved = false;
      try {
        moved = await this.#step();
        this.#problem = undefined;
        failures = 0;
      } catch (error) {
        failures++;
        this.#problem = explain(error);
        if (failures === 1 || failures % 20 === 0)
          this.#options.logger.warn({ cause: this.#problem, failures }, "the chain cannot be followed");
      }
      if (moved || (this.#woken && failures === 0)) {
        this.#woken = false;
        continue;
      }
      const wait =
        failures === 0 ? this.#options.pollMs : Math.min(this.#options.pollMs * 2 ** Math.min(failures, 6), 10_000);
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const rest = new AbortController();
      await Promise.race([
        sleep(wait, undefined, { signal: AbortSignal.any([signal, rest.signal]) }).catch(() => {}),
        woken,
      ]);
      rest.abort();
      this.#woken = false;
    }
  }

  /** @returns whether more may be waiting already */
  async #step(): Promise<boolean> {
    const latest = await this.#options.rpc.call<RpcBlock | null>("eth_getBlockByNumber", ["latest", false]);
    if (latest === null) throw new BijuliError("rpc", "the RPC knows no latest block");
    const head = headOf(latest);
    if (head.hash === this.#head?.hash && this.#last >= head.number) return false;
    if (this.#last >= 0 && head.number < this.#last - this.#options.reorgDepth && this.#head !== undefined) {
      this.#options.rpc.distrust();
      throw new BijuliError("rpc", `the RPC's head fell from ${this.#head.number} to ${head.number}: it lags or lies`);
    }
    if (head.number < this.#last && head.hash === this.#seen.get(head.number)) {
      // Nothing was taken back: this endpoint has not seen yet what another one, or the same one before, had.
      if (++this.#behind % BEHIND_STEPS === 0) this.#options.rpc.distrust();
      return false;
    }
    this.#behind = 0;
    const ancestor = await this.#ancestor(head);
    if (ancestor < this.#last) {
      this.#options.logger.warn({ ancestor, depth: this.#last - ancestor, head: head.number }, "reorg");
      // Forgotten only when it has been dealt with: what throws is told again.
      await this.#events.reorg(ancestor);
      for (const number of this.#seen.keys()) if (number > ancestor) this.#seen.delete(number);
      this.#last = ancestor;
    }
    let behind = false;
    if (this.#last < head.number) {
      const from = this.#last + 1;
      const to = Math.min(head.number, from + this.#options.logRange - 1);
      behind = to < head.number;
      const logs = await this.#logs(from, to);
      const hashes = await this.#hashes(from, to, head);
      for (const log of logs) {
        const hash = hashes.get(Number(log.blockNumber));
        if (hash !== undefined && hash !== log.blockHash) {
          throw new BijuliError("rpc", `block ${Number(log.blockNumber)} changed while it was read`);
        }
      }
      if (logs.length > 0) await this.#events.logs(logs, from, to);
      for (const [number, hash] of hashes) this.#seen.set(number, hash);
      for (const number of this.#seen.keys())
        if (number <= to - this.#options.reorgDepth - 1) this.#seen.delete(number);
      this.#last = to;
      this.#lastAdvance = Date.now();
    }
    if (!behind) {
      this.#head = head;
      await this.#events.head(head);
    }
    await this.#keepPosition(false);
    return behind;
  }

  /** The newest block that was dealt with and is still part of the chain whose head this is. */
  async #ancestor(head: Head): Promise<number> {
    if (this.#last < 0) return this.#last;
    if (head.number === this.#last + 1 && head.parentHash === this.#seen.get(this.#last)) return this.#last;
    if (head.number === this.#last && head.hash === this.#seen.get(this.#last)) return this.#last;
    let number = Math.min(this.#last, head.number);
    while (this.#seen.has(number)) {
      const block = number === head.number ? head : await this.#block(number);
      if (block.hash === this.#seen.get(number)) return number;
      number--;
    }
    return number;
  }

  async #block(number: number): Promise<{ hash: string }> {
    const block = await this.#options.rpc.call<RpcBlock | null>("eth_getBlockByNumber", [quantity(number), false]);
    if (block === null) throw new BijuliError("rpc", `the RPC does not have block ${number}`);
    return block;
  }

  /** Hashes of the blocks among `from` … `to` that a reorg could still take back. */
  async #hashes(from: number, to: number, head: Head): Promise<Map<number, string>> {
    const first = Math.max(from, head.number - this.#options.reorgDepth);
    const numbers: number[] = [];
    for (let number = first; number <= to; number++) numbers.push(number);
    const blocks = await Promise.all(numbers.map((number) => (number === head.number ? head : this.#block(number))));
    return new Map(blocks.map((block, index) => [numbers[index]!, block.hash]));
  }

  /** Logs of a range; halved when the RPC refuses its size. */
  async #logs(from: number, to: number): Promise<RpcLog[]> {
    if (this.#options.addresses.length === 0) return [];
    try {
      const logs = await this.#options.rpc.call<RpcLog[]>("eth_getLogs", [
        {
          fromBlock: quantity(from),
          toBlock: quantity(to),
          address: this.#options.addresses,
          topics: [this.#options.topics],
        },
      ]);
      return logs
        .filter((log) => log.removed !== true)
        .sort((a, b) => Number(a.blockNumber) - Number(b.blockNumber) || Number(a.logIndex) - Number(b.logIndex));
    } catch (error) {
      if (!(error instanceof RpcError) || from === to) throw error;
      const middle = Math.floor((from + to) / 2);
      return [...(await this.#logs(from, middle)), ...(await this.#logs(middle + 1, to))];
    }
  }

  async #keepPosition(now: boolean): Promise<void> {
    if (this.#last < 0 || (!now && Date.now() - this.#positionAt < POSITION_EVERY_MS)) return;
    this.#positionAt = Date.now();
    await this.#events.position(this.#last, this.#seen.get(this.#last) ?? "0x");
  }
}
