import { BijuliError, explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { blockRoots } from "./chain/block-roots.ts";
import { runVariables } from "./chain/requests.ts";
import type { JsonRpc } from "./chain/rpc.ts";
import type { NodeMetrics } from "./metrics.ts";
import { runPipeline, showTasks } from "./pipeline/run.ts";
import { type HttpLimits, Suspended, type TransactionRequest } from "./pipeline/task.ts";
import type { Job } from "./spec/job.ts";
import type { AwaitedStore } from "./state/awaited-store.ts";
import type { BuiltCall, Run } from "./state/run.ts";

/** Where what an attempt came to is written down. */
export interface AttemptRecord {
  /** The callback is built. */
  ready(run: Run, call: BuiltCall, tasks: unknown): Promise<void>;
  /** `attempted`: the attempt is over; else it goes on, and this is what it now waits for. */
  failing(run: Run, cause: string, tasks: unknown, attempted: boolean): Promise<void>;
  abandoned(run: Run, cause: string): Promise<void>;
}

export interface AttemptOptions {
  rpc: JsonRpc;
  bridges: ReadonlyMap<string, URL>;
  http: HttpLimits;
  awaited: AwaitedStore;
  /** Where an adapter sends what it answers later, with the id behind it. */
  responseUrl: URL | undefined;
  /** Real ms for which a failing run is tried again. */
  retryForMs: number;
  record: AttemptRecord;
  metrics: NodeMetrics;
  stopping: AbortSignal;
  logger: Logger;
}

/** Runs pipelines: one attempt of one run at a time. */
export class Attempts {
  readonly #options: AttemptOptions;

  constructor(options: AttemptOptions) {
    this.#options = options;
  }

  /**
   * Runs a request's pipeline once.
   * @throws BijuliError when it is to be tried again
   */
  async run(run: Run, job: Job): Promise<void> {
    const { metrics, record } = this.#options;
    const startedAt = Date.now();
    let request: TransactionRequest | undefined;
    let lastNoted = "";
    const labels = { job_id: job.externalJobId, job_name: job.name };
    const logger = this.#options.logger.child({ run: run.id, request: run.requestId });
    const result = await runPipeline(job.pipeline, {
      context: {
        rpc: this.#options.rpc,
        bridges: this.#options.bridges,
        http: this.#options.http,
        awaited: {
          slot: async (task) => {
            const slot = await this.#options.awaited.slot(run.id, task);
            return { ...slot, url: resumeUrl(this.#options.responseUrl, slot.id) };
          },
          pending: (id) => this.#options.awaited.pending(id),
        },
        transact(asked) {
          if (request !== undefined) throw new BijuliError("bad-spec", "a job may send one transaction");
          request = asked;
        },
        logger,
      },
      variables: runVariables(run, job, await blockRoots(run, job, this.#options.rpc)),
      signal: this.#options.stopping,
      maxTaskMs: job.maxTaskDurationMs,
      onFailure: (task, attempt, error, retryInMs) => {
        const cause = `task ${task.id}: ${explain(error)}`;
        if (task.type === "bridge") metrics.bridgeErrors.inc({ name: task.attributes.name ?? "" });
        if (retryInMs === undefined) return;
        // Shown while it is tried again, but not written down each time.
        if (cause !== lastNoted) {
          lastNoted = cause;
          logger.warn({ task: task.id, attempt, cause, retryInMs }, "a task failed: it is tried again");
          void record.failing(run, cause, undefined, false).catch(() => {});
        }
      },
      onTask: (task, done) => {
        const seconds = (done.finishedAt - done.startedAt) / 1000;
        const of = { ...labels, task_id: task.id, task_type: task.type };
        metrics.taskTime.set(of, seconds * 1e9);
        metrics.tasksFinished.inc({ ...of, status: done.value instanceof Error ? "error" : "completed" });
        if (task.type === "bridge") metrics.bridgeLatency.set({ name: task.attributes.name ?? "" }, seconds);
      },
    });
    const tasks = showTasks(result.tasks);
    const suspended = result.tasks.find(({ value }) => value instanceof Suspended);
    if (suspended !== undefined) {
      const cause = `task ${suspended.id}: ${explain(suspended.value)}`;
      if (run.cause !== cause) await record.failing(run, cause, tasks, false);
      throw new BijuliError("suspended", cause);
    }
    // What was used is used up: another attempt asks anew.
    if (job.async) await this.#options.awaited.clear(run.id);
    metrics.runTime.set(labels, (Date.now() - startedAt) * 1e6);
    if (result.error === undefined && request !== undefined) {
      const { to, data, gasLimit, from, minConfirmations, failOnRevert } = request;
      const call = { to, data, gasLimit: gasLimit?.toString(), from, minConfirmations, failOnRevert };
      await record.ready(run, call, tasks);
      return;
    }
    const cause = result.error === undefined ? "the pipeline sent no transaction" : explain(result.error);
    metrics.runErrors.inc(labels);
    logger.warn({ cause, attempt: run.attempts + 1 }, "a run failed");
    await record.failing(run, cause, tasks, true);
    const failingFor = Date.now() - (run.failingSince ?? Date.now());
    if (failingFor > this.#options.retryForMs) {
      await record.abandoned(run, `given up after ${Math.round(failingFor / 1000)} s: ${cause}`);
      return;
    }
    throw new BijuliError("run-failed", cause);
  }
}

/** As Chainlink's BridgeResponseURL, with the task run's id. */
function resumeUrl(base: URL | undefined, id: string): string {
  if (base === undefined) return "";
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v2/resume/${id}`;
  return url.href;
}
