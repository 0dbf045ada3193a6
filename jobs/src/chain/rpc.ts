import { BijuliError, type Hex } from "@bijuli/protocol";
import { HttpTransport } from "./http-transport.ts";
import type { JsonRpcAnswer, Transport } from "./transport.ts";
import { WebSocketTransport } from "./websocket-transport.ts";

/** An error that the RPC answered. */
export class RpcError extends BijuliError {
  override readonly name = "RpcError";
  readonly rpcCode: number;
  /** What a reverted call returned. */
  readonly revertData: Hex | undefined;

  constructor(method: string, rpcCode: number, message: string, data: unknown) {
    super("rpc", `${method}: ${message}`);
    this.rpcCode = rpcCode;
    const inner = typeof data === "object" && data !== null && "data" in data ? data.data : data;
    const reverted = rpcCode === 3 || /revert/i.test(message);
    this.revertData =
      typeof inner === "string" && inner.startsWith("0x") ? (inner as Hex) : reverted ? "0x" : undefined;
  }
}

/** No endpoint answered. */
export class RpcUnreachable extends BijuliError {
  override readonly name = "RpcUnreachable";

  constructor(method: string, cause: unknown) {
    super("rpc-unreachable", `${method}: no RPC endpoint answers`, {
      cause,
      remedy: "look at RPC_URL and its network",
    });
  }
}

export interface JsonRpc {
  call<T>(method: string, params: readonly unknown[], signal?: AbortSignal): Promise<T>;
}

interface Waiting {
  method: string;
  params: readonly unknown[];
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

interface Endpoint {
  url: URL;
  /** Real ms until which it is passed over. */
  restsUntil: number;
  failures: number;
  transport: Transport;
}

const MAX_BATCH = 100;
const REST_MS = 2_000;

/**
 * A JSON-RPC client that sends what is asked in one turn of the event loop as one batch, and goes on to the next endpoint
 * when one does not answer. It keeps no block or nonce in mind: those answers are only good when they are fresh.
 */
export class RpcClient implements JsonRpc {
  readonly #endpoints: Endpoint[];
  readonly #timeoutMs: number;
  #waiting: Waiting[] = [];
  #nextId = 1;
  /** Calls and how many of them failed, by endpoint: for the metrics. */
  readonly counts = new Map<string, { calls: number; failures: number }>();

  constructor(urls: readonly string[], timeoutMs = 10_000) {
    this.#timeoutMs = timeoutMs;
    this.#endpoints = urls.map((text) => {
      const url = new URL(text);
      const transport = /^wss?:$/.test(url.protocol) ? new WebSocketTransport(url) : new HttpTransport(url);
      return { url, restsUntil: 0, failures: 0, transport };
    });
  }

  /** The endpoint that is asked first now, without its path, which may hold a secret. */
  get endpoint(): string {
    return this.#order()[0]!.url.origin;
  }

  call<T>(method: string, params: readonly unknown[] = [], signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => void this.#flush());
      this.#waiting.push({ method, params, resolve: resolve as (value: unknown) => void, reject });
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  close(): void {
    for (const { transport } of this.#endpoints) transport.close();
  }

  /** Leaves the present endpoint for a while: it lies or lags. */
  distrust(): void {
    const first = this.#order()[0]!;
    first.restsUntil = Date.now() + 10 * REST_MS;
  }

  #order(): Endpoint[] {
    const now = Date.now();
    const rank = (endpoint: Endpoint) => (endpoint.restsUntil > now ? endpoint.restsUntil : 0);
    return [...this.#endpoints].sort((a, b) => rank(a) - rank(b));
  }

  async #flush(): Promise<void> {
    const all = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < all.length; at += MAX_BATCH) void this.#send(all.slice(at, at + MAX_BATCH));
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    let cause: unknown;
    for (const endpoint of this.#order()) {
      const count = this.counts.get(endpoint.url.origin) ?? { calls: 0, failures: 0 };
      this.counts.set(endpoint.url.origin, count);
      count.calls += batch.length;
      try {
        const answers = await this.#exchange(endpoint, batch);
        endpoint.failures = 0;
        endpoint.restsUntil = 0;
        for (const [index, waiting] of batch.entries()) {
          const answer = answers[index]!;
          if (answer.error === undefined) waiting.resolve(answer.result);
          else {
            const { code, message, data } = answer.error;
            waiting.reject(new RpcError(waiting.method, Number(code ?? 0), String(message ?? "error"), data));
          }
        }
        return;
      } catch (error) {
        count.failures += batch.length;
        endpoint.failures++;
        endpoint.restsUntil = Date.now() + Math.min(REST_MS * endpoint.failures, 15 * REST_MS);
        cause = error;
      }
    }
    for (const waiting of batch) waiting.reject(new RpcUnreachable(waiting.method, cause));
  }

  async #exchange(endpoint: Endpoint, batch: readonly Waiting[]): Promise<JsonRpcAnswer[]> {
    const firstId = this.#nextId;
    this.#nextId += batch.length;
    const requests = batch.map(({ method, params }, index) => ({
      jsonrpc: "2.0" as const,
      id: firstId + index,
      method,
      params,
    }));
    const answers = await endpoint.transport.exchange(requests, this.#timeoutMs);
    const byId = new Map(answers.map((answer) => [Number(answer?.id), answer]));
    return requests.map(({ id }) => {
      const answer = byId.get(id);
      if (answer === undefined || (answer.error === undefined && answer.result === undefined)) {
        throw new Error(`${endpoint.url.origin} left a request without an answer`);
      }
      return answer;
    });
  }
}

/** A number as the RPC writes it. */
export function quantity(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
