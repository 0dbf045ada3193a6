import type { RpcLog } from "../chain/types.ts";

/**
 * Where a run stands.
 *
 *   unconfirmed → pending → ready → sent → delivered
 *
 * pending: its pipeline runs or waits to be run again; ready: its callback is built and waits for its turn; sent: a
 * transaction for it is stored. The others are ends: callback-failed (the request is spent, the callback reverted),
 * cancelled (by the requester), orphaned (its block is no longer part of the chain), rejected (payment or requester),
 * quarantined (it can never be fulfilled), abandoned (it failed for longer than it is retried).
 */
export type RunState =
  | "unconfirmed"
  | "pending"
  | "ready"
  | "sent"
  | "delivered"
  | "callback-failed"
  | "cancelled"
  | "orphaned"
  | "rejected"
  | "quarantined"
  | "abandoned";

/** The callback's transaction, as the pipeline built it. */
export interface BuiltCall {
  to: string;
  data: string;
  gasLimit: string | undefined;
  from: readonly string[];
  /** Blocks that hold it before its run is at an end; absent: the node's own setting. */
  minConfirmations?: number | undefined;
  /** A revert ends the run. */
  failOnRevert?: boolean | undefined;
}

/** What a request of the market is for, so that its records can also be submitted without the Operator. */
export interface StageReference {
  market: string;
  feeder: string;
  lot: string;
  stage: number;
  first: number;
  /** The request is spent or must not be used: what is left is `submit`. */
  submit: boolean;
}

/** One OracleRequest and what became of it. */
export interface Run {
  id: string;
  chainId: bigint;
  operator: string;
  blockNumber: number;
  blockHash: string;
  logIndex: number;
  txHash: string;
  log: RpcLog;
  /** The job's externalJobID. */
  job: string;
  requestId: string;
  requester: string;
  group: string;
  state: RunState;
  /** Why it is not further, in words. */
  cause: string | undefined;
  attempts: number;
  /** Unix ms since which it fails; undefined: it does not. */
  failingSince: number | undefined;
  call: BuiltCall | undefined;
  stage: StageReference | undefined;
  /** Its place in its group: its own block and log, or those of the request that it repeats. */
  placeBlock: number;
  placeLog: number;
  createdAt: number;
}

export const FINISHED: readonly RunState[] = [
  "delivered",
  "callback-failed",
  "cancelled",
  "orphaned",
  "rejected",
  "quarantined",
  "abandoned",
];
