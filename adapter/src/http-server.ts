import http, { type RequestListener, type Server, type ServerResponse } from "node:http";
import https from "node:https";
import { type AddressInfo, Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext } from "node:tls";
import { SettingsError } from "@bijuli/protocol";
import { errorAnswer } from "./answer.ts";
import { DEFAULT_JOB_RUN_ID } from "./job-request.ts";
import { badInput } from "./refusal.ts";
import type { AdapterSettings } from "./settings.ts";

/** Headers, and whole requests, that take longer or are larger are nobody's. */
const LIMITS = {
  maxHeaderSize: 16_384,
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 65_000,
  // How often Node looks for what is late. By default that is each half minute, whatever the limits say.
  connectionsCheckingInterval: 1000,
  // HTTP/1.1 wants the header; who leaves it out is told so in the one error shape, not by Node without a body.
  requireHostHeader: false,
};
/** While the adapter ends, a request that began to come has this long to come whole, ms. */
const LAST_REQUEST_MS = 5000;
/** A client that was told of the end has this long to read it, ms. */
const HANG_UP_MS = 1000;

/**
 * A server for the adapter's requests or its metrics, with TLS where the settings say so.
 * @throws SettingsError for keys that do not fit
 */
export function createAdapterServer(settings: AdapterSettings, listener: RequestListener): Server {
  const tls = tlsOptions(settings);
  const server =
    tls === undefined
      ? http.createServer(LIMITS, listener)
      : https.createServer({ ...LIMITS, handshakeTimeout: LIMITS.headersTimeout, ...tls }, listener);
  server.on("clientError", refuseUnreadable);
  // Node would answer an expectation that it does not know by itself, without a body; none needs anything of us.
  server.on("checkExpectation", listener);
  server.on("connect", (_request, stream) => answerAndEnd(stream, "this is no proxy"));
  return server;
}

/** What is no HTTP gets an answer in the one error shape all the same. */
function refuseUnreadable(error: NodeJS.ErrnoException, stream: Duplex): void {
  if (error.code === "ECONNRESET" || !stream.writable) return void stream.destroy();
  const { _httpMessage: answer } = stream as { _httpMessage?: ServerResponse | null };
  if (answer?.req.complete) {
    // What cannot be read came behind a request that could: that one gets its answer, and the connection ends with it.
    answer.shouldKeepAlive = false;
    answer.once("finish", () => hangUp(stream));
    return;
  }
  const late = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  answerAndEnd(stream, late ? "the request did not arrive in time" : "this is not an HTTP request that can be read");
}

function answerAndEnd(stream: Duplex, why: string): void {
  const body = errorAnswer(DEFAULT_JOB_RUN_ID, badInput(why));
  const head = [
    "HTTP/1.1 400 Bad Request",
    "Connection: close",
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  hangUp(stream, `${head.join("\r\n")}\r\n\r\n${body}`);
}

/** Ends a connection, and lets go of it when its client, which may never read, does not do the same. */
function hangUp(stream: Duplex, lastWords = ""): void {
  stream.end(lastWords);
  setTimeout(() => stream.destroy(), HANG_UP_MS).unref();
}

function tlsOptions(settings: AdapterSettings): https.ServerOptions | undefined {
  if (!settings.TLS_ENABLED && !settings.MTLS_ENABLED) return undefined;
  const options: https.ServerOptions = {
    key: settings.TLS_PRIVATE_KEY!,
    cert: settings.TLS_PUBLIC_KEY!,
    minVersion: "TLSv1.2",
    ...(settings.TLS_PASSPHRASE === undefined ? {} : { passphrase: settings.TLS_PASSPHRASE }),
    ...(settings.MTLS_ENABLED ? { ca: settings.TLS_CA!, requestCert: true, rejectUnauthorized: true } : {}),
  };
  try {
    createSecureContext(options);
  } catch (error) {
    throw new SettingsError([`TLS_PRIVATE_KEY, TLS_PUBLIC_KEY and TLS_CA: ${(error as Error).message}`]);
  }
  return options;
}

/** The address that a server listens on. */
export function urlOf(server: Server): string {
  const scheme = server instanceof https.Server ? "https" : "http";
  const { address, port, family } = server.address() as AddressInfo;
  return `${scheme}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** Rejects with Node's own error when the port is taken. */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/**
 * Stops taking connections and resolves once every request was answered. http's own close() would cut idle connections
 * at once, and with them requests that are on their way; here every answer says "connection: close" instead, and only
 * connections that stay idle, silent or half-said are cut.
 * @param lingerMs how long a client has to use an idle connection that it may just be writing to
 */
export async function drain(server: Server, lingerMs: number): Promise<void> {
  let gone = false;
  // A connection that the kernel took and this process did not yet is cut when the socket closes: take what waits first.
  await new Promise((resolve) => setImmediate(resolve));
  const closed = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => {
      gone = true;
      resolve();
    });
  });
  // A connection on which nothing was ever said counts as one whose headers are late: it is not held open for them.
  server.headersTimeout = Math.max(1, lingerMs);
  server.requestTimeout = Math.max(lingerMs, LAST_REQUEST_MS);
  const began = performance.now();
  while (!gone) {
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 20))]);
    if (performance.now() - began >= lingerMs) server.closeIdleConnections();
  }
}
