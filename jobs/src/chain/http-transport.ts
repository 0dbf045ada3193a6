import http from "node:http";
import https from "node:https";
import { explain } from "@bijuli/protocol";
import { batchText, type JsonRpcAnswer, type JsonRpcRequest, type Transport } from "./transport.ts";

/** JSON-RPC by HTTP POST, over connections that are kept open. */
export class HttpTransport implements Transport {
  readonly #url: URL;
  readonly #agent: http.Agent | https.Agent;

  constructor(url: URL) {
    this.#url = url;
    const options = { keepAlive: true, maxSockets: 32 };
    this.#agent = url.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
  }

  async exchange(requests: readonly JsonRpcRequest[], timeoutMs: number): Promise<JsonRpcAnswer[]> {
    const text = await this.#post(batchText(requests), timeoutMs);
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (cause) {
      throw new Error(`${this.#url.origin} answered what is not JSON`, { cause });
    }
    return (Array.isArray(parsed) ? parsed : [parsed]) as JsonRpcAnswer[];
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(body: string, timeoutMs: number): Promise<string> {
    const url = this.#url;
    const module = url.protocol === "https:" ? https : http;
    const headers: Record<string, string | number> = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    };
    const { username, password } = url;
    return new Promise((resolve, reject) => {
      const request = module.request(
        url,
        {
          method: "POST",
          agent: this.#agent,
          headers,
          signal: AbortSignal.timeout(timeoutMs),
          ...(username === "" ? {} : { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` }),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString("utf8");
            const status = response.statusCode ?? 0;
            // Some nodes answer JSON-RPC errors with a 4xx status: the body tells.
            if (status >= 300 && !/"error"/.test(text)) reject(new Error(`${url.origin} answered HTTP ${status}`));
            else resolve(text);
          });
          response.on("error", reject);
        },
      );
      request.on("error", (error) => reject(new Error(`${url.origin}: ${explain(error)}`, { cause: error })));
      request.end(body);
    });
  }
}
