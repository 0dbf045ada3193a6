import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { ARRIVAL_TOPICS, type Arrivals } from "./arrivals.ts";
import type { ChainClock } from "./chain/chain-clock.ts";
import { knownFeeders, logsOver } from "./chain/feeders.ts";
import { type HeadSubscription, subscribeHeads } from "./chain/head-subscription.ts";
import { Intake } from "./chain/intake.ts";
import type { RpcClient } from "./chain/rpc.ts";
import { type Head, headOf, type RpcBlock } from "./chain/types.ts";
import type { Balances } from "./delivery/balances.ts";
import type { Delivery } from "./delivery/delivery.ts";
import { FOREIGN } from "./delivery/foreign.ts";
import type { Sent, TransactionEvents, TransactionManager } from "./delivery/transactions.ts";
import type { NodeMetrics } from "./metrics.ts";
import { OPENING, type Opener } from "./opener.ts";
import type { RunQueue } from "./queue/queue.ts";
import type { NodeSettings } from "./settings.ts";
import { REPEAT, type Silence } from "./silence.ts";
import type { Job } from "./spec/job.ts";
import type { Run } from "./state/run.ts";
import type { Store } from "./state/store.ts";

/** How often runs whose job the queue lost are looked for. */
const SWEEP_MS = 5_000;
const BALANCE_EVERY_MS = 15_000;
const PRUNE_EVERY_MS = 3_600_000;
/** A chain that stands still for longer than this is a problem, whoever's it is. */
const QUIET_MS = 120_000;
/** Parts of a log range that is read once, at a start. */
const LONG_RANGE = 10_000;
/** How far back a start looks for requests that nobody serves: what is older was given up by all. */
const RECENT_BLOCKS = 5_000;

export interface LeaderParts {
  settings: NodeSettings;
  jobs: ReadonlyMap<string, Job>;
  rpc: RpcClient;
  store: Store;
  queue: RunQueue;
  /** Others may run pipelines of this database. */
  shared: boolean;
  transactions: TransactionManager;
  delivery: Delivery;
  arrivals: Arrivals;
  opener: Opener | undefined;
  silence: Silence | undefined;
  balances: Balances;
  clock: ChainClock;
  metrics: NodeMetrics;
  enqueue(runs: readonly Run[], delayMs?: number): Promise<void>;
  /** Takes over what others wrote down about runs. */
  refresh(ids: readonly string[]): Promise<void>;
  logger: Logger;
}

/** What only one process does: it follows the chain, keeps the order, sends, opens and heals. */
export class Leader {
  readonly #parts: LeaderParts;
  readonly #chain: { evmChainID: string };
  #intake: Intake | undefined;
  #subscription: HeadSubscription | undefined;
  #timers: NodeJS.Timeout[] = [];
  #queueProblem: string | undefined;

  constructor(parts: LeaderParts) {
    this.#parts = parts;
    this.#chain = { evmChainID: String(parts.settings.CHAIN_ID) };
  }

