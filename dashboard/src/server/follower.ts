import { setTimeout as sleep } from "node:timers/promises";
import { EnergyMarketAbi } from "@bijuli/contracts/abi";
import { BijuliError, explain, type Hex } from "@bijuli/protocol";
import { Interface } from "ethers";
import type { Logger } from "pino";
import { LogSpan } from "../evidence/log-span.ts";
import { Breather } from "./breather.ts";
import type { Projection } from "./projection.ts";
import type { Rpc } from "./rpc.ts";
import type { Store, StoredLog } from "./store.ts";

export interface FollowerOptions {
  rpc: Rpc;
  store: Store;
  projection: Projection;
  chainId: bigint;
  /** Market and registry. */
  addresses: readonly Hex[];
  startBlock: number;
  reorgDepth: number;
  logRange: number;
  pollMs: number;
  log: Logger;
  /** Told after every change, with the feeders that changed. */
  onChange: (feeders: ReadonlySet<Hex>) => void;
}

interface RpcLog {
  address: Hex;
  topics: Hex[];
  data: Hex;
  blockNumber: Hex;
  blockHash: Hex;
  blockTimestamp?: Hex;
  transactionHash: Hex;
  logIndex: Hex;
}

interface Header {
  number: Hex;
  hash: Hex;
  timestamp: Hex;
}

const market = new Interface(EnergyMarketAbi);
const CARRIES_RECORDS = new Set(
  ["PlantCleared", "DistributorCleared", "ConsumerCleared"].map((name) => market.getEvent(name)!.topicHash as Hex),
);

/** A node among several may lag behind what another one told: so long it is waited for. */
const LAG_MS = 15_000;

const hex = (value: number): Hex => `0x${value.toString(16)}`;

