import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 30_000;
/** A subscription that told of none of so many blocks, for so long, is dead although its connection stands. */
const SILENT_BLOCKS = 3;
const SILENT_MS = 2_000;

/** Tells of new blocks at once, where the RPC has WebSockets. */
export interface HeadSubscription {
  readonly connected: boolean;
  /** A new block was found, by whatever means: a subscription that keeps silent about several is opened anew. */
  found(): void;
  close(): void;
}

/**
 * Subscribes to newHeads. What it brings is a hint and nothing else: the chain is asked in any case every so often, so that a
 * subscription that dies without a word costs time and no block.
 */
export function subscribeHeads(urls: readonly string[], onHead: () => void, logger: Logger): HeadSubscription {
  let socket: WebSocket | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failures = 0;
  let connected = false;
  let closed = false;
  let heardAt = 0;
  let untold = 0;

  const again = () => {
    connected = false;
    if (closed) return;
    failures++;
    timer = setTimeout(connect, Math.min(FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 20), LONGEST_WAIT_MS));
    timer.unref();
  };

  const connect = () => {
    const url = urls[failures % urls.length]!;
    const { host } = new URL(url);
    const own = new WebSocket(url);
    socket = own;
    untold = 0;
    own.onopen = () =>
      own.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
    own.onmessage = ({ data }) => {
      try {
        const said = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: unknown; method?: string };
        if (said.id === 1 && said.error !== undefined) throw new Error(`eth_subscribe: ${JSON.stringify(said.error)}`);
        if (said.id === 1) {
          connected = true;
          failures = 0;
          heardAt = Date.now();
        }
        if (said.method !== "eth_subscription") return;
        heardAt = Date.now();
        untold = 0;
        onHead();
      } catch (error) {
        logger.warn({ endpoint: host, cause: explain(error) }, "the WebSocket RPC says what is not understood");
        own.close();
      }
    };
    own.onclose = () => {
      if (socket !== own) return;
      if (connected)
        logger.warn({ endpoint: host }, "the WebSocket RPC is gone: blocks are asked for until it is back");
      again();
    };
    own.onerror = () => {}; // onclose follows
  };
  connect();
  return {
    get connected() {
      return connected;
    },
    found() {
      if (!connected) return;
      untold++;
      if (untold < SILENT_BLOCKS || Date.now() - heardAt < SILENT_MS) return;
      logger.warn({ blocks: untold }, "the subscription keeps silent about new blocks: it is opened anew");
      // Not waited for: a connection that says nothing does not say that it is closed either.
      const silent = socket;
      socket = undefined;
      silent?.close();
      again();
    },
    close() {
      closed = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}
