import { BijuliError, explain } from "@bijuli/protocol";

/** One JSON-RPC call. */
export interface Call {
  method: string;
  params: readonly unknown[];
}

const MAX_BATCH = 100;

interface Endpoint {
  url: string;
  headers: Record<string, string>;
}

/** fetch takes no credentials in an address, and would tell them in its error: they go where HTTP has them. */
function endpointOf(text: string): Endpoint {
  const url = new URL(text);
  const { username, password } = url;
  url.username = "";
  url.password = "";
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    url: url.href,
    headers: {
      "content-type": "application/json",
      ...(credentials === ":" ? {} : { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` }),
    },
  };
}

/** JSON-RPC over HTTP: several calls are one batch; when an endpoint does not answer, the next one is asked. */
export class Rpc {
  readonly #endpoints: readonly Endpoint[];
  readonly #timeoutMs: number;
  #preferred = 0;

  /** @param urls http or https, checked by whoever reads them */
  constructor(urls: readonly string[], timeoutMs: number) {
    this.#endpoints = urls.map(endpointOf);
    this.#timeoutMs = timeoutMs;
  }

  async call<T>(method: string, params: readonly unknown[] = []): Promise<T> {
    const [result] = await this.batch<T>([{ method, params }]);
    return result!;
  }

  /**
   * Answers in the order of the calls.
   * @throws BijuliError rpc-unreachable when no endpoint answers, rpc-failed with what one said
   */
  async batch<T>(calls: readonly Call[]): Promise<T[]> {
    const results: T[] = [];
    for (let at = 0; at < calls.length; at += MAX_BATCH)
      results.push(...(await this.#send<T>(calls.slice(at, at + MAX_BATCH))));
    return results;
  }

  async #send<T>(calls: readonly Call[]): Promise<T[]> {
    let failure: unknown;
    for (let i = 0; i < this.#endpoints.length; i++) {
      const index = (this.#preferred + i) % this.#endpoints.length;
      const { url, headers } = this.#endpoints[index]!;
      let answers: { id: number; result?: T; error?: { message: string } }[];
      try {
        const response = await fetch(url, {
          method: "POST",
          headers,
          body: JSON.stringify(calls.map((call, id) => ({ jsonrpc: "2.0", id, ...call }))),
          signal: AbortSignal.timeout(this.#timeoutMs),
        });
        answers = (await response.json()) as typeof answers;
        if (!Array.isArray(answers)) throw new Error(`it answered ${response.status} and no batch`);
      } catch (cause) {
        failure = cause;
        continue;
      }
      this.#preferred = index;
      const byId = new Map(answers.map((answer) => [answer.id, answer]));
      return calls.map(({ method }, id) => {
        const answer = byId.get(id);
        if (answer === undefined || answer.error)
          throw new BijuliError("rpc-failed", `${method}: ${answer?.error?.message ?? "no answer"}`);
        return answer.result as T;
      });
    }
    throw new BijuliError("rpc-unreachable", `no RPC endpoint answers: ${explain(failure)}`, {
      remedy: "look at RPC_URL and its network",
    });
  }
}
