import { BijuliError, explain, openClock } from "@bijuli/protocol";
import type { Logger } from "pino";
import { Arrivals } from "./arrivals.ts";
import { Attempts } from "./attempts.ts";
import { ChainClock } from "./chain/chain-clock.ts";
import { RpcClient } from "./chain/rpc.ts";
import { Balances } from "./delivery/balances.ts";
import { Delivery } from "./delivery/delivery.ts";
import { forwarding } from "./delivery/forwarder.ts";
import type { SendingKey } from "./delivery/keys.ts";
import { TransactionManager } from "./delivery/transactions.ts";
import { Leader } from "./leader.ts";
import { NodeMetrics } from "./metrics.ts";
import { Opener } from "./opener.ts";
import { RunQueue } from "./queue/queue.ts";
import { type Places, placesOf } from "./queue/queue-url.ts";
import type { NodeSettings } from "./settings.ts";
import { Silence } from "./silence.ts";
import type { Job } from "./spec/job.ts";
import { AwaitedStore, type LateAnswer } from "./state/awaited-store.ts";
import { type Database, openDatabase } from "./state/database.ts";
import { type Leadership, sharedLeadership, soleLeadership } from "./state/leadership.ts";
import { migrate } from "./state/migrations.ts";
import { FINISHED, type Run } from "./state/run.ts";
import type { RunChange } from "./state/run-store.ts";
import { Store } from "./state/store.ts";

/** The oracle node: its parts, started and stopped in the right order. */
export class OracleNode {
  readonly settings: NodeSettings;
  readonly jobs: ReadonlyMap<string, Job>;
  readonly metrics = new NodeMetrics();
  readonly #keys: readonly SendingKey[];
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  readonly #clock: ChainClock;
  #database!: Database;
  #rpc!: RpcClient;
  store!: Store;
  queue!: RunQueue;
  #awaited!: AwaitedStore;
  #attempts!: Attempts;
  #transactions!: TransactionManager;
  #delivery!: Delivery;
  #arrivals!: Arrivals;
  #balances!: Balances;
  #opener: Opener | undefined;
  #silence: Silence | undefined;
  #leader: Leader | undefined;
  #ready = false;
  #leadership!: Leadership;
  #leads = false;
  /** Settles with what ends this process: the loss of its leadership. */
  readonly failed = Promise.withResolvers<never>();

  constructor(settings: NodeSettings, jobs: readonly Job[], keys: readonly SendingKey[], logger: Logger) {
    this.settings = settings;
    this.#keys = keys;
    this.#logger = logger;
    this.#clock = new ChainClock(openClock(settings.BIJULI_CLOCK), settings.CLOCK_TOLERANCE_SECONDS * 1000);
    this.jobs = new Map(jobs.map((job) => [job.externalJobId, job]));
    this.failed.promise.catch(() => {}); // whoever waits for it hears of it
  }

  get ready(): boolean {
    return this.#ready;
  }

