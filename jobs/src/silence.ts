import { BijuliError, explain, type Hex } from "@bijuli/protocol";
import type { Logger } from "pino";
import { topicOf } from "./chain/abi.ts";
import { marketAbi, marketTopic, repeatCall, stageRequested } from "./chain/market.ts";
import { revertReason } from "./chain/revert.ts";
import { quantity, type RpcClient, RpcError } from "./chain/rpc.ts";
import type { Head, RpcLog, RpcReceipt } from "./chain/types.ts";
import type { Sent, TransactionManager } from "./delivery/transactions.ts";
import type { Job } from "./spec/job.ts";
import type { StageReference } from "./state/run.ts";

/** Who pays for what a silent operator leaves undone. */
export type SilenceMode =
  /** Its request is repeated with the feeder's next operator, as long as the feeder pays for that. */
  | "feeder"
  /** The same, and when the feeder's free repeats are used up, this node's key pays the LINK. */
  | "node"
  /** This node fetches the records itself and submits them: it pays the gas, nobody any LINK. */
  | "submit";

export interface SilenceOptions {
  rpc: RpcClient;
  transactions: TransactionManager;
  /** Lower case. */
  market: string;
  mode: SilenceMode;
  /** Real ms after a request before anything is done, whatever the chain's time says. */
  patienceMs: number;
  maxGasLimit: bigint;
  retryMinMs: number;
  retryMaxMs: number;
  /** The job that fetches records for a submission. */
  job: Job | undefined;
  /** Makes a run of a request that was addressed to another node, to be submitted. */
  takeOver(log: RpcLog, job: Job, stage: StageReference): Promise<void>;
  logger: Logger;
}

interface Asked {
  readonly stage: StageReference;
  /** Where it was asked last. */
  log: RpcLog;
  /** Real ms before which it is left alone. */
  restsUntil: number;
  /** The chain's second from which it may be repeated; undefined: to be asked. */
  notBefore: bigint | undefined;
  failures: number;
  /** A transaction about it is on its way. */
  sent: boolean;
  problem: string | undefined;
}

export const REPEAT = "repeat";

/** How many are looked at with one block. */
const AT_ONCE = 50;

/** Nobody's address: it has no LINK, so that what succeeds from it is paid by the feeder. */
const NOBODY = "0x000000000000000000000000000000000000dEaD";
/** The market says so when a page is done, or gone. */
const DONE = new Set(["NothingToRequest", "UnknownClearing", "WrongStage"]);

/**
 * Watches the requests that the market made, of whichever operator, and heals those that nobody serves: once the market allows
 * it (`repeatSeconds` after a request, by the chain's time) it repeats the request or submits the records itself. The market is
 * asked first, by a call that costs nothing: it knows what is done and what is due.
 */
export class Silence {
  readonly #options: SilenceOptions;
  readonly #asked = new Map<string, Asked>();
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** The logs that tell what was asked. */
  get filter(): { address: string; topics: string[] } {
    return { address: this.#options.market, topics: [marketTopic.stageRequested] };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** A StageRequested log. */
  requested(log: RpcLog): void {
    const { stage } = stageRequested(log);
    const key = keyOf(stage);
    const known = this.#asked.get(key);
    const restsUntil = Date.now() + this.#options.patienceMs;
    if (known === undefined) {
      this.#asked.set(key, {
        stage,
        log,
        restsUntil,
        notBefore: undefined,
        failures: 0,
        sent: false,
        problem: undefined,
      });
    } else if (known.log.transactionHash !== log.transactionHash || known.log.blockHash !== log.blockHash) {
      Object.assign(known, { log, restsUntil, notBefore: undefined, sent: false });
    }
  }

  /** A stage was delivered by this node. */
  served(stage: StageReference): void {
    this.#asked.delete(keyOf(stage));
  }

  problems(): string[] {
    return [...this.#asked.values()].flatMap(({ stage, problem }) =>
      problem === undefined ? [] : [`${nameOf(stage)} is not served and not healed: ${problem}`],
    );
  }

