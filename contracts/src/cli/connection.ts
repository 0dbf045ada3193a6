import { BijuliError } from "@bijuli/protocol";
import { FetchRequest, JsonRpcProvider, Network as NetworkInfo } from "ethers";
import type { Network } from "./networks.ts";

/** Long enough for a slow RPC, short enough for a person. */
const RPC_TIMEOUT_MS = 30_000;

/** A URL without what may be secret in it: path, query and password often hold an API key. */
export const withoutSecrets = (url: string) => new URL(url).origin;

/**
 * Connects to a network's RPC, once: no retries in the background.
 * @throws BijuliError rpc-unreachable, wrong-chain
 */
export async function connect(network: Network): Promise<JsonRpcProvider> {
  const chainId = await askChainId(network);
  if (network.chainId !== undefined && network.chainId !== chainId) {
    throw new BijuliError(
      "wrong-chain",
      `${withoutSecrets(network.rpcUrl)} is chain ${chainId}, but ${network.name} is chain ${network.chainId}`,
      { remedy: "check rpcUrl and chainId" },
    );
  }
  const local = ["127.0.0.1", "localhost", "[::1]"].includes(new URL(network.rpcUrl).hostname);
  const info = NetworkInfo.from(chainId);
  return new JsonRpcProvider(requestTo(network.rpcUrl), info, {
    staticNetwork: info,
    cacheTimeout: -1,
    pollingInterval: local ? 50 : 2_000,
  });
}

function requestTo(url: string): FetchRequest {
  const request = new FetchRequest(url);
  request.timeout = RPC_TIMEOUT_MS;
  return request;
}

async function askChainId(network: Network): Promise<bigint> {
  try {
    const response = await fetch(network.rpcUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] }),
      signal: AbortSignal.timeout(RPC_TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    const { result } = (await response.json()) as { result?: unknown };
    if (typeof result !== "string" || !/^0x[0-9a-f]+$/i.test(result)) throw new Error("it does not tell its chain id");
    return BigInt(result);
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    const why = cause?.code ?? (error as Error).message;
    throw new BijuliError("rpc-unreachable", `no chain at ${withoutSecrets(network.rpcUrl)}: ${why}`, {
      remedy: "start it, or check --rpc-url",
    });
  }
}
