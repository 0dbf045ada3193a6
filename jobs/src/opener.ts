import { explain } from "@bijuli/protocol";
import { Interface } from "ethers/abi";
import type { Logger } from "pino";
import { marketAbi } from "./chain/market.ts";
import { revertReason } from "./chain/revert.ts";
import { quantity, type RpcClient, RpcError } from "./chain/rpc.ts";
import type { Head, RpcReceipt } from "./chain/types.ts";
import type { Sent, TransactionManager } from "./delivery/transactions.ts";

interface Feeder {
  feeder: string;
  /** The last lot to be opened; undefined: no last one. */
  until: bigint | undefined;
  /** The lot that openLots takes next and the chain's second from which it does; undefined: to be asked. */
  next: { lot: bigint; notBefore: bigint } | undefined;
  opening: boolean;
  /** The lot that was opened last: more of its requests may be left to send. */
  unfinished: bigint | undefined;
  /** Real ms before which it is not tried again. */
  restsUntil: number;
  failures: number;
  problem: string | undefined;
  /** All lots up to `until` are opened. */
  done: boolean;
}

export interface OpenerOptions {
  rpc: RpcClient;
  transactions: TransactionManager;
  market: string;
  /** Feeders by id, or all that the market knows. */
  feeders: "all" | readonly { feeder: string; until?: string | undefined }[];
  maxGasLimit: bigint;
  retryMinMs: number;
  retryMaxMs: number;
  logger: Logger;
}

export const OPENING = "open";

const registryAbi = new Interface([
  "function registry() view returns (address)",
  "function lotSeconds() view returns (uint32)",
]);

/**
 * Opens lots when they are over by the chain's time. One opening of a feeder is under way at a time; what refuses one is
 * told in /health and tried again, and never holds up deliveries.
 */
