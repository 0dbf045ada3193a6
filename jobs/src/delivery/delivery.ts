import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { Deferral } from "../chain/market.ts";
import { revertReason } from "../chain/revert.ts";
import { quantity, type RpcClient, RpcError } from "../chain/rpc.ts";
import type { Head, RpcReceipt } from "../chain/types.ts";
import type { Job } from "../spec/job.ts";
import { type BuiltCall, FINISHED, type Run } from "../state/run.ts";
import type { RunChange, RunStore } from "../state/run-store.ts";
import { gasLimitOf } from "./callback.ts";
import { Dispatch } from "./dispatch.ts";
import { FOREIGN, foreignOutcome } from "./foreign.ts";
import type { Call } from "./forwarder.ts";
import { type Entry, Lines } from "./line.ts";
import { fulfilmentOutcome, type Outcome, recordsOf, submissionOutcome } from "./outcome.ts";
import type { Outgoing, Sent, TransactionManager } from "./transactions.ts";

/** A submission whose turn does not come costs gas each time. */
const LONGEST_WAIT_MS = 600_000;

export interface DeliveryOptions {
  store: RunStore;
  transactions: TransactionManager;
  rpc: RpcClient;
  jobs: ReadonlyMap<string, Job>;
  defaultGasLimit: bigint;
  /** The most that a transaction is ever given: a deferral for want of gas raises it up to here. */
  maxGasLimit: bigint;
  maxInFlight: number;
  /** Blocks that hold a delivery before its run is at an end, where the spec says nothing; and the most that it may say. */
  confirmations: { otherwise: number; most: number };
  /** Wraps a call for a forwarder, or leaves it as it is. */
  forward: (call: Call) => Call;
  retryMinMs: number;
  retryMaxMs: number;
  /** Has a run's pipeline run again. */
  rerun: (run: Run, delayMs: number) => Promise<void>;
  /** Told when a run has come to an end; `block`: the delivery's. */
  finished: (run: Run, outcome: string, block?: number) => void;
  logger: Logger;
}

