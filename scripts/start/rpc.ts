import { BijuliError } from "@bijuli/protocol";

/** One JSON-RPC call to a development chain, for the few methods that no library wraps. */
export async function rpc<T = unknown>(url: string, method: string, params: readonly unknown[] = []): Promise<T> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(30_000),
  });
  const { result, error } = (await response.json()) as { result?: T; error?: { message: string } };
  if (error) throw new BijuliError("rpc-failed", `${method}: ${error.message}`);
  return result as T;
}
