import type { Logger } from "pino";
import type { JsonRpc } from "../chain/rpc.ts";
import type { Value, ValueMap } from "./value.ts";

/** A transaction that an ethtx task asks for. What becomes of it is the delivery's work. */
export interface TransactionRequest {
  to: string;
  /** Calldata as hex. */
  data: string;
  gasLimit: bigint | undefined;
  /** Addresses that may send it; empty: any of the node's keys. */
  from: readonly string[];
  minConfirmations: number | undefined;
  failOnRevert: boolean;
}

/** What the tasks of a run may use of the node. */
export interface TaskContext {
  rpc: JsonRpc;
  /** External adapters by bridge name. */
  bridges: ReadonlyMap<string, URL>;
  http: HttpLimits;
  /** Answers that adapters give later. */
  awaited: AwaitedAnswers;
  /** Takes an ethtx task's transaction. */
  transact(request: TransactionRequest): void;
  logger: Logger;
}

/** The place of an answer that an adapter may give later. */
export interface AwaitedAnswer {
  id: string;
  /** Where it is to be sent. */
  url: string;
  /** new: not asked for yet; pending: the adapter said that it comes later. */
  state: "new" | "pending" | "answered";
  /** JSON text, or what went wrong. */
  answer: { value: string } | { error: string } | undefined;
}

export interface AwaitedAnswers {
  /** The place of a task's answer in this run. */
  slot(task: string): Promise<AwaitedAnswer>;
  /** The adapter said that its answer comes later. */
  pending(id: string): Promise<void>;
}

export interface HttpLimits {
  /** ms; Chainlink's JobPipeline.HTTPRequest.DefaultTimeout. */
  timeoutMs: number;
  /** Bytes; Chainlink's JobPipeline.HTTPRequest.MaxSize. */
  maxBytes: number;
  /** Whether `http` tasks reach private and loopback addresses without allowUnrestrictedNetworkAccess. */
  allowUnrestricted: boolean;
}

export interface TaskRun {
  /** Its name in the pipeline. */
  id: string;
  attributes: Readonly<Record<string, string>>;
  variables: ValueMap;
  /** Results of the tasks before, ordered by their `index`. */
  inputs: readonly Value[];
  context: TaskContext;
  /** Aborted at the task's timeout and when the run ends early. */
  signal: AbortSignal;
}

/** A task type: the attributes that it knows beyond the common ones, and what it does. */
export interface TaskType {
  attributes: readonly string[];
  required?: readonly string[];
  /** Looks at a spec's attributes, and at the tasks behind it, when it is loaded; throws what is wrong with one. */
  check?(attributes: Readonly<Record<string, string>>, outputs: readonly string[]): void;
  /** How many inputs it takes. */
  inputs?: { min: number; max: number };
  run(task: TaskRun): Value | Promise<Value>;
}

/** A failure that the same task may outlive when tried again; others end the task whatever `retries` says. */
export class RetryableError extends Error {
  override readonly name = "RetryableError";
}

/** The task's answer comes later: the run goes on when it is there. */
export class Suspended extends Error {
  override readonly name = "Suspended";
}

/** Attributes of every task. */
export const COMMON_ATTRIBUTES = [
  "type",
  "index",
  "timeout",
  "failEarly",
  "retries",
  "minBackoff",
  "maxBackoff",
] as const;