export class Opener {
  readonly #options: OpenerOptions;
  readonly #feeders = new Map<string, Feeder>();
  #lotSeconds: bigint | undefined;
  #sender = "";
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: OpenerOptions) {
    this.#options = options;
    if (options.feeders !== "all")
      for (const { feeder, until } of options.feeders) this.#add(feeder.toLowerCase(), until);
  }

  start(): void {
    this.#sender = this.#options.transactions.addresses[0]!;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** A feeder that the market announced. */
  discovered(feeder: string): void {
    if (this.#options.feeders === "all") this.#add(feeder.toLowerCase(), undefined);
  }

  /** Someone opened lots of a feeder: what is next has changed. */
  opened(feeder: string): void {
    const known = this.#feeders.get(feeder.toLowerCase());
    if (known !== undefined) known.next = undefined;
  }

  /** What keeps lots from being opened, in words. */
  problems(): string[] {
    return [...this.#feeders.values()].flatMap(({ feeder, problem }) =>
      problem === undefined ? [] : [`lots of feeder ${feeder} are not opened: ${problem}`],
    );
  }

  describe(): Record<string, unknown>[] {
    return [...this.#feeders.values()].map(({ feeder, until, next, opening, done, problem }) => ({
      feeder,
      until: until?.toString(),
      nextLot: next?.lot.toString(),
      notBefore: next?.notBefore.toString(),
      opening,
      done,
      problem,
    }));
  }

  /** Opens what is over at this block. Does not wait: deliveries go first. */
  onHead(head: Head): void {
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#look(head)
      .catch((error: unknown) => this.#options.logger.warn({ cause: explain(error) }, "lots cannot be opened now"))
      .finally(() => {
        this.#running = undefined;
      });
  }

  async mined(sent: Sent, receipt: RpcReceipt): Promise<unknown> {
    const { feeder, lot } = sent.detail as { feeder: string; lot: string };
    const known = this.#feeders.get(feeder);
    const good = Number(receipt.status) === 1;
    if (known !== undefined) {
      known.opening = false;
      known.next = undefined;
      if (good) {
        known.unfinished = BigInt(lot);
        this.#well(known);
      } else this.#failed(known, `openLots up to ${lot} reverted`);
    }
    return { kind: good ? "opened" : "reverted", feeder, lot };
  }

  unmined(sent: Sent): void {
    const known = this.#feeders.get((sent.detail as { feeder: string }).feeder);
    if (known === undefined) return;
    known.opening = true;
    known.next = undefined;
    known.done = false;
  }

  lost(sent: Sent): void {
    const known = this.#feeders.get((sent.detail as { feeder: string }).feeder);
    if (known !== undefined) known.opening = false;
  }

  /** An opening of an earlier process is still on its way. */
  adopt(sent: { purpose: string; detail: unknown }): void {
    if (sent.purpose !== OPENING) return;
    const { feeder } = sent.detail as { feeder: string };
    this.#add(feeder, undefined);
    this.#feeders.get(feeder)!.opening = true;
  }

  #add(feeder: string, until: string | undefined): void {
    if (this.#feeders.has(feeder)) return;
    this.#feeders.set(feeder, {
      feeder,
      until: until === undefined ? undefined : BigInt(until),
      next: undefined,
      opening: false,
      unfinished: undefined,
      restsUntil: 0,
      failures: 0,
      problem: undefined,
      done: false,
    });
  }

  async #look(head: Head): Promise<void> {
    const now = Date.now();
    const due = [...this.#feeders.values()].filter(
      (feeder) =>
        !feeder.opening &&
        !feeder.done &&
        feeder.restsUntil <= now &&
        (feeder.next === undefined || feeder.next.notBefore <= head.timestamp),
    );
    await Promise.all(due.map((feeder) => this.#open(feeder, head)));
  }

  async #open(feeder: Feeder, head: Head): Promise<void> {
    try {
      if (feeder.unfinished !== undefined) {
        if (await this.#goOn(feeder, feeder.unfinished)) return;
        feeder.unfinished = undefined;
      }
      feeder.next ??= await this.#next(feeder);
      if (feeder.next === undefined) {
        feeder.done = true;
        this.#options.logger.info({ feeder: feeder.feeder, until: String(feeder.until) }, "all lots are opened");
        return;
      }
      const { lot, notBefore } = feeder.next;
      if (head.timestamp < notBefore || this.#stopped) return;
      await this.#send(feeder, lot);
      this.#options.logger.info({ feeder: feeder.feeder, lot: lot.toString() }, "opening lots");
    } catch (error) {
      feeder.opening = false;
      feeder.next = undefined;
      this.#failed(feeder, error instanceof RpcError ? revertReason(error) : explain(error));
    }
  }

  /** Asks the market whether it would take an opening, which throws its refusal, and sends it. */
  async #send(feeder: Feeder, lot: bigint): Promise<void> {
    // Not estimated: openLots sends as many requests as its gas allows, so that the least with which it succeeds is too little.
    const gasLimit = this.#options.maxGasLimit;
    const to = this.#options.market;
    const data = marketAbi.encodeFunctionData("openLots", [feeder.feeder, lot]);
    const call = { from: this.#sender, to, data, gas: quantity(gasLimit) };
    await this.#options.rpc.call<string>("eth_call", [call, "latest"]);
    feeder.opening = true;
    const detail = { feeder: feeder.feeder, lot: lot.toString() };
    await this.#options.transactions.send([
      { sender: this.#sender, purpose: OPENING, runId: undefined, to, data, gasLimit, detail },
    ]);
  }

  /** A large feeder's requests take several transactions: the same lot is opened until nothing is left to ask for. */
  async #goOn(feeder: Feeder, lot: bigint): Promise<boolean> {
    try {
      await this.#send(feeder, lot);
      return true;
    } catch (error) {
      if (error instanceof RpcError && error.revertData !== undefined) return false;
      throw error;
    }
  }

  /**
   * The next opening. With a last lot, the opening after which fewer than lotsPerClearing lots would be left waits and
   * takes those too.
   */
  async #next(feeder: Feeder): Promise<{ lot: bigint; notBefore: bigint } | undefined> {
    const [opening, perClearing, lotSeconds] = await Promise.all([
      this.#call("nextOpening", [feeder.feeder]),
      this.#call("lotsPerClearing", [feeder.feeder]),
      this.#secondsOfLot(),
    ]);
    const [lot, notBefore] = [BigInt(opening[0] as bigint), BigInt(opening[1] as bigint)];
    const { until } = feeder;
    if (until === undefined) return { lot, notBefore };
    if (lot > until) return undefined;
    const left = until - lot;
    return left > 0n && left < BigInt(perClearing[0] as bigint)
      ? { lot: until, notBefore: notBefore + left * lotSeconds }
      : { lot, notBefore };
  }

  /** A lot's length stands in the registry, which the market names. */
  async #secondsOfLot(): Promise<bigint> {
    if (this.#lotSeconds === undefined) {
      const [registry] = await this.#call("registry", [], registryAbi);
      const [seconds] = await this.#call("lotSeconds", [], registryAbi, String(registry));
      this.#lotSeconds = BigInt(seconds as bigint);
    }
    return this.#lotSeconds;
  }

  async #call(
    name: string,
    values: readonly unknown[],
    abi = marketAbi,
    to = this.#options.market,
  ): Promise<unknown[]> {
    const data = abi.encodeFunctionData(name, values);
    const answer = await this.#options.rpc.call<string>("eth_call", [{ to, data }, "latest"]);
    return [...abi.decodeFunctionResult(name, answer)];
  }

  #well(feeder: Feeder): void {
    if (feeder.problem !== undefined) this.#options.logger.info({ feeder: feeder.feeder }, "lots are opened again");
    feeder.failures = 0;
    feeder.problem = undefined;
  }

  #failed(feeder: Feeder, problem: string): void {
    feeder.failures++;
    const wait = Math.min(this.#options.retryMinMs * 2 ** Math.min(feeder.failures - 1, 30), this.#options.retryMaxMs);
    feeder.restsUntil = Date.now() + wait;
    if (feeder.problem !== problem) {
      this.#options.logger.warn({ feeder: feeder.feeder, cause: problem }, "lots cannot be opened");
    }
    feeder.problem = problem;
  }
}
