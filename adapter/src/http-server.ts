import http, { type RequestListener, type Server } from "node:http";
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
const LIMITS = { maxHeaderSize: 16_384, requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 65_000 };

/**
 * A server for the adapter's requests, with TLS where the settings say so.
 * @throws SettingsError for keys that do not fit
 */
export function createAdapterServer(settings: AdapterSettings, listener: RequestListener): Server {
  const tls = tlsOptions(settings);
  const server =
    tls === undefined ? http.createServer(LIMITS, listener) : https.createServer({ ...LIMITS, ...tls }, listener);
  server.on("clientError", refuseUnreadable);
  return server;
}

/** A plain server, for metrics. */
export const createPlainServer = (listener: RequestListener): Server => http.createServer(LIMITS, listener);

/** What is no HTTP gets an answer in the one error shape all the same. */
function refuseUnreadable(error: NodeJS.ErrnoException, stream: Duplex): void {
  if (error.code === "ECONNRESET" || !stream.writable) return void stream.destroy();
  const late = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const why = late ? "the request did not arrive in time" : "this is not an HTTP request that can be read";
  const body = errorAnswer(DEFAULT_JOB_RUN_ID, badInput(why));
  const head = [
    "HTTP/1.1 400 Bad Request",
    "Connection: close",
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  stream.end(`${head.join("\r\n")}\r\n\r\n${body}`);
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
 * connections that stay idle are cut.
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
  const began = performance.now();
  while (!gone) {
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 20))]);
    if (performance.now() - began >= lingerMs) server.closeIdleConnections();
  }
}
