import { AbiCoder } from "ethers/abi";
import { operatorAbi, topicOf } from "../chain/abi.ts";
import { readDelivery } from "../chain/market.ts";
import type { RpcReceipt } from "../chain/types.ts";
import type { Run } from "../state/run.ts";

/** What a mined transaction did for its run. The receipt's status alone says nothing: Operator swallows a failed callback. */
export type Outcome =
  | { kind: "delivered"; note: string | undefined }
  /** The request is spent, its stage is not done. */
  | { kind: "deferred"; reason: number; note: string }
  /** The request is spent, its callback reverted. */
  | { kind: "callback-failed"; note: string }
  | { kind: "reverted"; note: string };

/** Reads the outcome of `fulfillOracleRequest…`: ChainlinkFulfilled of the consumer proves delivery. */
export function fulfilmentOutcome(run: Run, callbackAddress: string, receipt: RpcReceipt): Outcome {
  if (Number(receipt.status) === 0) return { kind: "reverted", note: "the transaction reverted" };
  const fulfilled = receipt.logs.some(
    (log) =>
      log.topics[0] === topicOf.chainlinkFulfilled &&
      log.topics[1] === run.requestId &&
      log.address.toLowerCase() === callbackAddress,
  );
  if (!fulfilled) {
    return {
      kind: "callback-failed",
      note: "the request is spent, but its callback reverted or ran out of gas: there is no ChainlinkFulfilled",
    };
  }
  return stageOutcome(run, receipt);
}

/** Reads the outcome of the market's `submit`. */
export function submissionOutcome(run: Run, receipt: RpcReceipt): Outcome {
  if (Number(receipt.status) === 0) return { kind: "reverted", note: "submit reverted" };
  return stageOutcome(run, receipt);
}

function stageOutcome(run: Run, receipt: RpcReceipt): Outcome {
  if (run.stage === undefined) return { kind: "delivered", note: undefined };
  const { deferral, explanation } = readDelivery(receipt.logs, run.stage);
  return deferral === undefined
    ? { kind: "delivered", note: explanation }
    : { kind: "deferred", reason: deferral, note: explanation ?? "deferred" };
}

const SELECTORS = ["fulfillOracleRequest2", "fulfillOracleRequest"].map(
  (name) => operatorAbi.getFunction(name)!.selector,
);
/** Where the third word's address stands in the calldata's hex. */
const CALLBACK_ADDRESS = { from: 10 + 2 * 64 + 24, to: 10 + 3 * 64 };

/** Where a fulfilment calls back: what the pipeline put into its calldata. */
export function callbackAddressOf(data: string): string | undefined {
  if (!SELECTORS.includes(data.slice(0, 10)) || data.length < CALLBACK_ADDRESS.to) return undefined;
  return `0x${data.slice(CALLBACK_ADDRESS.from, CALLBACK_ADDRESS.to).toLowerCase()}`;
}

/** The records within a fulfilment's calldata: the callback's second argument. */
export function recordsOf(data: string): string | undefined {
  if (!data.startsWith(SELECTORS[0]!)) return undefined;
  try {
    const inner = String(operatorAbi.decodeFunctionData("fulfillOracleRequest2", data)[5]);
    return String(AbiCoder.defaultAbiCoder().decode(["bytes32", "bytes"], inner)[1]);
  } catch {
    return undefined;
  }
}
