export interface JsonRpcRequest {
  jsonrpc: "2.0";
  id: number;
  method: string;
  params: readonly unknown[];
}

export interface JsonRpcAnswer {
  id: number;
  result?: unknown;
  error?: { code?: unknown; message?: unknown; data?: unknown };
}

/** How JSON-RPC requests reach one endpoint. */
export interface Transport {
  /**
   * Sends requests as one batch.
   * @returns what was answered, in any order
   * @throws Error when nothing usable was answered in time
   */
  exchange(requests: readonly JsonRpcRequest[], timeoutMs: number): Promise<JsonRpcAnswer[]>;
  close(): void;
}

/** A batch as it goes out: one alone is no list, for not every endpoint takes lists. */
export function batchText(requests: readonly JsonRpcRequest[]): string {
  return JSON.stringify(requests.length === 1 ? requests[0] : requests);
}