/** Brings the chain's events into the store, block range by block range, and takes back what a reorg takes back. */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #replayed = false;
  #replayMs = 0;
  /** Since when the chain has been shorter than what was followed. */
  #behindSince: number | undefined;
  /** The chain's newest block. */
  head: { number: number; time: number } | undefined;
  /** The newest block whose events are in the store. */
  followed = -1;
  reorgs = 0;
  logs = 0;
  failure: unknown;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.followed = options.store.position()?.block ?? options.startBlock - 1;
  }

  /** True once all events up to the head's block have been taken in. */
  get caughtUp(): boolean {
    return this.head !== undefined && this.failure === undefined && this.followed >= this.head.number - 2;
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, pollMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.step();
        this.failure = undefined;
      } catch (error) {
        if (signal.aborted) return;
        if (this.failure === undefined || explain(this.failure) !== explain(error))
          log.warn({ err: error }, explain(error));
        this.failure = error;
      }
      // Where what was taken in could not be written, the ledger is made again first: not all the time.
      const again = this.#replayed ? 0 : 4 * this.#replayMs;
      const wait = this.failure === undefined ? pollMs : Math.max(pollMs, 1_000, again);
      await sleep(wait, undefined, { signal }).catch(() => {});
    }
  }

  /** Up to the head that stands now. */
  async step(): Promise<void> {
    const { rpc, store, logRange, startBlock, reorgDepth, chainId } = this.#options;
    await this.#replay();
    // One of several endpoints may be set to another chain: nothing of that goes in.
    const [told, served] = await rpc.batch<unknown>([
      { method: "eth_getBlockByNumber", params: ["latest", false] },
      { method: "eth_chainId", params: [] },
    ]);
    if (BigInt(served as Hex) !== chainId)
      throw new BijuliError(
        "wrong-chain",
        `an endpoint of RPC_URL serves chain ${BigInt(served as Hex)}, not ${chainId}`,
      );
    const head = told as Header;
    this.head = { number: Number(head.number), time: Number(head.timestamp) };
    await this.#checkReorg();
    await this.#replay();
    const span = new LogSpan(logRange);
    for (let from = (store.position()?.block ?? startBlock - 1) + 1; from <= this.head.number; ) {
      if (this.#stop.signal.aborted) return;
      // A range is final as a whole or not at all: what is not ends at a place to which all can be taken back.
      const final = this.head.number - reorgDepth;
      const to = span.end(from, from <= final ? final : this.head.number);
      try {
        if (!(await this.#range(from, to, final))) return;
      } catch (error) {
        const refused = error instanceof BijuliError && error.code === "rpc-failed";
        if (refused && span.shorter(from, to)) continue;
        throw error;
      }
      from = to + 1;
    }
  }

  /** The ledger as the store has it, where it is not known to be that. */
  async #replay(): Promise<void> {
    if (this.#replayed) return;
    const began = performance.now();
    const logs = await this.#options.projection.replay();
    this.#replayMs = performance.now() - began;
    const seconds = Math.round(this.#replayMs) / 1000;
    if (logs > 0) this.#options.log.info({ logs, seconds }, "the ledger was rebuilt from the store");
    this.#replayed = true;
  }

  /** Goes back to the newest block that the chain still has. */
  async #checkReorg(): Promise<void> {
    const { rpc, store, startBlock, reorgDepth, log } = this.#options;
    const position = store.position();
    const there = position && (await this.#hashOf(position.block));
    if (position === undefined || there === position.hash) {
      this.#behindSince = undefined;
      return;
    }
    const known = store.checkpoints();
    const hashes = await rpc.batch<Header | null>(
      known.map(({ block }) => ({ method: "eth_getBlockByNumber", params: [hex(block), false] })),
    );
    // A chain that ends earlier and says nothing else may be a node that is behind: its word takes nothing back yet.
    const told = hashes.findIndex((header) => Boolean(header));
    if (there === undefined && (told < 0 || hashes[told]?.hash === known[told]?.hash)) {
      this.#behindSince ??= performance.now();
      if (performance.now() - this.#behindSince < LAG_MS) return;
    }
    this.#behindSince = undefined;
    const beginning = store.settled ? undefined : { block: startBlock - 1 };
    const fork = known.find(({ hash }, i) => hashes[i]?.hash === hash) ?? beginning;
    if (fork === undefined) {
      throw new BijuliError("deep-reorg", `the chain has changed more than ${reorgDepth} blocks deep`, {
        remedy: "remove DATA_DIR: all of it is read from the chain again; set REORG_DEPTH higher",
      });
    }
    log.warn({ from: position.block, to: fork.block }, "reorg: blocks were taken back");
    this.reorgs++;
    // A replay that fails half-way is made again before anything goes into the ledger.
    this.#replayed = false;
    store.rollBack(fork.block);
    this.followed = Math.max(fork.block, startBlock - 1);
  }

  async #hashOf(block: number): Promise<string | undefined> {
    return (await this.#options.rpc.call<Header | null>("eth_getBlockByNumber", [hex(block), false]))?.hash;
  }

  /** @returns whether the range was taken in; not when the chain went another way meanwhile */
  async #range(from: number, to: number, final: number): Promise<boolean> {
    const { rpc, store, projection, addresses } = this.#options;
    const range = { address: addresses, fromBlock: hex(from), toBlock: hex(to) };
    // Asked together, they are answered by one node: one that is behind says so, instead of giving the logs that it has.
    const [last, found] = await rpc.batch<unknown>([
      { method: "eth_getBlockByNumber", params: [hex(to), false] },
      { method: "eth_getLogs", params: [range] },
    ]);
    const end = (last as Header | null)?.hash;
    const logs = await this.#described(found as RpcLog[]);
    const inputs = await this.#inputs(logs);
    // The same last block before and after, and what came before it still there: all of it is of one branch.
    const before = store.position();
    if (end === undefined || (await this.#hashOf(to)) !== end) return false;
    if (before !== undefined && (await this.#hashOf(before.block)) !== before.hash) return false;
    const changed = new Set<Hex>();
    const { database } = store;
    // One transaction a range: after a crash the store stands at a range's end.
    database.exec("begin immediate");
    try {
      store.noteChanges(undefined);
      let noted: number | undefined;
      const breather = new Breather();
      for (const [tx, { block, input }] of inputs)
        store.run("insert or ignore into input values (?, ?, ?)", tx, block, input);
      for (const log of logs) {
        const note = log.block > final ? log.block : undefined;
        if (note !== noted) {
          store.noteChanges(note);
          noted = note;
        }
        store.addLog(log);
        const feeder = await projection.take(log);
        if (feeder !== undefined) changed.add(feeder);
        await breather.breathe();
      }
      store.noteChanges(undefined);
      store.run("insert or replace into checkpoint values (?, ?)", to, end);
      store.settle(final);
      database.exec("commit");
    } catch (error) {
      this.#replayed = false;
      store.abandon();
      throw error;
    }
    this.followed = to;
    this.logs += logs.length;
    if (logs.length > 0) this.#options.onChange(changed);
    return true;
  }

  async #described(logs: RpcLog[]): Promise<StoredLog[]> {
    const untimed = [...new Set(logs.filter((log) => log.blockTimestamp === undefined).map((log) => log.blockHash))];
    const headers = await this.#options.rpc.batch<Header>(
      untimed.map((hash) => ({ method: "eth_getBlockByHash", params: [hash, false] })),
    );
    const times = new Map(headers.map((header) => [header.hash, Number(header.timestamp)]));
    return logs
      .map((log) => ({
        block: Number(log.blockNumber),
        index: Number(log.logIndex),
        time: log.blockTimestamp === undefined ? times.get(log.blockHash)! : Number(log.blockTimestamp),
        address: log.address,
        topics: log.topics,
        data: log.data,
        tx: log.transactionHash,
      }))
      .sort((a, b) => a.block - b.block || a.index - b.index);
  }

  /** The inputs of transactions that carried records: they hold what was signed. */
  async #inputs(logs: readonly StoredLog[]): Promise<Map<Hex, { block: number; input: Hex }>> {
    const wanted = new Map<Hex, number>();
    for (const { topics, tx, block } of logs) if (CARRIES_RECORDS.has(topics[0]!)) wanted.set(tx, block);
    const hashes = [...wanted.keys()];
    const found = await this.#options.rpc.batch<{ input: Hex } | null>(
      hashes.map((hash) => ({ method: "eth_getTransactionByHash", params: [hash] })),
    );
    return new Map(
      hashes.map((hash, i) => {
        const input = found[i]?.input;
        if (input === undefined)
          throw new BijuliError("rpc-failed", `the RPC knows a log of transaction ${hash}, but not the transaction`);
        return [hash, { block: wanted.get(hash)!, input }] as const;
      }),
    );
  }
}