  async start(): Promise<void> {
    const { settings } = this;
    const places = placesOf(settings);
    this.#rpc = new RpcClient(settings.RPC_URL, settings.RPC_TIMEOUT_MS);
    await this.#checkChain();
    this.#database = await openDatabase(places.folder, places.databaseUrl);
    try {
      await migrate(this.#database);
      this.#build();
      await this.#begin(places);
    } catch (error) {
      await this.#database.close().catch(() => {});
      throw error;
    }
  }

  /** The parts, which do nothing yet. */
  #build(): void {
    const { settings } = this;
    const logger = this.#logger;
    const rpc = this.#rpc;
    const market = settings.MARKET_ADDRESS?.toLowerCase();
    this.store = new Store(this.#database, settings.CHAIN_ID);
    this.#awaited = new AwaitedStore(this.#database);
    this.#transactions = new TransactionManager({
      rpc,
      store: this.store.transactions,
      chainId: settings.CHAIN_ID,
      keys: this.#keys,
      fees: {
        tip: settings.TIP_WEI,
        maxFee: settings.MAX_FEE_WEI,
        bumpAfter: settings.BUMP_AFTER_BLOCKS,
        bumpPercent: BigInt(settings.BUMP_PERCENT),
      },
      finalityDepth: settings.REORG_DEPTH,
      logger,
    });
    this.#balances = new Balances({
      rpc,
      addresses: this.#transactions.addresses,
      least: settings.MIN_BALANCE_WEI,
      metrics: this.metrics,
      chainId: settings.CHAIN_ID,
    });
    const retry = { retryMinMs: settings.RETRY_MIN_MS, retryMaxMs: settings.RETRY_MAX_MS };
    const maxGasLimit = BigInt(settings.MAX_GAS_LIMIT);
    this.#delivery = new Delivery({
      store: this.store.runs,
      transactions: this.#transactions,
      rpc,
      jobs: this.jobs,
      defaultGasLimit: BigInt(settings.GAS_LIMIT),
      maxGasLimit,
      maxInFlight: settings.MAX_IN_FLIGHT,
      confirmations: { otherwise: settings.MIN_OUTGOING_CONFIRMATIONS, most: settings.REORG_DEPTH },
      forward: forwarding(settings.FORWARDER),
      ...retry,
      rerun: (run, delayMs) => this.#enqueue([run], delayMs),
      finished: (run, outcome, block) => this.#finished(run, outcome, block),
      logger,
    });
    this.#arrivals = new Arrivals(
      {
        rpc,
        store: this.store.runs,
        jobs: this.jobs,
        policy: { chainId: settings.CHAIN_ID, minContractPayment: settings.MIN_CONTRACT_PAYMENT_JUELS },
        market,
        news: {
          feederCreated: (feeder) => this.#opener?.discovered(feeder),
          lotsOpened: (feeder) => this.#opener?.opened(feeder),
          stageRequested: (log) => this.#silence?.requested(log),
        },
        metrics: this.metrics,
        logger,
      },
      this.#delivery,
    );
    this.#attempts = new Attempts({
      rpc,
      bridges: new Map(Object.entries(settings.BRIDGES).map(([name, url]) => [name.toLowerCase(), new URL(url)])),
      http: {
        timeoutMs: settings.HTTP_TIMEOUT_MS,
        maxBytes: settings.HTTP_MAX_BYTES,
        allowUnrestricted: settings.HTTP_ALLOW_UNRESTRICTED,
      },
      awaited: this.#awaited,
      responseUrl: settings.BRIDGE_RESPONSE_URL === undefined ? undefined : new URL(settings.BRIDGE_RESPONSE_URL),
      retryForMs: settings.RETRY_FOR_SECONDS * 1000,
      record: {
        ready: (run, call, tasks) =>
          this.#leads
            ? this.#delivery.ready(run.id, call, tasks)
            : this.#changeElsewhere({ id: run.id, state: "ready", call, tasks, attempted: true }),
        failing: (run, cause, tasks, attempted) => this.#noteFailure(run, cause, tasks, attempted),
        abandoned: (run, cause) =>
          this.#leads
            ? this.#delivery.end(run.id, "abandoned", cause)
            : this.#changeElsewhere({ id: run.id, state: "abandoned", cause }),
      },
      metrics: this.metrics,
      stopping: this.#stopping.signal,
      logger,
    });
    if (market !== undefined && settings.OPEN_FEEDERS !== "none") {
      const feeders = settings.OPEN_FEEDERS ?? "all";
      this.#opener = new Opener({
        rpc,
        transactions: this.#transactions,
        market,
        feeders,
        maxGasLimit,
        ...retry,
        logger,
      });
    }
    if (market !== undefined && settings.HEAL_SILENT !== "off") {
      this.#silence = new Silence({
        rpc,
        transactions: this.#transactions,
        market,
        mode: settings.HEAL_SILENT,
        patienceMs: settings.HEAL_AFTER_SECONDS * 1000,
        maxGasLimit,
        ...retry,
        job: this.#healingJob(),
        takeOver: (log, job, stage) => this.#arrivals.takeOver(log, job, stage),
        logger,
      });
    }
  }

  async #begin({ databaseUrl, redisUrl }: Places): Promise<void> {
    const { settings } = this;
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
    const led = this.#leadership.acquire(this.#stopping.signal).then(() => this.#lead(databaseUrl !== undefined));
    if (databaseUrl === undefined) await led;
    else led.catch((error: unknown) => this.#stopping.signal.aborted || this.failed.reject(error));
    this.#ready = true;
  }

  #lead(shared: boolean): Promise<void> {
    this.#leads = true;
    this.#leader = new Leader({
      settings: this.settings,
      jobs: this.jobs,
      rpc: this.#rpc,
      store: this.store,
      queue: this.queue,
      shared,
      transactions: this.#transactions,
      delivery: this.#delivery,
      arrivals: this.#arrivals,
      opener: this.#opener,
      silence: this.#silence,
      balances: this.#balances,
      clock: this.#clock,
      metrics: this.metrics,
      enqueue: (runs, delayMs) => this.#enqueue(runs, delayMs),
      refresh: (ids) => this.#refresh(ids),
      logger: this.#logger,
    });
    return this.#leader.start();
  }

  /** Lets what is under way come to a point from which it goes on later, and closes everything. */
  async stop(): Promise<void> {
    this.#ready = false;
    this.#stopping.abort(new BijuliError("stopping", "the node stops"));
    await this.#leader?.stop();
    await this.queue?.close();
    await this.#delivery?.stop();
    await this.#transactions?.idle();
    await this.#leadership?.release();
    await this.#database?.close();
    this.#rpc?.close();
  }

  /** Everything that is wrong, by part; empty: all is well. */
  health(): { problems: string[]; checks: Record<string, unknown> } {
    const queue = this.queue?.problem;
    return {
      problems: [
        ...(this.#ready ? [] : ["the node is starting"]),
        ...(queue === undefined ? [] : [`queue: ${queue}`]),
        ...(this.#leader?.problems() ?? []),
      ],
      checks: {
        leads: this.#leads,
        openRuns: this.#delivery?.size ?? 0,
        failingRuns: (this.#delivery?.all() ?? [])
          .filter((run) => run.failingSince !== undefined)
          .slice(0, 20)
          .map(({ id, group, state, attempts, cause }) => ({ run: id, group, state, attempts, cause })),
        ...this.#leader?.describe(),
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
    const run = await this.store.runs.get(id);
    if (run === undefined) throw new BijuliError("unknown-run", `there is no run ${id}`);
    if (!["abandoned", "callback-failed", "quarantined", "rejected"].includes(run.state)) {
      throw new BijuliError("bad-state", `run ${id} is ${run.state}: it is not run again`);
    }
    const cause = "run again by the operator";
    const spent = run.state === "callback-failed" && run.stage !== undefined;
    const again: Run = { ...run, state: "pending", call: undefined, failingSince: undefined, cause };
    if (spent) again.stage = { ...run.stage!, submit: true };
    await this.store.runs.change([
      {
        id,
        state: "pending",
        call: null,
        cause,
        failingSince: null,
        ...(again.stage === undefined ? {} : { stage: again.stage }),
      },
    ]);
    if (!this.#leads) await this.#leadership.announce(id);
    else await this.#refresh([id]);
    return again;
  }

  /** An adapter's answer to an async bridge has come. */
  async resume(id: string, answer: LateAnswer): Promise<void> {
    const run = await this.#awaited.answer(id, answer);
    if (run === undefined) throw new BijuliError("unknown-run", `no task waits for the answer ${id}`);
    await this.queue.promote(run);
  }

  /** Reads blocks from `number` on again. */
  replay(number: number): void {
    if (this.#leader === undefined) throw new BijuliError("bad-state", "another process leads: ask that one");
    this.#leader.replay(number);
  }

  async #checkChain(): Promise<void> {
    const said = BigInt(await this.#rpc.call<string>("eth_chainId"));
    if (said !== this.settings.CHAIN_ID) {
      throw new BijuliError("wrong-chain", `CHAIN_ID is ${this.settings.CHAIN_ID}, but the RPC serves chain ${said}`, {
        remedy: "correct CHAIN_ID or RPC_URL",
      });
    }
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
    const run = this.#delivery.get(id) ?? (this.#leads ? undefined : await this.store.runs.get(id));
    const job = run && this.jobs.get(run.job);
    if (run === undefined || job === undefined || run.state !== "pending") return;
    await this.#attempts.run(run, job);
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
    if ((await this.store.runs.change([change], "pending")).size > 0) await this.#leadership.announce(change.id);
  }

  /** Takes over what was written down about runs by others. */
  async #refresh(ids: readonly string[]): Promise<void> {
    try {
      for (const id of ids) {
        const run = await this.store.runs.get(id);
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
        { remedy: "let its supervisor start it again" },
      ),
    );
  }

  /** The job that fetches records which another node was asked for. */
  #healingJob(): Job | undefined {
    const jobs = [...this.jobs.values()];
    const { HEAL_JOB } = this.settings;
    return HEAL_JOB === undefined
      ? jobs.length === 1
        ? jobs[0]
        : undefined
      : jobs.find((job) => job.name === HEAL_JOB || job.externalJobId === HEAL_JOB);
  }

  #finished(run: Run, outcome: string, block: number | undefined): void {
    if (outcome === "delivered" && run.stage !== undefined) this.#silence?.served(run.stage);
    this.metrics.outcomes.inc({ job_name: this.jobs.get(run.job)?.name ?? "", outcome });
    if (block !== undefined) this.metrics.blocksToDelivery.observe(block - run.blockNumber);
    const said = { run: run.id, request: run.requestId, group: run.group, outcome };
    if (outcome === "delivered") this.#logger.info({ ...said, block }, "delivered");
    else this.#logger.warn({ ...said, cause: run.cause }, "a run ended without delivery");
  }
}