/**
 * Ordered delivery: what becomes of a run from its request to its end, each in its group's line (see line.ts for who may go).
 * The successors of a run that ended in whatever way go on. A repeated request stands in its predecessor's place.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #lines: Lines;
  readonly #dispatch: Dispatch;
  /** Runs that wait for confirmations of their request, and those that wait for some of their delivery. */
  readonly #unconfirmed = new Set<Entry>();
  readonly #maturing = new Set<Entry>();

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#lines = new Lines(options.jobs);
    this.#dispatch = new Dispatch({
      lines: this.#lines,
      transactions: options.transactions,
      maxInFlight: options.maxInFlight,
      restMs: options.retryMaxMs,
      defaultGasLimit: options.defaultGasLimit,
      forward: options.forward,
      rehearse: (entry, outgoing) => this.#rehearse(entry, outgoing),
      impossible: (entry, cause) => this.#finish(entry, "quarantined", cause),
      logger: options.logger,
    });
  }

  start(): void {
    this.#dispatch.start();
  }

  stop(): Promise<void> {
    return this.#dispatch.stop();
  }

  /** How many runs are not at an end. */
  get size(): number {
    return this.#lines.size;
  }

  /** Puts runs into their lines. `rehearse`: their first transaction is tried as a call. */
  add(runs: readonly Run[], rehearse = false): void {
    for (const run of runs) {
      const entry = this.#lines.add(run);
      if (entry === undefined) continue;
      entry.rehearse ||= rehearse;
      if (run.state === "unconfirmed") this.#unconfirmed.add(entry);
      this.#dispatch.touch(entry.line);
    }
  }

  /** A transaction of an earlier process is still on its way: its group stays with that key. */
  adopt(sent: { runId: string | undefined; sender: string }): void {
    const entry = sent.runId === undefined ? undefined : this.#lines.get(sent.runId);
    if (entry !== undefined) entry.line.sender = sent.sender;
  }

  /** Another process changed the run: its pipeline is done or failed. */
  async refresh(stored: Run): Promise<void> {
    const entry = this.#lines.get(stored.id);
    if (entry === undefined) {
      this.add([stored]);
      return;
    }
    const { run } = entry;
    if (run.state !== "pending") return;
    run.cause = stored.cause;
    run.attempts = stored.attempts;
    run.failingSince = stored.failingSince;
    run.call = stored.call;
    if (FINISHED.includes(stored.state)) await this.#finish(entry, stored.state, stored.cause ?? null);
    else if (stored.state === "ready") run.state = "ready";
    this.#dispatch.touch(entry.line);
  }

  /** The run as it stands here. */
  get(id: string): Run | undefined {
    return this.#lines.get(id)?.run;
  }

  /** A pipeline built the run's callback. */
  async ready(id: string, call: BuiltCall, tasks: unknown): Promise<void> {
    const entry = this.#lines.get(id);
    if (entry === undefined || entry.run.state !== "pending") return;
    const change: RunChange = { id, state: "ready", call, tasks, attempted: true };
    if ((await this.#options.store.change([change], "pending")).size === 0) return;
    entry.run.state = "ready";
    entry.run.call = call;
    this.#dispatch.touch(entry.line);
  }

  /** A run's attempt failed: what is written down is shown to the operator. */
  async failing(id: string, cause: string, tasks?: unknown, attempted = true): Promise<void> {
    const entry = this.#lines.get(id);
    if (entry === undefined) return;
    entry.run.cause = cause;
    entry.run.failingSince ??= Date.now();
    if (attempted) entry.run.attempts++;
    await this.#options.store.change([
      { id, cause, failingSince: entry.run.failingSince, attempted, ...(tasks === undefined ? {} : { tasks }) },
    ]);
    this.#dispatch.touch(entry.line);
  }

  /** Takes a run out of its line: it was cancelled, orphaned, or has to be given up. */
  async end(id: string, state: Run["state"], cause: string): Promise<void> {
    const entry = this.#lines.get(id);
    if (entry !== undefined) await this.#finish(entry, state, cause);
  }

  /**
   * A new block. Runs whose request it confirms may begin; those whose delivery is deep enough are at an end.
   * @param wanted blocks that hold a request of the job before it runs: its own is the first
   * @returns the runs that may begin
   */
  async onHead(head: Head, wanted: (job: Job) => number): Promise<Run[]> {
    const ripe = [...this.#maturing].filter(
      (entry) => head.number - entry.maturing!.block + 1 >= this.#confirmationsOf(entry),
    );
    await Promise.all(
      ripe.map((entry) => this.#finish(entry, "delivered", entry.maturing!.note ?? null, entry.maturing!.block)),
    );
    const confirmed = [...this.#unconfirmed].filter(
      ({ run, line }) => head.number - run.blockNumber + 1 >= wanted(line.job),
    );
    if (confirmed.length === 0) return [];
    const changes = confirmed.map(({ run }) => ({ id: run.id, state: "pending" as const }));
    await this.#options.store.change(changes, "unconfirmed");
    const runs: Run[] = [];
    for (const entry of confirmed) {
      this.#unconfirmed.delete(entry);
      if (entry.run.state !== "unconfirmed") continue;
      entry.run.state = "pending";
      runs.push(entry.run);
    }
    return runs;
  }

  /** All runs that wait for their pipeline. */
  pending(): Run[] {
    return this.all().filter(({ state }) => state === "pending");
  }

  all(): Run[] {
    return [...this.#lines.entries()].map(({ run }) => run);
  }

  /** Reads what a mined transaction did. */
  async mined(sent: Sent, receipt: RpcReceipt): Promise<Outcome | undefined> {
    const run = sent.runId === undefined ? undefined : await this.#known(sent.runId);
    if (run === undefined) return undefined;
    const call = sent.detail as { callback?: string } | null;
    const outcome =
      sent.purpose === "submit"
        ? submissionOutcome(run, receipt)
        : fulfilmentOutcome(run, call?.callback ?? "", receipt);
    const entry = this.#lines.get(run.id);
    if (entry === undefined || entry.run.state !== "sent") return outcome;
    await this.#settle(entry, outcome, sent, Number(receipt.blockNumber));
    return outcome;
  }

  /** Whether a mined transaction's run waits for more blocks on top of it. */
  awaits(sent: Sent): boolean {
    return sent.runId !== undefined && this.#lines.get(sent.runId)?.run.state === "sent";
  }

  /** A reorg took its transaction back; the transaction itself is sent again by the manager. */
  async unmined(sent: Sent): Promise<void> {
    const run = sent.runId === undefined ? undefined : await this.#known(sent.runId);
    if (run === undefined || run.state === "orphaned") return;
    await this.#options.store.change([{ id: run.id, state: "sent", cause: "a reorg took its transaction back" }]);
    const entry = this.#lines.get(run.id);
    if (entry === undefined) this.add([{ ...run, state: "sent" }]);
    else {
      entry.run.state = "sent";
      entry.maturing = undefined;
      this.#maturing.delete(entry);
    }
  }

  /** Whether the request that a transaction serves is gone. */
  async stale(sent: Sent): Promise<boolean> {
    if (sent.runId === undefined) return false;
    const run = await this.#known(sent.runId);
    return run !== undefined && run.state !== "sent";
  }

  /** Looks again at requests that others fulfilled: a reorg may have taken that back. */
  async recheckForeign(runs: readonly Run[]): Promise<void> {
    for (const run of runs) {
      if ((await foreignOutcome(this.#options.rpc, run))?.kind === "delivered") continue;
      const cause = "a reorg took the foreign transaction back that had delivered it";
      const state = run.call === undefined ? "pending" : "ready";
      await this.#options.store.change([{ id: run.id, state, cause }]);
      this.add([{ ...run, state, cause }]);
      if (state === "pending") await this.#options.rerun({ ...run, state }, 0);
    }
  }

  /** Its transaction can never be mined: it is built anew. */
  async lost(sent: Sent): Promise<void> {
    const entry = sent.runId === undefined ? undefined : this.#lines.get(sent.runId);
    if (entry === undefined || entry.run.state !== "sent") return;
    entry.run.state = "ready";
    entry.rehearse = true;
    await this.#options.store.change([
      { id: entry.run.id, state: "ready", cause: "its nonce was used by a foreign transaction" },
    ]);
    this.#dispatch.touch(entry.line);
  }

  async #known(id: string): Promise<Run | undefined> {
    return this.#lines.get(id)?.run ?? (await this.#options.store.get(id));
  }

  /** As Chainlink's minConfirmations: the block that holds the delivery is the first. */
  #confirmationsOf({ run }: Entry): number {
    const { otherwise, most } = this.#options.confirmations;
    return Math.min(run.call?.minConfirmations ?? otherwise, most);
  }

  async #settle(entry: Entry, outcome: Outcome, sent: Sent, block: number): Promise<void> {
    const { run } = entry;
    if (outcome.kind === "delivered") {
      if (this.#confirmationsOf(entry) <= 1) {
        await this.#finish(entry, "delivered", outcome.note ?? null, block);
        return;
      }
      entry.maturing = { block, note: outcome.note };
      this.#maturing.add(entry);
      run.cause = `delivered in block ${block}: waits for ${this.#confirmationsOf(entry)} confirmations`;
      await this.#options.store.change([{ id: run.id, cause: run.cause }]);
      return;
    }
    const { note } = outcome;
    this.#options.logger.warn(
      { run: run.id, request: run.requestId, group: run.group, purpose: sent.purpose, outcome: outcome.kind },
      note,
    );
    entry.failures++;
    run.cause = note;
    run.failingSince ??= Date.now();
    if (outcome.kind === "reverted") {
      // As in Chainlink, which looks at the receipt only when it waits for it.
      if (run.call?.failOnRevert && this.#confirmationsOf(entry) > 0) {
        await this.#finish(entry, "abandoned", `${note}, and the spec says failOnRevert`);
        return;
      }
      entry.rehearse = true;
      run.state = "ready";
      await this.#options.store.change([
        { id: run.id, state: "ready", cause: note, failingSince: run.failingSince, attempted: true },
      ]);
      this.#dispatch.touch(entry.line);
      return;
    }
    await this.#spent(entry, outcome.kind === "deferred" ? outcome.reason : Deferral.OutOfGas, note);
  }

  /** The request is spent. Records that are known can still be submitted to the market; nothing else can be done. */
  async #spent(entry: Entry, reason: number, note: string): Promise<void> {
    const { run } = entry;
    const records = run.call === undefined ? undefined : recordsOf(run.call.data);
    if (run.stage === undefined || records === undefined) {
      await this.#finish(entry, "callback-failed", note);
      return;
    }
    run.stage = { ...run.stage, submit: true };
    if (reason === Deferral.OutOfGas) entry.gasLimit = this.#moreGas(entry);
    const fresh = reason === Deferral.ReadingMissing;
    entry.notBefore = Date.now() + this.#waitAfter(reason, entry.failures);
    run.state = fresh ? "pending" : "ready";
    if (fresh) run.call = undefined;
    await this.#options.store.change([
      {
        id: run.id,
        state: run.state,
        cause: note,
        stage: run.stage,
        failingSince: run.failingSince!,
        attempted: true,
        ...(fresh ? { call: null } : {}),
      },
    ]);
    if (fresh) await this.#options.rerun(run, this.#backoff(entry.failures));
    this.#dispatch.touch(entry.line);
  }

  /** Ms before a deferred delivery is submitted: at once in its turn, but ever later when the turn does not come. */
  #waitAfter(reason: number, failures: number): number {
    if (reason !== Deferral.OutOfTurn) return this.#backoff(failures);
    return failures < 3 ? 0 : Math.min(this.#options.retryMinMs * 2 ** Math.min(failures, 30), LONGEST_WAIT_MS);
  }

  #moreGas(entry: Entry): bigint {
    const doubled = 2n * gasLimitOf(entry, this.#options.defaultGasLimit);
    return doubled < this.#options.maxGasLimit ? doubled : this.#options.maxGasLimit;
  }

  #backoff(failures: number): number {
    return Math.min(this.#options.retryMinMs * 2 ** Math.min(failures - 1, 30), this.#options.retryMaxMs);
  }

  async #finish(entry: Entry, state: Run["state"], cause: string | null, block?: number): Promise<void> {
    const { run, line } = entry;
    run.state = state;
    if (state !== "delivered" && cause !== null) run.cause = cause;
    this.#unconfirmed.delete(entry);
    this.#maturing.delete(entry);
    this.#lines.remove(entry);
    if (line.entries.length > 0) this.#dispatch.touch(line);
    await this.#options.store.change([{ id: run.id, state, cause, failingSince: null }]);
    this.#options.finished(run, state, block);
  }

  /** Tries a transaction as a call before it is paid for (once more). */
  async #rehearse(entry: Entry, outgoing: Outgoing): Promise<void> {
    const { run } = entry;
    try {
      await this.#options.rpc.call("eth_call", [
        { from: outgoing.sender, to: outgoing.to, data: outgoing.data, gas: quantity(outgoing.gasLimit) },
        "latest",
      ]);
      entry.rehearse = false;
    } catch (error) {
      const reason = error instanceof RpcError ? revertReason(error) : explain(error);
      entry.failures++;
      entry.notBefore = Date.now() + this.#backoff(entry.failures);
      const spent = outgoing.purpose === "fulfil" && /valid requestId|do not match request ID/i.test(reason);
      const foreign = spent ? await foreignOutcome(this.#options.rpc, run) : undefined;
      if (foreign?.kind === "delivered") {
        await this.#finish(entry, "delivered", FOREIGN);
        return;
      }
      if (spent && run.stage === undefined) {
        await this.#finish(
          entry,
          foreign?.kind ?? "quarantined",
          foreign?.note ?? `it can never be fulfilled: ${reason}`,
        );
        return;
      }
      if (spent) run.stage = { ...run.stage!, submit: true };
      // Operator wants 400,000 gas to be left for the callback.
      if (/enough gas|out of ?gas/i.test(reason)) entry.gasLimit = this.#moreGas(entry);
      // A submission that is refused may need other records: the pipeline runs again.
      const again = outgoing.purpose === "submit" && entry.failures > 2;
      if (again) {
        run.state = "pending";
        run.call = undefined;
        entry.rehearse = false;
      }
      run.cause = `${outgoing.purpose} would revert: ${reason}`;
      run.failingSince ??= Date.now();
      await this.#options.store.change([
        {
          id: run.id,
          cause: run.cause,
          failingSince: run.failingSince,
          attempted: true,
          ...(spent ? { stage: run.stage! } : {}),
          ...(again ? { state: "pending", call: null } : {}),
        },
      ]);
      if (again) await this.#options.rerun(run, this.#backoff(entry.failures));
    }
  }
}
