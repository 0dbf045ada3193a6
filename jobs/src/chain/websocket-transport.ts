import { batchText, type JsonRpcAnswer, type JsonRpcRequest, type Transport } from "./transport.ts";

interface Pending {
  left: number;
  answers: JsonRpcAnswer[];
  resolve(answers: JsonRpcAnswer[]): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** JSON-RPC over one WebSocket, which is opened when it is needed and again when it is gone. */
export class WebSocketTransport implements Transport {
  readonly #url: URL;
  #socket: WebSocket | undefined;
  #opening: Promise<WebSocket> | undefined;
  /** By request id; requests of a batch share one. */
  readonly #pending = new Map<number, Pending>();

  constructor(url: URL) {
    this.#url = url;
  }

  exchange(requests: readonly JsonRpcRequest[], timeoutMs: number): Promise<JsonRpcAnswer[]> {
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        left: requests.length,
        answers: [],
        resolve,
        reject,
        // A socket that does not answer is dead, whatever it says: the next call opens another.
        timer: setTimeout(() => this.#drop(new Error(`${this.#url.origin}: no answer in ${timeoutMs} ms`)), timeoutMs),
      };
      for (const { id } of requests) this.#pending.set(id, pending);
      this.#open().then(
        (socket) => socket.send(batchText(requests)),
        (error: Error) => this.#drop(error),
      );
    });
  }

  close(): void {
    this.#drop(new Error(`${this.#url.origin}: closed`));
  }

  #open(): Promise<WebSocket> {
    this.#opening ??= new Promise((resolve, reject) => {
      const socket = new WebSocket(this.#url);
      this.#socket = socket;
      const gone = () => {
        const error = new Error(`${this.#url.origin}: the WebSocket is gone`);
        reject(error);
        if (this.#socket === socket) this.#drop(error);
      };
      socket.onopen = () => resolve(socket);
      socket.onclose = gone;
      socket.onerror = gone;
      socket.onmessage = ({ data }) => {
        try {
          this.#take(JSON.parse(String(data)));
        } catch (cause) {
          this.#drop(new Error(`${this.#url.origin} answered what is not JSON`, { cause }));
        }
      };
    });
    return this.#opening;
  }

  #take(said: unknown): void {
    for (const answer of (Array.isArray(said) ? said : [said]) as JsonRpcAnswer[]) {
      const pending = this.#pending.get(Number(answer?.id));
      if (pending === undefined) continue;
      this.#pending.delete(Number(answer.id));
      pending.answers.push(answer);
      if (--pending.left > 0) continue;
      clearTimeout(pending.timer);
      pending.resolve(pending.answers);
    }
  }

  /** Leaves the socket: what waits for it fails now. */
  #drop(error: Error): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#opening = undefined;
    const waiting = new Set(this.#pending.values());
    this.#pending.clear();
    for (const pending of waiting) {
      clearTimeout(pending.timer);
      pending.reject(error);
    }
    socket?.close();
  }
}