  async start(): Promise<void> {
    const { settings, rpc, store, arrivals, delivery, transactions, opener, silence, balances, logger } = this.#parts;
    const head = headOf(await rpc.call<RpcBlock>("eth_getBlockByNumber", ["latest", false]));
    const position = (await store.position())?.number;
    const oldest = (position ?? head.number) - settings.REORG_DEPTH;
    // What the chain took back while no process watched; then the lines as they stand; only then transactions, whose
    // outcomes look for their runs.
    await arrivals.dropOrphans(oldest);
    const open = await store.runs.open();
    delivery.add(open);
    for (const transaction of await store.transactions.open()) {
      if (transaction.state !== "unconfirmed") continue;
      opener?.adopt(transaction);
      silence?.adopt(transaction);
      delivery.adopt(transaction);
    }
    opener?.start();
    await transactions.start(this.#transactionEvents(), head);
    await this.#recheckForeign(oldest);
    delivery.start();
    await this.#parts.enqueue(delivery.pending());
    await this.#findMarket(position ?? head.number);
    await this.#follow(position, head.number);
    this.#timers.push(
      setInterval(() => void this.#sweep(), SWEEP_MS),
      setInterval(() => void balances.look(), BALANCE_EVERY_MS),
      setInterval(
        () => void store.history.prune(Date.now() - settings.RETENTION_DAYS * 86_400_000).catch(() => {}),
        PRUNE_EVERY_MS,
      ),
    );
    for (const timer of this.#timers) timer.unref();
    await balances.look();
    logger.info(
      {
        jobs: [...this.#parts.jobs.values()].map(({ name }) => name),
        senders: transactions.addresses,
        position: this.#intake?.position,
        openRuns: open.length,
      },
      "the node runs",
    );
  }

  /** Takes no more of the chain in. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#subscription?.close();
    await this.#intake?.stop();
    await this.#parts.opener?.stop();
    await this.#parts.silence?.stop();
  }

  /** Reads blocks from `number` on again. */
  replay(number: number): void {
    this.#intake?.rewind(number);
  }

  problems(): string[] {
    const { clock, transactions, opener, silence, balances } = this.#parts;
    const quietMs = this.#intake?.quietMs ?? 0;
    const about = (part: string, problem: string | undefined) => (problem === undefined ? [] : [`${part}: ${problem}`]);
    return [
      ...about("chain", this.#intake?.problem),
      ...(quietMs > QUIET_MS ? [`chain: no new block for ${Math.round(quietMs / 1000)} s`] : []),
      ...about("clock", clock.problem),
      ...about("queue", this.#queueProblem),
      ...transactions.problems(),
      ...(opener?.problems() ?? []),
      ...(silence?.problems() ?? []),
      ...balances.problems(),
    ];
  }

  describe(): Record<string, unknown> {
    const head = this.#intake?.head;
    return {
      head: head && { number: head.number, hash: head.hash, timestamp: head.timestamp.toString() },
      position: this.#intake?.position,
      subscription: this.#subscription?.connected,
      unconfirmedTransactions: this.#parts.transactions.inFlight(),
      senders: this.#parts.balances.describe(),
      openings: this.#parts.opener?.describe() ?? [],
      silent: this.#parts.silence?.describe() ?? [],
    };
  }

  /** Who hears of a transaction: it is an opening's, a repeated request's, or a delivery's. */
  #transactionEvents(): TransactionEvents {
    const { delivery, opener, silence, metrics } = this.#parts;
    const other = (sent: Sent) =>
      sent.purpose === OPENING ? (opener ?? null) : sent.purpose === REPEAT ? (silence ?? null) : undefined;
    return {
      mined: async (sent, receipt) => {
        metrics.confirmed.inc({ ...this.#chain, purpose: sent.purpose });
        const part = other(sent);
        return part === undefined ? await delivery.mined(sent, receipt) : await part?.mined(sent, receipt);
      },
      awaits: (sent) => other(sent) === undefined && delivery.awaits(sent),
      unmined: async (sent) => {
        const part = other(sent);
        if (part === undefined) await delivery.unmined(sent);
        else part?.unmined(sent);
      },
      stale: async (sent) => other(sent) === undefined && (await delivery.stale(sent)),
      lost: async (sent) => {
        const part = other(sent);
        if (part === undefined) await delivery.lost(sent);
        else part?.lost(sent);
      },
    };
  }

  /** What the market announced before the blocks that are read now. */
  async #findMarket(to: number): Promise<void> {
    const { settings, rpc, opener, silence } = this.#parts;
    const market = settings.MARKET_ADDRESS?.toLowerCase();
    if (market === undefined) return;
    const range = { from: settings.START_BLOCK ?? 0, to, step: LONG_RANGE };
    if (opener !== undefined && (settings.OPEN_FEEDERS ?? "all") === "all") {
      for (const feeder of await knownFeeders(rpc, market, range)) opener.discovered(feeder);
    }
    if (silence !== undefined) {
      const recent = { ...range, from: Math.max(range.from, to - RECENT_BLOCKS) };
      for (const log of await logsOver(rpc, silence.filter, recent)) silence.requested(log);
    }
  }

  async #follow(after: number | undefined, head: number): Promise<void> {
    const { settings, rpc, store, arrivals, jobs, logger } = this.#parts;
    const operators = [...new Set([...jobs.values()].map((job) => job.contractAddress))];
    const market = settings.MARKET_ADDRESS?.toLowerCase();
    const intake = new Intake(
      {
        rpc,
        addresses: market === undefined ? operators : [...operators, market],
        topics: ARRIVAL_TOPICS,
        pollMs: settings.POLL_INTERVAL_MS,
        reorgDepth: settings.REORG_DEPTH,
        logRange: settings.LOG_RANGE,
        logger,
      },
      {
        logs: (logs) => arrivals.take(logs),
        reorg: (ancestor) => this.#onReorg(ancestor),
        head: (at) => this.#onHead(at),
        position: (number, hash) => store.setPosition(number, hash),
      },
    );
    this.#intake = intake;
    const sockets = [...(settings.RPC_WS_URL ?? []), ...settings.RPC_URL.filter((url) => /^wss?:/.test(url))];
    if (sockets.length > 0) this.#subscription = subscribeHeads(sockets, () => intake.wake(), logger);
    await intake.start(after, settings.START_BLOCK ?? (after === undefined ? head : 0));
  }

  async #onReorg(ancestor: number): Promise<void> {
    this.#parts.metrics.reorgs.inc();
    await this.#parts.arrivals.dropOrphans(ancestor + 1);
    await this.#parts.transactions.onReorg(ancestor);
    await this.#recheckForeign(ancestor);
  }

  async #recheckForeign(number: number): Promise<void> {
    const { settings, store, delivery } = this.#parts;
    // Such a run's request lies below its delivery, and so perhaps below the reorg as well.
    const from = Math.max(number - settings.REORG_DEPTH, 0);
    await delivery.recheckForeign(await store.runs.deliveredBecause(FOREIGN, from));
  }

  async #onHead(head: Head): Promise<void> {
    const { settings, clock, delivery, transactions, opener, silence, metrics } = this.#parts;
    metrics.currentHead.set(this.#chain, head.number);
    clock.onHead(head);
    this.#subscription?.found();
    const begun = await delivery.onHead(
      head,
      (job) => job.minIncomingConfirmations ?? settings.MIN_INCOMING_CONFIRMATIONS,
    );
    await this.#parts.enqueue(begun);
    await transactions.onHead(head);
    opener?.onHead(head);
    silence?.onHead(head);
    metrics.unconfirmed.set(this.#chain, transactions.inFlight());
    metrics.open.set(delivery.size);
  }

  /** Puts runs into the queue whose job it lost. */
  async #sweep(): Promise<void> {
    const { shared, store, delivery, queue, logger } = this.#parts;
    try {
      if (shared) {
        const ids = delivery.pending().map((run) => run.id);
        await this.#parts.refresh(await store.runs.movedOn(ids));
      }
      for (const run of delivery.pending().slice(0, 200)) {
        if (!(await queue.holds(run.id)) && delivery.get(run.id)?.state === "pending") {
          logger.warn({ run: run.id }, "the queue lost a run: it is put in again");
          await queue.add([run.id]);
        }
      }
      this.#queueProblem = undefined;
    } catch (error) {
      this.#queueProblem = explain(error);
    }
  }
}
