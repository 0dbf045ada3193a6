import { marketTopic } from "./market.ts";
import { quantity, type RpcClient } from "./rpc.ts";
import type { RpcLog } from "./types.ts";

/** Logs of one contract and topic over a long range, asked for in parts. */
export async function logsOver(
  rpc: RpcClient,
  filter: { address: string; topics: readonly (string | null)[] },
  range: { from: number; to: number; step: number },
): Promise<RpcLog[]> {
  const logs: RpcLog[] = [];
  for (let at = range.from; at <= range.to; at += range.step) {
    const toBlock = quantity(Math.min(range.to, at + range.step - 1));
    logs.push(...(await rpc.call<RpcLog[]>("eth_getLogs", [{ ...filter, fromBlock: quantity(at), toBlock }])));
  }
  return logs;
}

/** The feeders that the market knows. */
export async function knownFeeders(
  rpc: RpcClient,
  market: string,
  range: { from: number; to: number; step: number },
): Promise<string[]> {
  const logs = await logsOver(rpc, { address: market, topics: [marketTopic.feederCreated] }, range);
  return logs.map((log) => log.topics[1]!);
}
