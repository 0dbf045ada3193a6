import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 30_000;

/** Tells of new blocks at once, where the RPC has WebSockets. */
export interface HeadSubscription {
  readonly connected: boolean;
  close(): void;
}

/**
 * Subscribes to newHeads. What it brings is a hint and nothing else: the chain is read over HTTP, and asked in any case every
 * so often, so that a subscription that dies without a word costs time and no block.
 */
export function subscribeHeads(urls: readonly string[], onHead: () => void, logger: Logger): HeadSubscription {
  let socket: WebSocket | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failures = 0;
  let connected = false;
  let closed = false;

  const connect = () => {
    const url = urls[failures % urls.length]!;
    socket = new WebSocket(url);
    socket.onopen = () =>
      socket!.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
    socket.onmessage = ({ data }) => {
      try {
        const said = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: unknown; method?: string };
        if (said.id === 1 && said.error !== undefined) throw new Error(`eth_subscribe: ${JSON.stringify(said.error)}`);
        if (said.id === 1) {
          connected = true;
          failures = 0;
        }
        if (said.method === "eth_subscription") onHead();
      } catch (error) {
        logger.warn(
          { endpoint: new URL(url).host, cause: explain(error) },
          "the WebSocket RPC says what is not understood",
        );
        socket?.close();
      }
    };
    socket.onclose = () => {
      if (connected)
        logger.warn(
          { endpoint: new URL(url).host },
          "the WebSocket RPC is gone: blocks are asked for until it is back",
        );
      connected = false;
      if (closed) return;
      failures++;
      timer = setTimeout(connect, Math.min(FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 20), LONGEST_WAIT_MS));
      timer.unref();
    };
    socket.onerror = () => {}; // onclose follows
  };
  connect();
  return {
    get connected() {
      return connected;
    },
    close() {
      closed = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}
