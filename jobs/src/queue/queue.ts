import { setTimeout as sleep } from "node:timers/promises";
import { explain } from "@bijuli/protocol";
import { createPostgresBackend, Queue, runMigrations, Worker } from "bullmq";
import type { Logger } from "pino";
import type { Database } from "../state/database.ts";
import { connectRedis, type RedisConnection } from "./redis.ts";

/** How often a queue that complained is asked whether it works again. */
const RECOVERY_MS = 500;

/** Does the work of one job. What it throws has the job tried again. */
export type Work = (runId: string) => Promise<void>;

export interface QueueOptions {
  name: string;
  /** redis://… (see redis.ts), or undefined: the queue lies in the database. */
  redisUrl: string | undefined;
  database: Database;
  concurrency: number;
  retryMinMs: number;
  retryMaxMs: number;
  logger: Logger;
}

/**
 * BullMQ's queue of pipeline runs: one job a run. It holds nothing that is not in the state as well: what is lost in it is
 * put in again.
 */
export class RunQueue {
  readonly queue: Queue;
  readonly #worker: Worker;
  readonly #redis: RedisConnection | undefined;
  /** Runs whose work is under way in this process. */
  readonly #active: ReadonlySet<string>;
  /** What the queue last complained of, until it works again. */
  problem: string | undefined;
  #recovering = false;
  #closed = false;

  private constructor(
    queue: Queue,
    worker: Worker,
    redis: RedisConnection | undefined,
    active: ReadonlySet<string>,
    logger: Logger,
  ) {
    this.queue = queue;
    this.#worker = worker;
    this.#redis = redis;
    this.#active = active;
    const complain = (error: Error) => {
      const said = explain(error);
      if (said !== this.problem) logger.warn({ cause: said }, "the queue has a problem");
      this.problem = said;
      void this.#recover();
    };
    queue.on("error", complain);
    worker.on("error", complain);
    worker.on("active", () => {
      this.problem = undefined;
    });
  }

  /** Asks the queue until it answers again: with no work about, nothing else would take a complaint back. */
  async #recover(): Promise<void> {
    if (this.#recovering) return;
    this.#recovering = true;
    while (this.problem !== undefined && !this.#closed) {
      await sleep(RECOVERY_MS, undefined, { ref: false });
      try {
        await this.queue.getJobCounts("waiting");
        this.problem = undefined;
      } catch {
        // it complained already
      }
    }
    this.#recovering = false;
  }

  static async open(options: QueueOptions, work: Work): Promise<RunQueue> {
    let redis: RedisConnection | undefined;
    if (options.redisUrl !== undefined) {
      redis = await connectRedis(options.redisUrl);
    } else {
      const client = await options.database.queuePool.connect();
      try {
        await runMigrations(client as never);
      } finally {
        client.release();
      }
    }
    const connection = (redis?.client ?? options.database.queuePool) as never;
    const backend = redis === undefined ? (createPostgresBackend as never) : undefined;
    const prefix = redis === undefined ? {} : { prefix: redis.prefix };
    const queue = new Queue(options.name, { connection, ...prefix, skipMetasUpdate: false } as never, backend);
    // Only this process uses an embedded queue: what an earlier one left locked is not waited for.
    if (redis === undefined && options.database.kind === "embedded") await queue.obliterate({ force: true });
    const active = new Set<string>();
    const worker = new Worker(
      options.name,
      async (job) => {
        const id = String((job.data as { run: string }).run);
        active.add(id);
        try {
          await work(id);
        } finally {
          active.delete(id);
        }
      },
      {
        connection,
        ...prefix,
        concurrency: options.concurrency,
        lockDuration: 15_000,
        stalledInterval: 10_000,
        maxStalledCount: 1_000_000,
        drainDelay: 5,
        autorun: false,
        settings: {
          backoffStrategy: (attempts: number) =>
            Math.min(options.retryMinMs * 2 ** Math.min(attempts - 1, 30), options.retryMaxMs),
        },
      } as never,
      backend,
    );
    const opened = new RunQueue(queue, worker, redis, active, options.logger);
    await queue.waitUntilReady();
    await worker.waitUntilReady();
    worker.run().catch((error: unknown) => options.logger.error({ cause: explain(error) }, "the worker ended"));
    return opened;
  }

  /** Puts runs in. A run that is in already stays as it is. */
  async add(runIds: readonly string[], delayMs = 0): Promise<void> {
    if (runIds.length === 0) return;
    await this.queue.addBulk(
      runIds.map((run) => ({
        name: "run",
        data: { run },
        opts: {
          jobId: run,
          attempts: 1_000_000_000,
          backoff: { type: "custom" },
          removeOnComplete: true,
          removeOnFail: true,
          ...(delayMs > 0 ? { delay: delayMs } : {}),
        },
      })),
    );
  }

  /** Whether a run's work is under way here or its job is in the queue. */
  async holds(runId: string): Promise<boolean> {
    return this.#active.has(runId) || (await this.queue.getJob(runId)) !== undefined;
  }

  /** Has a waiting retry done now. */
  async promote(runId: string): Promise<void> {
    const job = await this.queue.getJob(runId);
    if (job === undefined) await this.add([runId]);
    else await job.promote().catch(() => {}); // it is not waiting: it runs
  }

  async counts(): Promise<Record<string, number>> {
    return await this.queue.getJobCounts("waiting", "active", "delayed");
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker.close();
    await this.queue.close();
    await this.#redis?.client.quit().catch(() => {});
  }
}