  describe(): Record<string, unknown>[] {
    return [...this.#asked.values()]
      .filter(({ notBefore, problem }) => notBefore !== undefined || problem !== undefined)
      .slice(0, 50)
      .map(({ stage, notBefore, sent, problem }) => ({
        feeder: stage.feeder,
        lot: stage.lot,
        stage: stage.stage,
        first: stage.first,
        notBefore: notBefore?.toString(),
        sent,
        problem,
      }));
  }

  /** Looks what is due. Does not wait: deliveries go first. */
  onHead(head: Head): void {
    if (this.#running !== undefined || this.#stopped) return;
    const now = Date.now();
    const due = [...this.#asked.values()].filter(
      ({ sent, restsUntil, notBefore }) =>
        !sent && restsUntil <= now && (notBefore === undefined || notBefore <= head.timestamp),
    );
    if (due.length === 0) return;
    this.#running = Promise.all(due.slice(0, AT_ONCE).map((asked) => this.#heal(asked)))
      .then(() => {})
      .finally(() => {
        this.#running = undefined;
      });
  }

  mined(sent: Sent, receipt: RpcReceipt): unknown {
    const asked = this.#asked.get(keyOf(sent.detail as StageReference));
    const good = Number(receipt.status) === 1;
    if (asked !== undefined && !good) this.#failed(asked, "the repeated request reverted");
    return { kind: good ? "repeated" : "reverted", ...(sent.detail as StageReference) };
  }

  unmined(sent: Sent): void {
    const asked = this.#asked.get(keyOf(sent.detail as StageReference));
    if (asked !== undefined) asked.sent = true;
  }

  lost(sent: Sent): void {
    const asked = this.#asked.get(keyOf(sent.detail as StageReference));
    if (asked !== undefined) asked.sent = false;
  }

  /** A repeated request of an earlier process is still on its way. */
  adopt(sent: { purpose: string; detail: unknown }): void {
    if (sent.purpose !== REPEAT) return;
    const asked = this.#asked.get(keyOf(sent.detail as StageReference));
    if (asked !== undefined) asked.sent = true;
  }

  async #heal(asked: Asked): Promise<void> {
    const { stage } = asked;
    const { mode, transactions, logger } = this.#options;
    const sender = transactions.addresses[0]!;
    const refusal = await this.#refusal(asked, NOBODY);
    if (refusal !== undefined && (DONE.has(refusal.name) || refusal.name === "RepeatTooEarly")) {
      if (refusal.name === "RepeatTooEarly") asked.notBefore = refusal.notBefore;
      else this.#asked.delete(keyOf(stage));
      return;
    }
    try {
      if (mode === "submit") {
        await this.#takeOver(asked);
        asked.sent = true;
      } else {
        const own = refusal !== undefined && mode === "node" ? await this.#refusal(asked, sender) : refusal;
        if (own !== undefined) throw new BijuliError("refused", own.reason);
        const { to, data } = repeatCall(stage);
        asked.sent = true;
        const gasLimit = this.#options.maxGasLimit;
        await transactions.send([
          { sender, purpose: REPEAT, runId: undefined, to, data, gasLimit, detail: { ...stage } },
        ]);
      }
      asked.problem = undefined;
      logger.warn(
        { feeder: stage.feeder, lot: stage.lot, stage: stage.stage, mode },
        "nobody served a request: healing",
      );
    } catch (error) {
      asked.sent = false;
      this.#failed(asked, explain(error));
    }
  }

  /** Why the market would refuse a repeated request from an address; undefined: it would not. */
  async #refusal(
    asked: Asked,
    from: string,
  ): Promise<{ name: string; reason: string; notBefore: bigint | undefined } | undefined> {
    const { to, data } = repeatCall(asked.stage);
    const gas = quantity(this.#options.maxGasLimit);
    try {
      await this.#options.rpc.call("eth_call", [{ from, to, data, gas }, "latest"]);
      return undefined;
    } catch (error) {
      const revertData: Hex | undefined = error instanceof RpcError ? error.revertData : undefined;
      if (revertData === undefined) return { name: "", reason: explain(error), notBefore: undefined };
      const known = revertData.length >= 10 ? marketAbi.parseError(revertData) : null;
      const notBefore = known?.name === "RepeatTooEarly" ? BigInt(known.args[2]) : undefined;
      return { name: known?.name ?? "", reason: revertReason(error as RpcError), notBefore };
    }
  }

  /** The request that was made of another operator, as a run of the job that this node has for such. */
  async #takeOver({ stage, log }: Asked): Promise<void> {
    const { job, rpc } = this.#options;
    if (job === undefined) throw new BijuliError("bad-settings", "HEAL_JOB names no job that could fetch its records");
    const receipt = await rpc.call<RpcReceipt | null>("eth_getTransactionReceipt", [log.transactionHash]);
    const { requestId } = stageRequested(log);
    const request = receipt?.logs.find(
      (one) => one.topics[0] === topicOf.oracleRequest && one.data.includes(requestId.slice(2)),
    );
    if (request === undefined) throw new BijuliError("rpc", "its OracleRequest is not in its transaction");
    await this.#options.takeOver(request, job, { ...stage, submit: true });
  }

  #failed(asked: Asked, problem: string): void {
    asked.failures++;
    asked.sent = false;
    const { retryMinMs, retryMaxMs, logger } = this.#options;
    asked.restsUntil = Date.now() + Math.min(retryMinMs * 2 ** Math.min(asked.failures - 1, 30), retryMaxMs);
    if (asked.problem !== problem) logger.warn({ ...asked.stage, cause: problem }, "a silent operator is not healed");
    asked.problem = problem;
  }
}

function keyOf({ feeder, lot, stage, first }: StageReference): string {
  return `${feeder.toLowerCase()} ${lot} ${stage} ${first}`;
}

function nameOf({ feeder, lot, stage, first }: StageReference): string {
  return `stage ${stage} (from ${first}) of lot ${lot} of feeder ${feeder}`;
}
