import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { topicOf } from "../chain/abi.ts";
import { Deferral, submitCall } from "../chain/market.ts";
import { decodeRequest } from "../chain/requests.ts";
import { revertReason } from "../chain/revert.ts";
import { quantity, type RpcClient, RpcError } from "../chain/rpc.ts";
import type { RpcLog, RpcReceipt } from "../chain/types.ts";
import type { Job } from "../spec/job.ts";
import { type BuiltCall, FINISHED, type Run } from "../state/run.ts";
import type { RunChange, Store } from "../state/store.ts";
import { callbackAddressOf, fulfilmentOutcome, type Outcome, recordsOf, submissionOutcome } from "./outcome.ts";
import type { Outgoing, Sent, TransactionManager } from "./transactions.ts";

/** A run in its group's line. */
interface Entry {
  run: Run;
  /** Real ms before which it is not sent (again). */
  notBefore: number;
  /** How often in a row its delivery failed. */
  failures: number;
  /** Its next transaction is tried as a call first: the last one reverted. */
  rehearse: boolean;
  gasLimit: bigint | undefined;
  /** A statement or a call about it is under way. */
  busy: boolean;
}

interface Group {
  key: string;
  job: Job;
  entries: Entry[];
}

/** How a run is marked that another transaction than its own delivered. */
export const FOREIGN = "by another transaction";
/** The market's last stage. */
const CONSUMERS = 2;
/** A submission whose turn does not come costs gas each time. */
const LONGEST_WAIT_MS = 600_000;

export interface DeliveryOptions {
  store: Store;
  transactions: TransactionManager;
  rpc: RpcClient;
  jobs: ReadonlyMap<string, Job>;
  defaultGasLimit: bigint;
  /** The most that a transaction is ever given: a deferral for want of gas raises it up to here. */
  maxGasLimit: bigint;
  maxInFlight: number;
  /** Wraps a call for a forwarder, or leaves it as it is. */
  forward: (call: { to: string; data: string }) => { to: string; data: string };
  retryMinMs: number;
  retryMaxMs: number;
  /** Has a run's pipeline run again. */
  rerun: (run: Run, delayMs: number) => Promise<void>;
  /** Told when a run has come to an end. */
  finished: (run: Run, outcome: string) => void;
  logger: Logger;
}

