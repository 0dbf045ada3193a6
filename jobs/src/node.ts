import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { BijuliError, explain, type SettingValues } from "@bijuli/protocol";
import type { Logger } from "pino";
import { forwarderAbi, topicOf } from "./chain/abi.ts";
import { type HeadSubscription, subscribeHeads } from "./chain/head-subscription.ts";
import { Intake } from "./chain/intake.ts";
import { marketAbi, marketTopic, stageRequested } from "./chain/market.ts";
import { runOf, runVariables } from "./chain/requests.ts";
import { RpcClient } from "./chain/rpc.ts";
import { type Head, headOf, type RpcBlock, type RpcLog } from "./chain/types.ts";
import { Delivery, FOREIGN } from "./delivery/delivery.ts";
import type { SendingKey } from "./delivery/keys.ts";
import { TransactionManager } from "./delivery/transactions.ts";
import { NodeMetrics } from "./metrics.ts";
import { Opener } from "./opener.ts";
import { runPipeline, showTasks } from "./pipeline/run.ts";
import type { TransactionRequest } from "./pipeline/task.ts";
import { RunQueue } from "./queue/queue.ts";
import type { nodeSettings } from "./settings.ts";
import { type Job, parseJob } from "./spec/job.ts";
import { SpecError } from "./spec/problem.ts";
import { type Database, openDatabase } from "./state/database.ts";
import { type Leadership, sharedLeadership, soleLeadership } from "./state/leadership.ts";
import { migrate } from "./state/migrations.ts";
import { FINISHED, type Run, type StageReference } from "./state/run.ts";
import { type RunChange, Store } from "./state/store.ts";

export type NodeSettings = SettingValues<typeof nodeSettings>;

/** How often runs whose job the queue lost are looked for. */
const SWEEP_MS = 5_000;
const BALANCE_EVERY_MS = 15_000;
/** A chain that stands still for longer than this is a problem, whoever's it is. */
const QUIET_MS = 120_000;

/** The oracle node: its parts, started and stopped in the right order. */
export class OracleNode {
  readonly settings: NodeSettings;
  readonly jobs: ReadonlyMap<string, Job>;
  readonly metrics = new NodeMetrics();
  readonly #keys: readonly SendingKey[];
  readonly #logger: Logger;
  readonly #bySpecId = new Map<string, Job>();
  readonly #stopping = new AbortController();
  readonly #problems = new Map<string, string>();
  #database!: Database;
  #rpc!: RpcClient;
  store!: Store;
  queue!: RunQueue;
  #intake: Intake | undefined;
  #subscription: HeadSubscription | undefined;
  #transactions!: TransactionManager;
  #delivery!: Delivery;
  #opener: Opener | undefined;
  #timers: NodeJS.Timeout[] = [];
  #balances = new Map<string, bigint>();
  #ready = false;
  #leadership!: Leadership;
  #leads = false;
  /** Settles with what ends this process: the loss of its leadership. */
  readonly failed = Promise.withResolvers<never>();

  constructor(settings: NodeSettings, jobs: readonly Job[], keys: readonly SendingKey[], logger: Logger) {
    this.settings = settings;
    this.#keys = keys;
    this.#logger = logger;
    this.jobs = new Map(jobs.map((job) => [job.externalJobId, job]));
    for (const job of jobs) for (const specId of job.specIds) this.#bySpecId.set(specId, job);
    this.failed.promise.catch(() => {}); // whoever waits for it hears of it
  }

  get ready(): boolean {
    return this.#ready;
  }

  get delivery(): Delivery {
    return this.#delivery;
  }

