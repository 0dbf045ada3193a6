import { explain } from "@bijuli/protocol";
import { keccak256 } from "ethers/crypto";
import { parseDietCbor } from "../pipeline/tasks/cborparse.ts";
import { isList, isMap, toHex, toJson, type Value, type ValueMap } from "../pipeline/value.ts";
import { lookUp } from "../pipeline/variables.ts";
import type { Job } from "../spec/job.ts";
import type { Run, StageReference } from "../state/run.ts";
import { operatorAbi } from "./abi.ts";
import type { RpcLog } from "./types.ts";

/** What an OracleRequest log says. */
export interface OracleRequest {
  specId: string;
  requester: string;
  requestId: string;
  payment: bigint;
  callbackAddr: string;
  callbackFunctionId: string;
  cancelExpiration: bigint;
  dataVersion: bigint;
  data: Uint8Array;
}

/** A log that came is decoded once for its group and once more for its pipeline: the same. */
const decoded = new WeakMap<RpcLog, OracleRequest>();

export function decodeRequest(log: RpcLog): OracleRequest {
  const known = decoded.get(log);
  if (known !== undefined) return known;
  const request = readRequest(log);
  decoded.set(log, request);
  return request;
}

function readRequest(log: RpcLog): OracleRequest {
  const one = operatorAbi.decodeEventLog("OracleRequest", log.data, log.topics);
  return {
    specId: one.specId,
    requester: one.requester,
    requestId: one.requestId,
    payment: one.payment,
    callbackAddr: one.callbackAddr,
    callbackFunctionId: one.callbackFunctionId,
    cancelExpiration: one.cancelExpiration,
    dataVersion: one.dataVersion,
    data: Buffer.from(one.data.slice(2), "hex"),
  };
}

/**
 * A request's name: a hash over (chain, operator, blockHash, logIndex), for requestId can repeat and a reorg makes another
 * request of the same log.
 */
export function runIdOf(chainId: bigint, log: RpcLog): string {
  const key = [chainId, log.address.toLowerCase(), log.blockHash, Number(log.logIndex)].join(" ");
  return keccak256(Buffer.from(key)).slice(2, 34);
}

/** What the policy says of a request. */
export interface RequestPolicy {
  chainId: bigint;
  /** Juels; for jobs that set none of their own. */
  minContractPayment: bigint;
}

/** A new run for a request, in the state that the job's rules give it. */
export function runOf(log: RpcLog, job: Job, policy: RequestPolicy, stage: StageReference | undefined): Run {
  const request = decodeRequest(log);
  const blockNumber = Number(log.blockNumber);
  const logIndex = Number(log.logIndex);
  const refusal = refusalOf(request, job, policy);
  return {
    id: runIdOf(policy.chainId, log),
    chainId: policy.chainId,
    operator: log.address.toLowerCase(),
    blockNumber,
    blockHash: log.blockHash,
    logIndex,
    txHash: log.transactionHash,
    log,
    job: job.externalJobId,
    requestId: request.requestId,
    requester: request.requester.toLowerCase(),
    group: groupOf(request, job),
    state: refusal === undefined ? "unconfirmed" : "rejected",
    cause: refusal,
    attempts: 0,
    failingSince: undefined,
    call: undefined,
    stage,
    placeBlock: blockNumber,
    placeLog: logIndex,
    createdAt: Date.now(),
  };
}

function refusalOf(request: OracleRequest, job: Job, policy: RequestPolicy): string | undefined {
  const minimum = job.minContractPayment ?? policy.minContractPayment;
  if (request.payment < minimum) return `it pays ${request.payment} juels; ${minimum} are wanted`;
  if (job.requesters.size > 0 && !job.requesters.has(request.requester.toLowerCase())) {
    return `${request.requester} is not among the job's requesters`;
  }
  return undefined;
}

/** The line in which a request stands. A request that cannot be decoded stands in its requester's. */
function groupOf(request: OracleRequest, job: Job): string {
  const variables: Record<string, Value> = {
    request: {
      ...request,
      requester: request.requester.toLowerCase(),
      callbackAddr: request.callbackAddr.toLowerCase(),
    },
  };
  if (/\$\(\s*cbor/.test(job.ordering.group)) {
    try {
      variables.cbor = parseDietCbor(request.data);
    } catch (error) {
      variables.cbor = error instanceof Error ? error : new Error(explain(error));
    }
  }
  try {
    return job.ordering.group.replace(/\$\(\s*([a-zA-Z0-9_.]+)\s*\)/g, (_, path: string) =>
      plain(lookUp(variables, path)),
    );
  } catch {
    return `requester ${request.requester.toLowerCase()}`;
  }
}

function plain(value: Value): string {
  if (value instanceof Uint8Array) return toHex(value);
  if (value instanceof Error) throw value;
  return isMap(value) || isList(value) ? toJson(value, "hex") : String(value);
}

/** What a run's tasks can look up: jobRun (with its block's `roots`) and jobSpec, as Chainlink's directrequest/delegate.go sets them. */
export function runVariables(run: Run, job: Job, roots: ValueMap = {}): Record<string, Value> {
  const request = decodeRequest(run.log);
  return {
    jobSpec: {
      databaseID: job.externalJobId,
      externalJobID: job.externalJobId,
      name: job.name,
      evmChainID: run.chainId.toString(),
    },
    jobRun: {
      id: run.id,
      meta: {
        oracleRequest: {
          specId: request.specId,
          requester: request.requester,
          requestId: request.requestId,
          payment: request.payment.toString(),
          callbackAddr: request.callbackAddr,
          callbackFunctionId: request.callbackFunctionId,
          cancelExpiration: request.cancelExpiration.toString(),
          dataVersion: request.dataVersion.toString(),
          data: toHex(request.data),
        },
      },
      logBlockHash: run.blockHash,
      logBlockNumber: run.blockNumber,
      logTxHash: run.txHash,
      logAddress: run.log.address,
      logTopics: run.log.topics,
      logData: Buffer.from(run.log.data.slice(2), "hex"),
      ...roots,
    },
  };
}