/**
 * Ordered delivery. Each group is a line of runs in the order of their requests; this decides which of them may be sent now.
 *
 * pipelined: as many as are built, from the front of the line, without waiting for one another: they leave with
 *   consecutive nonces of one key, so that the chain keeps their order.
 * strict: only the first, until its ChainlinkFulfilled is seen.
 *
 * The successors of a run that ended in whatever way go on. Those of a run that fails wait for it up to `maxHold`; then
 * they go first and it stays in the line. A repeated request stands in its predecessor's place.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #groups = new Map<string, Group>();
  readonly #entries = new Map<string, Entry>();
  readonly #dirty = new Set<Group>();
  #pumping: Promise<void> | undefined;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const now = Date.now();
      for (const group of this.#groups.values()) {
        const first = group.entries[0];
        if (first !== undefined && (first.notBefore <= now || first.run.failingSince !== undefined)) this.#touch(group);
      }
    }, 250);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#pumping;
  }

  /** Runs in their line, in memory: for the status page. */
  get size(): number {
    return this.#entries.size;
  }

  /** Puts runs into their lines. */
  add(runs: readonly Run[]): void {
    for (const run of runs) {
      if (this.#entries.has(run.id) || FINISHED.includes(run.state)) continue;
      const job = this.#options.jobs.get(run.job);
      if (job === undefined) continue;
      const key = `${run.job} ${run.group}`;
      let group = this.#groups.get(key);
      if (group === undefined) {
        group = { key, job, entries: [] };
        this.#groups.set(key, group);
      }
      const entry: Entry = { run, notBefore: 0, failures: 0, rehearse: false, gasLimit: undefined, busy: false };
      this.#entries.set(run.id, entry);
      const after = group.entries.findLastIndex((other) => comparePlaces(other.run, run) <= 0);
      group.entries.splice(after + 1, 0, entry);
      this.#touch(group);
    }
  }

  /** Another process changed the run: its pipeline is done or failed. */
  async refresh(stored: Run): Promise<void> {
    const entry = this.#entries.get(stored.id);
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
    this.#touchEntry(entry);
  }

  /** The run as it stands here. */
  get(id: string): Run | undefined {
    return this.#entries.get(id)?.run;
  }

  /** A pipeline built the run's callback. */
  async ready(id: string, call: BuiltCall, tasks: unknown): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.run.state !== "pending") return;
    const change: RunChange = { id, state: "ready", call, tasks, attempted: true };
    if ((await this.#options.store.changeRuns([change], "pending")).size === 0) return;
    entry.run.state = "ready";
    entry.run.call = call;
    this.#touchEntry(entry);
  }

  /** A run's attempt failed: what is written down is shown to the operator. */
  async failing(id: string, cause: string, tasks?: unknown, attempted = true): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.run.cause = cause;
    entry.run.failingSince ??= Date.now();
    if (attempted) entry.run.attempts++;
    await this.#options.store.changeRuns([
      { id, cause, failingSince: entry.run.failingSince, attempted, ...(tasks === undefined ? {} : { tasks }) },
    ]);
    this.#touchEntry(entry);
  }

  /** Takes a run out of its line: it was cancelled, orphaned, or has to be given up. */
  async end(id: string, state: Run["state"], cause: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    await this.#finish(entry, state, cause);
  }

  /** Enough confirmations: its pipeline may run. */
  confirm(id: string): Run | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.run.state !== "unconfirmed") return undefined;
    entry.run.state = "pending";
    return entry.run;
  }

  /** All runs that wait for their pipeline. */
  pending(): Run[] {
    return [...this.#entries.values()].filter(({ run }) => run.state === "pending").map(({ run }) => run);
  }

  all(): Run[] {
    return [...this.#entries.values()].map(({ run }) => run);
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
    const entry = this.#entries.get(run.id);
    if (entry === undefined || entry.run.state !== "sent") return outcome;
    await this.#settle(entry, outcome, sent);
    return outcome;
  }

  /** A reorg took its transaction back; the transaction itself is sent again by the manager. */
  async unmined(sent: Sent): Promise<void> {
    const run = sent.runId === undefined ? undefined : await this.#known(sent.runId);
    if (run === undefined || run.state === "orphaned") return;
    await this.#options.store.changeRuns([{ id: run.id, state: "sent", cause: "a reorg took its transaction back" }]);
    const entry = this.#entries.get(run.id);
    if (entry === undefined) this.add([{ ...run, state: "sent" }]);
    else entry.run.state = "sent";
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
      if ((await this.#foreignOutcome(run))?.kind === "delivered") continue;
      const cause = "a reorg took the foreign transaction back that had delivered it";
      const state = run.call === undefined ? "pending" : "ready";
      await this.#options.store.changeRuns([{ id: run.id, state, cause }]);
      this.add([{ ...run, state, cause }]);
      if (state === "pending") await this.#options.rerun({ ...run, state }, 0);
    }
  }

  /** Its transaction can never be mined: it is built anew. */
  async lost(sent: Sent): Promise<void> {
    const entry = sent.runId === undefined ? undefined : this.#entries.get(sent.runId);
    if (entry === undefined || entry.run.state !== "sent") return;
    entry.run.state = "ready";
    entry.rehearse = true;
    await this.#options.store.changeRuns([
      { id: entry.run.id, state: "ready", cause: "its nonce was used by a foreign transaction" },
    ]);
    this.#touchEntry(entry);
  }

  async #known(id: string): Promise<Run | undefined> {
    return this.#entries.get(id)?.run ?? (await this.#options.store.run(id));
  }

  async #settle(entry: Entry, outcome: Outcome, sent: Sent): Promise<void> {
    const { run } = entry;
    if (outcome.kind === "delivered") {
      await this.#finish(entry, "delivered", outcome.note ?? null);
      return;
    }
    const { note } = outcome;
    this.#options.logger.warn(
      { run: run.id, request: run.requestId, group: run.group, purpose: sent.purpose, outcome: outcome.kind },
      note,
    );
    entry.failures++;
    entry.run.cause = note;
    entry.run.failingSince ??= Date.now();
    if (outcome.kind === "reverted") {
      entry.rehearse = true;
      entry.run.state = "ready";
      await this.#options.store.changeRuns([
        { id: run.id, state: "ready", cause: note, failingSince: entry.run.failingSince, attempted: true },
      ]);
      this.#touchEntry(entry);
      return;
    }
    // The request is spent. Records that are known can still be submitted to the market; nothing else can be done.
    const records = run.call === undefined ? undefined : (recordsOf(run.call.data) ?? undefined);
    if (run.stage === undefined || records === undefined) {
      await this.#finish(entry, "callback-failed", note);
      return;
    }
    run.stage = { ...run.stage, submit: true };
    const reason = outcome.kind === "deferred" ? outcome.reason : Deferral.OutOfGas;
    if (reason === Deferral.OutOfGas) entry.gasLimit = this.#moreGas(entry);
    const fresh = reason === Deferral.ReadingMissing;
    entry.notBefore = Date.now() + this.#waitAfter(reason, entry.failures);
    run.state = fresh ? "pending" : "ready";
    await this.#options.store.changeRuns([
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
    if (fresh) {
      run.call = undefined;
      await this.#options.rerun(run, this.#backoff(entry.failures));
    }
    this.#touchEntry(entry);
  }

  /** Ms before a deferred delivery is submitted: at once in its turn, but ever later when the turn does not come. */
  #waitAfter(reason: number, failures: number): number {
    if (reason !== Deferral.OutOfTurn) return this.#backoff(failures);
    return failures < 3 ? 0 : Math.min(this.#options.retryMinMs * 2 ** Math.min(failures, 30), LONGEST_WAIT_MS);
  }

  #moreGas(entry: Entry): bigint {
    const doubled = 2n * this.#gasLimit(entry);
    return doubled < this.#options.maxGasLimit ? doubled : this.#options.maxGasLimit;
  }

  #gasLimit(entry: Entry): bigint {
    if (entry.gasLimit !== undefined) return entry.gasLimit;
    const job = this.#options.jobs.get(entry.run.job);
    return BigInt(entry.run.call?.gasLimit ?? job?.gasLimit ?? this.#options.defaultGasLimit);
  }

  #backoff(failures: number): number {
    return Math.min(this.#options.retryMinMs * 2 ** Math.min(failures - 1, 30), this.#options.retryMaxMs);
  }

  async #finish(entry: Entry, state: Run["state"], cause: string | null): Promise<void> {
    const { run } = entry;
    run.state = state;
    this.#entries.delete(run.id);
    const group = this.#groups.get(`${run.job} ${run.group}`);
    if (group !== undefined) {
      group.entries = group.entries.filter((other) => other !== entry);
      if (group.entries.length === 0) this.#groups.delete(group.key);
      else this.#touch(group);
    }
    await this.#options.store.changeRuns([{ id: run.id, state, cause, failingSince: null }]);
    this.#options.finished(run, state);
  }

  #touchEntry(entry: Entry): void {
    const group = this.#groups.get(`${entry.run.job} ${entry.run.group}`);
    if (group !== undefined) this.#touch(group);
  }

  #touch(group: Group): void {
    this.#dirty.add(group);
    if (this.#stopped) return;
    this.#pumping ??= new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#pump())
      .catch((error: unknown) =>
        this.#options.logger.error({ cause: explain(error) }, "delivery failed: it is tried again"),
      )
      .finally(() => {
        this.#pumping = undefined;
        if (this.#dirty.size > 0 && !this.#stopped) this.#touch([...this.#dirty][0]!);
      });
  }

  async #pump(): Promise<void> {
    const groups = [...this.#dirty];
    this.#dirty.clear();
    const room = new Map(
      this.#options.transactions.addresses.map((address) => [
        address,
        this.#options.maxInFlight - this.#options.transactions.inFlight(address),
      ]),
    );
    const chosen: { entry: Entry; outgoing: Outgoing }[] = [];
    for (const group of groups) {
      for (const entry of this.#sendable(group)) {
        const outgoing = this.#outgoing(entry);
        if (typeof outgoing === "string") {
          entry.busy = true;
          void this.#finish(entry, "quarantined", outgoing);
          continue;
        }
        const left = room.get(outgoing.sender)!;
        if (left <= 0) {
          this.#dirty.add(group);
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
    if (chosen.length === 0) {
      // Only full pools are left: the next block makes room.
      if (this.#dirty.size > 0) await new Promise((resolve) => setTimeout(resolve, 50));
      return;
    }
    for (const { entry } of chosen) entry.busy = true;
    try {
      await this.#options.transactions.send(chosen.map(({ outgoing }) => outgoing));
      for (const { entry } of chosen) entry.run.state = "sent";
    } catch (error) {
      for (const { entry } of chosen) {
        entry.notBefore = Date.now() + this.#options.retryMaxMs;
        this.#touchEntry(entry);
      }
      throw error;
    } finally {
      for (const { entry } of chosen) entry.busy = false;
    }
  }

  /** The entries of a group that may leave now, in order. */
  #sendable(group: Group): Entry[] {
    const now = Date.now();
    const found: Entry[] = [];
    // Whether what the market wants first is still to come; it does not want one lot's consumers before the next lot.
    let awaited = false;
    for (const entry of group.entries) {
      const { run } = entry;
      if (entry.busy) break;
      const early = run.stage?.submit === true && awaited;
      awaited ||= run.stage === undefined || run.stage.stage !== CONSUMERS;
      if (run.state === "sent") {
        if (group.job.ordering.mode === "strict") break;
        continue;
      }
      // A submission out of turn would only cost gas: it waits, however long, until what is before it is done.
      if (run.state !== "ready" || entry.notBefore > now || early) {
        const held = run.failingSince !== undefined && now - run.failingSince > group.job.ordering.maxHoldMs;
        if (!held) break;
        continue;
      }
      found.push(entry);
      if (group.job.ordering.mode === "strict") break;
    }
    return found;
  }

  /** The transaction for an entry, or why there can be none. */
  #outgoing(entry: Entry): Outgoing | string {
    const { run } = entry;
    const call = run.call;
    if (call === undefined) return "its pipeline built no transaction";
    const allowed = this.#options.transactions.addresses.filter(
      (address) => call.from.length === 0 || call.from.includes(address),
    );
    if (allowed.length === 0) return `the spec wants to send from ${call.from.join(", ")}, whose key this node has not`;
    const sender = allowed[indexOf(`${run.job} ${run.group}`, allowed.length)]!;
    if (run.stage?.submit) {
      const records = recordsOf(call.data);
      if (records === undefined) return "its records cannot be read from its callback";
      const { to, data } = submitCall(run.stage, records);
      return { sender, purpose: "submit", runId: run.id, to, data, gasLimit: this.#gasLimit(entry), detail: {} };
    }
    const { to, data } = this.#options.forward({ to: call.to, data: call.data });
    const detail = { callback: callbackAddressOf(call.data) };
    return { sender, purpose: "fulfil", runId: run.id, to, data, gasLimit: this.#gasLimit(entry), detail };
  }

  /** What a transaction that is not known here did for the request, if there is one. */
  async #foreignOutcome(run: Run): Promise<{ kind: "delivered" | "callback-failed"; note: string } | undefined> {
    const [log] = await this.#options.rpc.call<RpcLog[]>("eth_getLogs", [
      { address: run.operator, fromBlock: quantity(run.blockNumber), topics: [topicOf.oracleResponse, run.requestId] },
    ]);
    if (log === undefined) return undefined;
    const receipt = await this.#options.rpc.call<RpcReceipt | null>("eth_getTransactionReceipt", [log.transactionHash]);
    if (receipt === null) return undefined;
    const outcome = fulfilmentOutcome(run, decodeRequest(run.log).callbackAddr.toLowerCase(), receipt);
    return outcome.kind === "delivered"
      ? { kind: "delivered", note: "" }
      : { kind: "callback-failed", note: `${outcome.note} (transaction ${log.transactionHash})` };
  }

  /** Tries a transaction as a call before it is paid for once more. */
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
      const foreign = spent ? await this.#foreignOutcome(run) : undefined;
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
      await this.#options.store.changeRuns([
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
    } finally {
      entry.busy = false;
      this.#touchEntry(entry);
    }
  }
}

function comparePlaces(a: Run, b: Run): number {
  return (
    a.placeBlock - b.placeBlock || a.placeLog - b.placeLog || a.blockNumber - b.blockNumber || a.logIndex - b.logIndex
  );
}

/** A stable choice, so that a group stays with its key. */
function indexOf(text: string, count: number): number {
  let hash = 2166136261;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619) >>> 0;
  return hash % count;
}
