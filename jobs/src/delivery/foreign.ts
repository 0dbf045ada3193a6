import { topicOf } from "../chain/abi.ts";
import { decodeRequest } from "../chain/requests.ts";
import { quantity, type RpcClient } from "../chain/rpc.ts";
import type { RpcLog, RpcReceipt } from "../chain/types.ts";
import type { Run } from "../state/run.ts";
import { fulfilmentOutcome } from "./outcome.ts";

/** How a run is marked that another transaction than its own delivered. */
export const FOREIGN = "by another transaction";

/** What a transaction that is not known here did for the request, if there is one. */
export async function foreignOutcome(
  rpc: RpcClient,
  run: Run,
): Promise<{ kind: "delivered" | "callback-failed"; note: string } | undefined> {
  const [log] = await rpc.call<RpcLog[]>("eth_getLogs", [
    { address: run.operator, fromBlock: quantity(run.blockNumber), topics: [topicOf.oracleResponse, run.requestId] },
  ]);
  if (log === undefined) return undefined;
  const receipt = await rpc.call<RpcReceipt | null>("eth_getTransactionReceipt", [log.transactionHash]);
  if (receipt === null) return undefined;
  const outcome = fulfilmentOutcome(run, decodeRequest(run.log).callbackAddr.toLowerCase(), receipt);
  return outcome.kind === "delivered"
    ? { kind: "delivered", note: "" }
    : { kind: "callback-failed", note: `${outcome.note} (transaction ${log.transactionHash})` };
}