  async start(): Promise<void> {
    const { settings } = this;
    const [folder, databaseUrl, redisUrl] = storesOf(settings);
    this.#rpc = new RpcClient(settings.RPC_URL, settings.RPC_TIMEOUT_MS);
    await this.#checkChain();
    this.#database = await openDatabase(folder, databaseUrl);
    try {
      await migrate(this.#database);
      await this.#begin(databaseUrl, redisUrl);
    } catch (error) {
      await this.#database.close().catch(() => {});
      throw error;
    }
  }

  async #begin(databaseUrl: string | undefined, redisUrl: string | undefined): Promise<void> {
    const { settings } = this;
    this.store = new Store(this.#database, settings.CHAIN_ID);
    this.#transactions = new TransactionManager({
      rpc: this.#rpc,
      store: this.store,
      chainId: settings.CHAIN_ID,
      keys: this.#keys,
      fees: {
        tip: settings.TIP_WEI,
        maxFee: settings.MAX_FEE_WEI,
        bumpAfter: settings.BUMP_AFTER_BLOCKS,
        bumpPercent: BigInt(settings.BUMP_PERCENT),
      },
      finalityDepth: settings.REORG_DEPTH,
      logger: this.#logger,
    });
    this.#delivery = new Delivery({
      store: this.store,
      transactions: this.#transactions,
      rpc: this.#rpc,
      jobs: this.jobs,
      defaultGasLimit: BigInt(settings.GAS_LIMIT),
      maxGasLimit: BigInt(settings.MAX_GAS_LIMIT),
      maxInFlight: settings.MAX_IN_FLIGHT,
      forward: forwarding(settings.FORWARDER),
      retryMinMs: settings.RETRY_MIN_MS,
      retryMaxMs: settings.RETRY_MAX_MS,
      rerun: (run, delayMs) => this.#enqueue([run], delayMs),
      finished: (run, outcome) => this.#finished(run, outcome),
      logger: this.#logger,
    });
    if (settings.MARKET_ADDRESS !== undefined && settings.OPEN_FEEDERS !== "none") {
      this.#opener = new Opener({
        rpc: this.#rpc,
        transactions: this.#transactions,
        market: settings.MARKET_ADDRESS,
        feeders: settings.OPEN_FEEDERS ?? "all",
        maxGasLimit: BigInt(settings.MAX_GAS_LIMIT),
        retryMinMs: settings.RETRY_MIN_MS,
        retryMaxMs: settings.RETRY_MAX_MS,
        logger: this.#logger,
      });
    }

    this.queue = await RunQueue.open(
      {
        name: settings.QUEUE_NAME ?? `runs-${settings.CHAIN_ID}`,
        redisUrl,
        database: this.#database,
        concurrency: settings.JOB_CONCURRENCY,
        retryMinMs: settings.RETRY_MIN_MS,
        retryMaxMs: settings.RETRY_MAX_MS,
        logger: this.#logger,
      },
      (id) => this.#work(id),
    );
    this.#leadership =
      databaseUrl === undefined
        ? soleLeadership()
        : sharedLeadership(
            { url: databaseUrl, database: this.#database, chainId: settings.CHAIN_ID, logger: this.#logger },
            { changed: (id) => void this.#refresh([id]), lost: () => this.#deposed() },
          );
    const led = this.#leadership.acquire(this.#stopping.signal).then(() => this.#lead());
    if (databaseUrl === undefined) await led;
    else led.catch((error: unknown) => this.#stopping.signal.aborted || this.failed.reject(error));
    this.#ready = true;
  }

  /** What only one process does: it follows the chain, keeps the order, sends and opens. */
  async #lead(): Promise<void> {
    const { settings } = this;
    this.#leads = true;
    const head = headOf(await this.#rpc.call<RpcBlock>("eth_getBlockByNumber", ["latest", false]));
    const stored = await this.store.position();
    // What the chain took back while no process watched; then the lines as they stand; only then transactions, whose
    // outcomes look for their runs.
    await this.#dropOrphans((stored?.number ?? head.number) - settings.REORG_DEPTH);
    const open = await this.store.openRuns();
    this.#delivery.add(open);
    for (const transaction of await this.store.openTransactions()) {
      if (transaction.state === "unconfirmed") this.#opener?.adopt(transaction);
    }
    this.#opener?.start();
    await this.#transactions.start(
      {
        mined: async (sent, receipt) => {
          this.metrics.confirmed.inc({ evmChainID: String(settings.CHAIN_ID), purpose: sent.purpose });
          if (sent.purpose === "open") return await this.#opener?.mined(sent, receipt);
          const outcome = await this.#delivery.mined(sent, receipt);
          this.#observe(sent.runId, outcome?.kind, Number(receipt.blockNumber));
          return outcome;
        },
        unmined: async (sent) => {
          if (sent.purpose === "open") this.#opener?.unmined(sent);
          else await this.#delivery.unmined(sent);
        },
        stale: async (sent) => sent.purpose !== "open" && (await this.#delivery.stale(sent)),
        lost: async (sent) => {
          if (sent.purpose === "open") this.#opener?.lost(sent);
          else await this.#delivery.lost(sent);
        },
      },
      head,
    );
    await this.#recheckForeign((stored?.number ?? head.number) - settings.REORG_DEPTH);
    this.#delivery.start();
    await this.#enqueue(this.#delivery.pending());

    const operators = [...new Set([...this.jobs.values()].map((job) => job.contractAddress))];
    const market = settings.MARKET_ADDRESS?.toLowerCase();
    const intake = new Intake(
      {
        rpc: this.#rpc,
        addresses: market === undefined ? operators : [...operators, market],
        topics: [
          topicOf.oracleRequest,
          topicOf.cancelOracleRequest,
          marketTopic.stageRequested,
          marketTopic.feederCreated,
          marketTopic.lotsOpened,
        ],
        pollMs: settings.POLL_INTERVAL_MS,
        reorgDepth: settings.REORG_DEPTH,
        logRange: settings.LOG_RANGE,
        logger: this.#logger,
      },
      {
        logs: (logs) => this.#onLogs(logs),
        reorg: (ancestor) => this.#onReorg(ancestor),
        head: (at) => this.#onHead(at),
        position: (number, hash) => this.store.setPosition(number, hash),
      },
    );
    if (this.#opener !== undefined && settings.OPEN_FEEDERS === undefined)
      await this.#findFeeders(stored?.number ?? head.number);
    if (settings.OPEN_FEEDERS === "all") await this.#findFeeders(stored?.number ?? head.number);
    this.#intake = intake;
    if (settings.RPC_WS_URL !== undefined) {
      this.#subscription = subscribeHeads(settings.RPC_WS_URL, () => intake.wake(), this.#logger);
    }
    await intake.start(stored?.number, settings.START_BLOCK ?? (stored === undefined ? head.number : 0));
    this.#timers.push(
      setInterval(() => void this.#sweep(), SWEEP_MS),
      setInterval(() => void this.#lookAtBalances(), BALANCE_EVERY_MS),
      setInterval(
        () => void this.store.prune(Date.now() - settings.RETENTION_DAYS * 86_400_000).catch(() => {}),
        3_600_000,
      ),
    );
    for (const timer of this.#timers) timer.unref();
    await this.#lookAtBalances();
    this.#logger.info(
      {
        jobs: [...this.jobs.values()].map(({ name }) => name),
        senders: this.#transactions.addresses,
        position: intake.position,
        openRuns: open.length,
      },
      "the node runs",
    );
  }

  /** Lets what is under way come to a point from which it goes on later, and closes everything. */
  async stop(): Promise<void> {
    this.#ready = false;
    this.#stopping.abort(new BijuliError("stopping", "the node stops"));
    for (const timer of this.#timers) clearInterval(timer);
    this.#subscription?.close();
    await this.#intake?.stop();
    await this.#opener?.stop();
    await this.queue?.close();
    await this.#delivery?.stop();
    await this.#transactions?.idle();
    await this.#leadership?.release();
    await this.#database?.close();
    this.#rpc?.close();
  }

  /** Everything that is wrong, by part; empty: all is well. */
  health(): { problems: string[]; checks: Record<string, unknown> } {
    const { settings } = this;
    const problems: string[] = [];
    if (!this.#ready) problems.push("the node is starting");
    const head = this.#intake?.head;
    if (this.#intake?.problem !== undefined) problems.push(`chain: ${this.#intake.problem}`);
    if (this.#intake !== undefined && this.#intake.quietMs > QUIET_MS) {
      problems.push(`chain: no new block for ${Math.round(this.#intake.quietMs / 1000)} s`);
    }
    if (this.queue?.problem !== undefined) problems.push(`queue: ${this.queue.problem}`);
    for (const problem of this.#transactions?.problems() ?? []) problems.push(problem);
    for (const problem of this.#opener?.problems() ?? []) problems.push(problem);
    for (const problem of this.#problems.values()) problems.push(problem);
    for (const [address, balance] of this.#balances) {
      if (balance < settings.MIN_BALANCE_WEI) problems.push(`sender ${address} has only ${balance} wei`);
    }
    return {
      problems,
      checks: {
        leads: this.#leads,
        head: head && { number: head.number, hash: head.hash, timestamp: head.timestamp.toString() },
        position: this.#intake?.position,
        subscription: this.#subscription?.connected,
        openRuns: this.#delivery?.size ?? 0,
        failingRuns: (this.#delivery?.all() ?? [])
          .filter((run) => run.failingSince !== undefined)
          .slice(0, 20)
          .map((run) => ({
            run: run.id,
            group: run.group,
            state: run.state,
            attempts: run.attempts,
            cause: run.cause,
          })),
        unconfirmedTransactions: this.#transactions?.inFlight() ?? 0,
        senders: Object.fromEntries([...this.#balances].map(([address, balance]) => [address, balance.toString()])),
        openings: this.#opener?.describe() ?? [],
      },
    };
  }

  /** Has a run that waits for its next attempt run now, or one that was given up run again. */
  async runAgain(id: string): Promise<Run> {
    const known = this.#delivery.get(id);
    if (known !== undefined) {
      if (known.state === "pending") await this.queue.promote(id);
      return known;
    }
    const run = await this.store.run(id);
    if (run === undefined) throw new BijuliError("unknown-run", `there is no run ${id}`);
    if (!["abandoned", "callback-failed", "quarantined", "rejected"].includes(run.state)) {
      throw new BijuliError("bad-state", `run ${id} is ${run.state}: it is not run again`);
    }
    const again: Run = {
      ...run,
      state: "pending",
      call: undefined,
      failingSince: undefined,
      cause: "run again by the operator",
    };
    if (run.state === "callback-failed" && run.stage !== undefined) again.stage = { ...run.stage, submit: true };
    await this.store.changeRuns([
      {
        id,
        state: "pending",
        call: null,
        cause: again.cause!,
        failingSince: null,
        ...(again.stage === undefined ? {} : { stage: again.stage }),
      },
    ]);
    if (!this.#leads) await this.#leadership.announce(id);
    else await this.#refresh([id]);
    return again;
  }

  /** Reads blocks from `number` on again. */
  replay(number: number): void {
    if (this.#intake === undefined) throw new BijuliError("bad-state", "another process leads: ask that one");
    this.#intake.rewind(number);
  }

  async #checkChain(): Promise<void> {
    const said = BigInt(await this.#rpc.call<string>("eth_chainId"));
    if (said !== this.settings.CHAIN_ID) {
      throw new BijuliError("wrong-chain", `CHAIN_ID is ${this.settings.CHAIN_ID}, but the RPC serves chain ${said}`, {
        remedy: "correct CHAIN_ID or RPC_URL",
      });
    }
  }

  async #onLogs(logs: readonly RpcLog[]): Promise<void> {
    const stages = new Map<string, StageReference>();
    const cancelled: string[] = [];
    const requests: { log: RpcLog; job: Job }[] = [];
    for (const log of logs) {
      const [topic] = log.topics;
      if (topic === topicOf.oracleRequest) {
        const job = this.#bySpecId.get(log.topics[1] ?? "");
        if (job !== undefined && job.contractAddress === log.address.toLowerCase()) requests.push({ log, job });
      } else if (topic === topicOf.cancelOracleRequest) cancelled.push(log.topics[1]!);
      else if (log.address.toLowerCase() !== this.settings.MARKET_ADDRESS?.toLowerCase()) continue;
      else if (topic === marketTopic.stageRequested) {
        const { requestId, stage } = stageRequested(log);
        stages.set(`${log.transactionHash} ${requestId}`, stage);
      } else if (topic === marketTopic.feederCreated) this.#opener?.discovered(log.topics[1]!);
      else if (topic === marketTopic.lotsOpened) this.#opener?.opened(log.topics[1]!);
    }
    await this.#takeIn(requests, stages);
    for (const requestId of cancelled) {
      const run = this.#delivery.all().find((one) => one.requestId === requestId);
      // What is sent already may still have been in time; its outcome tells.
      if (run !== undefined && run.state !== "sent")
        await this.#delivery.end(run.id, "cancelled", "cancelled by its requester");
    }
  }

  async #takeIn(
    requests: readonly { log: RpcLog; job: Job }[],
    stages: ReadonlyMap<string, StageReference>,
  ): Promise<void> {
    if (requests.length === 0) return;
    const policy = { chainId: this.settings.CHAIN_ID, minContractPayment: this.settings.MIN_CONTRACT_PAYMENT_JUELS };
    const runs: Run[] = [];
    for (const { log, job } of requests) {
      try {
        const run = runOf(log, job, policy, undefined);
        run.stage = stages.get(`${log.transactionHash} ${run.requestId}`);
        if (run.stage !== undefined) await this.#takePlace(run);
        runs.push(run);
      } catch (error) {
        this.#logger.error({ log, cause: explain(error) }, "an OracleRequest cannot be read: it is left out");
      }
    }
    const fresh = await this.store.insertRuns(runs);
    const added = runs.filter((run) => fresh.has(run.id));
    for (const run of added) {
      const name = this.jobs.get(run.job)!.name;
      this.metrics.requests.inc({ job_name: name });
      const said = { run: run.id, request: run.requestId, job: name, group: run.group, block: run.blockNumber };
      if (run.state === "rejected") this.#logger.warn({ ...said, cause: run.cause }, "request rejected");
      else this.#logger.info(said, "request");
    }
    this.#delivery.add(added);
  }

  /** A repeated request stands where the one that it repeats stands or stood. */
  async #takePlace(run: Run): Promise<void> {
    const before = await this.store.predecessor(run.requestId, run.stage);
    if (
      before === undefined ||
      before.id === run.id ||
      before.group !== run.group ||
      before.blockHash === run.blockHash
    )
      return;
    run.placeBlock = before.placeBlock;
    run.placeLog = before.placeLog;
    if (FINISHED.includes(before.state) || before.state === "sent") return;
    // The old request is left: one delivery of the stage is enough, and it is the new one that is paid.
    await this.#delivery.end(before.id, "cancelled", `repeated by run ${run.id}`);
  }

  async #onReorg(ancestor: number): Promise<void> {
    this.metrics.reorgs.inc();
    await this.#dropOrphans(ancestor + 1);
    await this.#transactions.onReorg(ancestor);
    await this.#recheckForeign(ancestor);
  }

  async #recheckForeign(number: number): Promise<void> {
    // Such a run's request lies below its delivery, and so perhaps below the reorg as well.
    const from = Math.max(number - this.settings.REORG_DEPTH, 0);
    await this.#delivery.recheckForeign(await this.store.deliveredBecause(FOREIGN, from));
  }

  /** Marks the runs whose block is no longer part of the chain. */
  async #dropOrphans(from: number): Promise<void> {
    const runs = (await this.store.runsFromBlock(Math.max(from, 0))).filter((run) => run.state !== "orphaned");
    const numbers = [...new Set(runs.map((run) => run.blockNumber))];
    const blocks = await Promise.all(
      numbers.map((number) =>
        this.#rpc.call<RpcBlock | null>("eth_getBlockByNumber", [`0x${number.toString(16)}`, false]),
      ),
    );
    const hashes = new Map(blocks.map((block, index) => [numbers[index]!, block?.hash]));
    const gone = runs.filter((run) => hashes.get(run.blockNumber) !== run.blockHash);
    const cause = "a reorg took its block out of the chain";
    for (const run of gone) {
      if (this.#delivery.get(run.id) !== undefined) await this.#delivery.end(run.id, "orphaned", cause);
      else await this.store.changeRuns([{ id: run.id, state: "orphaned", cause }]);
    }
    if (gone.length > 0) this.#logger.warn({ count: gone.length }, "requests orphaned by a reorg");
  }

  async #onHead(head: Head): Promise<void> {
    this.metrics.currentHead.set({ evmChainID: String(this.settings.CHAIN_ID) }, head.number);
    const confirmed: Run[] = [];
    for (const run of this.#delivery.all()) {
      if (run.state !== "unconfirmed") continue;
      const wanted = this.jobs.get(run.job)!.minIncomingConfirmations ?? this.settings.MIN_INCOMING_CONFIRMATIONS;
      // A block that holds the request is its first confirmation.
      if (head.number - run.blockNumber + 1 >= wanted) confirmed.push(run);
    }
    if (confirmed.length > 0) {
      await this.store.changeRuns(
        confirmed.map(({ id }) => ({ id, state: "pending" as const })),
        "unconfirmed",
      );
      await this.#enqueue(confirmed.flatMap(({ id }) => this.#delivery.confirm(id) ?? []));
    }
    await this.#transactions.onHead(head);
    this.#opener?.onHead(head);
    this.metrics.unconfirmed.set({ evmChainID: String(this.settings.CHAIN_ID) }, this.#transactions.inFlight());
    this.metrics.open.set(this.#delivery.size);
  }

  async #enqueue(runs: readonly Run[], delayMs = 0): Promise<void> {
    try {
      await this.queue.add(
        runs.map((run) => run.id),
        delayMs,
      );
    } catch (error) {
      // The state has them: the sweep puts them in when the queue is back.
      this.#logger.warn({ cause: explain(error), runs: runs.length }, "the queue took no jobs");
    }
  }

  /** Runs a request's pipeline once. */
  async #work(id: string): Promise<void> {
    const run = this.#delivery.get(id) ?? (this.#leads ? undefined : await this.store.run(id));
    const job = run && this.jobs.get(run.job);
    if (run === undefined || job === undefined || run.state !== "pending") return;
    const startedAt = Date.now();
    let request: TransactionRequest | undefined;
    let lastNoted = "";
    const labels = { job_id: job.externalJobId, job_name: job.name };
    const logger = this.#logger.child({ run: id, request: run.requestId });
    const limit = job.maxTaskDurationMs > 0 ? [AbortSignal.timeout(job.maxTaskDurationMs)] : [];
    const result = await runPipeline(job.pipeline, {
      context: {
        rpc: this.#rpc,
        bridges: this.#bridges,
        http: {
          timeoutMs: this.settings.HTTP_TIMEOUT_MS,
          maxBytes: this.settings.HTTP_MAX_BYTES,
          allowUnrestricted: this.settings.HTTP_ALLOW_UNRESTRICTED,
        },
        transact(asked) {
          if (request !== undefined) throw new BijuliError("bad-spec", "a job may send one transaction");
          request = asked;
        },
        logger,
      },
      variables: runVariables(run, job),
      signal: AbortSignal.any([this.#stopping.signal, ...limit]),
      onFailure: (task, attempt, error, retryInMs) => {
        const cause = `task ${task.id}: ${explain(error)}`;
        if (task.type === "bridge") this.metrics.bridgeErrors.inc({ name: task.attributes.name ?? "" });
        if (retryInMs === undefined) return;
        // Shown while it is tried again, but not written down each time.
        if (cause !== lastNoted) {
          lastNoted = cause;
          logger.warn({ task: task.id, attempt, cause, retryInMs }, "a task failed: it is tried again");
          void this.#noteFailure(run, cause, undefined, false).catch(() => {});
        }
      },
      onTask: (task, done) => {
        const seconds = (done.finishedAt - done.startedAt) / 1000;
        const of = { ...labels, task_id: task.id, task_type: task.type };
        this.metrics.taskTime.set(of, seconds * 1e9);
        this.metrics.tasksFinished.inc({ ...of, status: done.value instanceof Error ? "error" : "completed" });
        if (task.type === "bridge") this.metrics.bridgeLatency.set({ name: task.attributes.name ?? "" }, seconds);
      },
    });
    const tasks = showTasks(result.tasks);
    this.metrics.runTime.set(labels, (Date.now() - startedAt) * 1e6);
    if (result.error !== undefined || request === undefined) {
      const cause = result.error === undefined ? "the pipeline sent no transaction" : explain(result.error);
      this.metrics.runErrors.inc(labels);
      logger.warn({ cause, attempt: run.attempts + 1 }, "a run failed");
      await this.#noteFailure(run, cause, tasks, true);
      const failingFor = Date.now() - (run.failingSince ?? Date.now());
      if (failingFor > this.settings.RETRY_FOR_SECONDS * 1000) {
        const given = `given up after ${Math.round(failingFor / 1000)} s: ${cause}`;
        if (this.#leads) await this.#delivery.end(id, "abandoned", given);
        else await this.#changeElsewhere({ id, state: "abandoned", cause: given });
        return;
      }
      throw new BijuliError("run-failed", cause);
    }
    const { to, data, gasLimit, from } = request;
    const call = { to, data, gasLimit: gasLimit?.toString(), from };
    if (this.#leads) await this.#delivery.ready(id, call, tasks);
    else await this.#changeElsewhere({ id, state: "ready", call, tasks, attempted: true });
  }

  async #noteFailure(run: Run, cause: string, tasks: unknown, attempted: boolean): Promise<void> {
    if (this.#leads) {
      await this.#delivery.failing(run.id, cause, tasks, attempted);
      return;
    }
    run.failingSince ??= Date.now();
    await this.#changeElsewhere({ id: run.id, cause, failingSince: run.failingSince, attempted, tasks });
  }

  /** Writes a run's change down and tells the process that leads. */
  async #changeElsewhere(change: RunChange): Promise<void> {
    if ((await this.store.changeRuns([change], "pending")).size > 0) await this.#leadership.announce(change.id);
  }

  /** Takes over what was written down about runs by others. */
  async #refresh(ids: readonly string[]): Promise<void> {
    try {
      for (const id of ids) {
        const run = await this.store.run(id);
        if (run === undefined || !this.#leads) continue;
        const fresh = this.#delivery.get(id) === undefined && !FINISHED.includes(run.state);
        await this.#delivery.refresh(run);
        if (fresh && run.state === "pending") await this.#enqueue([run]);
      }
    } catch (error) {
      this.#logger.warn({ cause: explain(error) }, "a run's change could not be read: the sweep looks again");
    }
  }

  #deposed(): void {
    this.#leads = false;
    this.failed.reject(
      new BijuliError(
        "deposed",
        "this process lost its lock in the database: it ends, so that two never send from one key",
        {
          remedy: "let its supervisor start it again",
        },
      ),
    );
  }

  get #bridges(): ReadonlyMap<string, URL> {
    return new Map(Object.entries(this.settings.BRIDGES).map(([name, url]) => [name.toLowerCase(), new URL(url)]));
  }

  #finished(run: Run, outcome: string): void {
    this.metrics.outcomes.inc({ job_name: this.jobs.get(run.job)?.name ?? "", outcome });
    const said = { run: run.id, request: run.requestId, group: run.group, outcome };
    if (outcome === "delivered") this.#logger.info(said, "delivered");
    else this.#logger.warn({ ...said, cause: run.cause }, "a run ended without delivery");
  }

  #observe(runId: string | undefined, outcome: string | undefined, block: number): void {
    if (runId === undefined || outcome !== "delivered") return;
    void this.store
      .run(runId)
      .then((run) => run && this.metrics.blocksToDelivery.observe(block - run.blockNumber))
      .catch(() => {});
  }

  /** Puts runs into the queue whose job it lost. */
  async #sweep(): Promise<void> {
    try {
      if (this.#database.kind === "postgres") {
        const ids = this.#delivery.pending().map((run) => run.id);
        await this.#refresh(await this.store.movedOn(ids));
      }
      for (const run of this.#delivery.pending().slice(0, 200)) {
        if (!(await this.queue.holds(run.id)) && this.#delivery.get(run.id)?.state === "pending") {
          this.#logger.warn({ run: run.id }, "the queue lost a run: it is put in again");
          await this.queue.add([run.id]);
        }
      }
      this.#problems.delete("sweep");
    } catch (error) {
      this.#problems.set("sweep", `queue: ${explain(error)}`);
    }
  }

  async #lookAtBalances(): Promise<void> {
    try {
      for (const address of this.#transactions.addresses) {
        const balance = BigInt(await this.#rpc.call<string>("eth_getBalance", [address, "latest"]));
        this.#balances.set(address, balance);
        this.metrics.balance.set(
          { account: address, evmChainID: String(this.settings.CHAIN_ID) },
          Number(balance) / 1e18,
        );
      }
    } catch {
      // The intake reports an RPC that does not answer.
    }
  }

  /** The feeders that the market knows already. */
  async #findFeeders(head: number): Promise<void> {
    if (this.#opener === undefined) return;
    const from = this.settings.START_BLOCK ?? 0;
    const range = Math.max(this.settings.LOG_RANGE, 10_000);
    for (let at = from; at <= head; at += range) {
      const logs = await this.#rpc.call<RpcLog[]>("eth_getLogs", [
        {
          address: this.settings.MARKET_ADDRESS,
          topics: [marketAbi.getEvent("FeederCreated")!.topicHash],
          fromBlock: `0x${at.toString(16)}`,
          toBlock: `0x${Math.min(head, at + range - 1).toString(16)}`,
        },
      ]);
      for (const log of logs) this.#opener.discovered(log.topics[1]!);
    }
  }
}

/** Where state and queue lie: the embedded folder, a database's URL, Redis' URL. */
function storesOf(settings: NodeSettings): [folder: string, database: string | undefined, redis: string | undefined] {
  const queue = settings.QUEUE_URL;
  const redis = queue !== undefined && /^rediss?:\/\//.test(queue) ? queue : undefined;
  const postgres = queue !== undefined && /^postgres(ql)?:\/\//.test(queue) ? queue : undefined;
  const folder = queue !== undefined && redis === undefined && postgres === undefined ? queue : settings.DATA_DIR;
  return [folder, settings.DATABASE_URL ?? postgres, redis];
}

function forwarding(
  forwarder: string | undefined,
): (call: { to: string; data: string }) => { to: string; data: string } {
  if (forwarder === undefined) return (call) => call;
  return ({ to, data }) => ({ to: forwarder, data: forwarderAbi.encodeFunctionData("forward", [to, data]) });
}

/**
 * Reads the job specs that the settings name.
 * @throws BijuliError with file, line and field
 */
export function loadJobs(settings: Pick<NodeSettings, "JOBS" | "JOBS_DIR" | "CHAIN_ID">): Job[] {
  const files = [...(settings.JOBS ?? [])];
  if (settings.JOBS_DIR !== undefined) {
    try {
      const found = readdirSync(settings.JOBS_DIR).filter((name) => name.endsWith(".toml"));
      files.push(...found.sort().map((name) => join(settings.JOBS_DIR!, name)));
    } catch (cause) {
      throw new BijuliError("bad-jobs", `JOBS_DIR: the folder ${settings.JOBS_DIR} cannot be read`, { cause });
    }
  }
  if (files.length === 0)
    throw new BijuliError("bad-jobs", "there is no job to run", { remedy: "set JOBS_DIR or JOBS" });
  const jobs = files.map((file) => {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (cause) {
      throw new BijuliError("bad-jobs", `the job spec ${file} cannot be read`, { cause });
    }
    try {
      const job = parseJob(text, basename(file));
      if (job.evmChainId !== undefined && job.evmChainId !== settings.CHAIN_ID) {
        const line = text.split("\n").findIndex((one) => /^\s*evmChainID/.test(one)) + 1;
        throw new SpecError(
          line,
          "evmChainID",
          `is ${job.evmChainId}, but this node serves chain ${settings.CHAIN_ID}`,
        );
      }
      return job;
    } catch (error) {
      throw error instanceof SpecError ? error.inFile(file) : error;
    }
  });
  const twice = jobs.find(
    (job, index) => jobs.findIndex((other) => other.externalJobId === job.externalJobId) !== index,
  );
  if (twice !== undefined) throw new BijuliError("bad-jobs", `two jobs have the externalJobID ${twice.externalJobId}`);
  return jobs;
}
