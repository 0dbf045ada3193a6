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
  /** Takes an ethtx task's transaction. */
  transact(request: TransactionRequest): void;
  logger: Logger;
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
  /** Looks at a spec's attributes when it is loaded; throws what is wrong with one. */
  check?(attributes: Readonly<Record<string, string>>): void;
  /** How many inputs it takes. */
  inputs?: { min: number; max: number };
  run(task: TaskRun): Value | Promise<Value>;
}

/** A failure that the same task may outlive when tried again; others end the task whatever `retries` says. */
export class RetryableError extends Error {
  override readonly name = "RetryableError";
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
