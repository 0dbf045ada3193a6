import { setTimeout as sleep } from "node:timers/promises";
import { explain } from "@bijuli/protocol";
import type { Pipeline, PipelineTask } from "./pipeline.ts";
import { RetryableError, type TaskContext } from "./task.ts";
import { badInput, toJson, type Value, type ValueMap } from "./value.ts";

/** What one task came to. */
export interface TaskResult {
  id: string;
  type: string;
  value: Value;
  attempts: number;
  startedAt: number;
  finishedAt: number;
}

export interface PipelineResult {
  tasks: TaskResult[];
  /** The first error among the last tasks, or the one that ended the run early. */
  error: Error | undefined;
}

export interface RunOptions {
  context: TaskContext;
  /** jobRun, jobSpec: what the tasks may look up besides one another. */
  variables: ValueMap;
  signal: AbortSignal;
  /** ms that no task may take longer than; 0 or absent: no limit. */
  maxTaskMs?: number;
  /** Told of each failed attempt of a task, also of those that are tried again. */
  onFailure?(task: PipelineTask, attempt: number, error: Error, retryInMs: number | undefined): void;
  /** Told of each finished task. */
  onTask?(task: PipelineTask, result: TaskResult): void;
}

/**
 * Runs a pipeline as Chainlink's scheduler.go does: a task starts as soon as all before it (and all that it names) are done, branches in parallel;
 * a failed task's error is what the next ones see, unless it is `failEarly`; a failure that may pass is tried again, `retries`
 * attempts in all, waiting minBackoff · 2^n up to maxBackoff.
 */
export async function runPipeline(pipeline: Pipeline, options: RunOptions): Promise<PipelineResult> {
  const results = new Map<string, TaskResult>();
  const variables: Record<string, Value> = { ...options.variables };
  const early = new AbortController();
  const signal = AbortSignal.any([options.signal, early.signal]);
  let earlyError: Error | undefined;
  const started = new Map<string, Promise<void>>();

  const start = (task: PipelineTask): Promise<void> => {
    const known = started.get(task.id);
    if (known !== undefined) return known;
    const promise = (async () => {
      await Promise.all(
        [...task.inputs, ...task.awaits].map((id) => start(pipeline.find((other) => other.id === id)!)),
      );
      if (earlyError !== undefined) return;
      const inputs = pipeline
        .filter((other) => task.inputs.includes(other.id))
        .sort((a, b) => a.index - b.index)
        .map((other) => results.get(other.id)!.value);
      const result = await attempt(task, inputs, { ...variables }, signal, options);
      results.set(task.id, result);
      variables[task.id] = result.value;
      options.onTask?.(task, result);
      if (result.value instanceof Error && task.failEarly && earlyError === undefined) {
        earlyError = badInput(`task ${task.id}`, result.value);
        early.abort(earlyError);
      }
    })();
    started.set(task.id, promise);
    return promise;
  };

  await Promise.all(pipeline.map(start));
  options.signal.throwIfAborted();
  const last = pipeline.filter((task) => task.outputs.length === 0);
  const failed = last.find((task) => results.get(task.id)?.value instanceof Error);
  return {
    tasks: pipeline.flatMap((task) => results.get(task.id) ?? []),
    error: earlyError ?? (failed && rootFailure(pipeline, results, failed)),
  };
}

/** The failure nearest to the start of the branch that failed: what an operator has to look at. */
function rootFailure(pipeline: Pipeline, results: Map<string, TaskResult>, task: PipelineTask): Error {
  const before = [...task.inputs, ...task.awaits]
    .map((id) => pipeline.find((other) => other.id === id)!)
    .find((other) => results.get(other.id)?.value instanceof Error);
  if (before !== undefined) return rootFailure(pipeline, results, before);
  return badInput(`task ${task.id}`, results.get(task.id)!.value);
}

async function attempt(
  task: PipelineTask,
  inputs: readonly Value[],
  variables: ValueMap,
  signal: AbortSignal,
  options: RunOptions,
): Promise<TaskResult> {
  const startedAt = Date.now();
  for (let attempts = 1; ; attempts++) {
    const value = await once(task, inputs, variables, signal, options);
    if (!(value instanceof Error)) {
      return { id: task.id, type: task.type, value, attempts, startedAt, finishedAt: Date.now() };
    }
    const again = value instanceof RetryableError && attempts < task.retries && !signal.aborted;
    const wait = again ? backoff(task, attempts - 1) : undefined;
    options.onFailure?.(task, attempts, value, wait);
    if (wait !== undefined) {
      try {
        await sleep(wait, undefined, { signal });
        continue;
      } catch {
        // The run ended while this task waited for its next attempt.
      }
    }
    return { id: task.id, type: task.type, value, attempts, startedAt, finishedAt: Date.now() };
  }
}

/** min · 2^n, at most max. */
function backoff(task: PipelineTask, n: number): number {
  return Math.min(task.minBackoffMs * 2 ** Math.min(n, 40), task.maxBackoffMs);
}

async function once(
  task: PipelineTask,
  inputs: readonly Value[],
  variables: ValueMap,
  signal: AbortSignal,
  { context, maxTaskMs = 0 }: RunOptions,
): Promise<Value> {
  const limits = task.behaviour.inputs;
  if (limits !== undefined && inputs.length < limits.min) {
    return badInput(`${task.type} wants at least ${limits.min} inputs`);
  }
  const ownMs = task.timeoutMs ?? (isHttp(task.type) ? context.http.timeoutMs : 0);
  const timeoutMs = ownMs > 0 && maxTaskMs > 0 ? Math.min(ownMs, maxTaskMs) : Math.max(ownMs, maxTaskMs);
  const timeout = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
  const combined = timeout === undefined ? signal : AbortSignal.any([signal, timeout]);
  try {
    const value = await task.behaviour.run({
      id: task.id,
      attributes: task.attributes,
      variables,
      inputs,
      context,
      signal: combined,
    });
    return value;
  } catch (error) {
    if (timeout?.aborted) return new RetryableError(`timed out after ${timeoutMs} ms`, { cause: error });
    return error instanceof Error ? error : new Error(String(error));
  }
}

function isHttp(type: string): boolean {
  return type === "bridge" || type === "http";
}

/** A run's tasks as the JSON that is kept and shown; long values are cut. */
export function showTasks(tasks: readonly TaskResult[], maxLength = 1_000): Record<string, unknown>[] {
  return tasks.map(({ id, type, value, attempts, startedAt, finishedAt }) => {
    const common = { id, type, attempts, startedAt, finishedAt };
    if (value instanceof Error) return { ...common, error: explain(value) };
    const output = toJson(value, "hex");
    return { ...common, output: output.length <= maxLength ? output : `${output.slice(0, maxLength)}…` };
  });
}
