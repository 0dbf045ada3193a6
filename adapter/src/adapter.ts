import { createServer, type Server } from "node:http";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import { type Clock, lotEnd, openClock, readingDomain, redactSettings } from "@bijuli/protocol";
import type { Logger } from "pino";
import packageJson from "../package.json" with { type: "json" };
import { ADAPTER_NAME, errorAnswer } from "./answer.ts";
import { buildApp } from "./app.ts";
import { Collector } from "./collector.ts";
import { Evidence } from "./evidence.ts";
import { DEFAULT_JOB_RUN_ID, ENDPOINTS } from "./job-request.ts";
import { loadRoster, type Meter } from "./meters.ts";
import { AdapterMetrics } from "./metrics.ts";
import { Poller } from "./poller.ts";
import { ReaderHttp } from "./reader-http.ts";
import { badInput, Refusal } from "./refusal.ts";
import { Responder } from "./responder.ts";
import { ADAPTER_SETTINGS, type AdapterSettings } from "./settings.ts";
import { Shelf } from "./shelf.ts";
import { ConfiguredSigners } from "./signers.ts";

export interface RunningAdapter {
  url: string;
  /** Stops listening, answers what is under way, and lets go of everything. */
  close(): Promise<void>;
}

/**
 * Starts an adapter and resolves once it listens.
 * @throws SettingsError for a configuration that cannot work; Node's own error when the port is taken
 */
export async function startAdapter(
  settings: AdapterSettings,
  options: { log: Logger; clock?: Clock },
): Promise<RunningAdapter> {
  const { log } = options;
  const clock = options.clock ?? openClock(settings.BIJULI_CLOCK);
  const lotSeconds = settings.LOT_SECONDS;
  const roster = loadRoster(settings, false);
  const metrics = settings.METRICS_ENABLED
    ? new AdapterMetrics({
        version: packageJson.version,
        roster,
        nowMs: () => clock.nowMs(),
        lotEndMs: (lot) => Number(lotEnd(lot, lotSeconds)) * 1000,
      })
    : undefined;
  const evidence = new Evidence({ file: undefined, log });
  const shelf = new Shelf({ lotSeconds, maxAgeMs: settings.CACHE_MAX_AGE, maxItems: settings.CACHE_MAX_ITEMS });
  const readers = new ReaderHttp({ maxSockets: 256 });
  const collector = new Collector({
    clock,
    domain: readingDomain({ chainId: settings.CHAIN_ID, registry: settings.REGISTRY_ADDRESS }),
    lotSeconds,
    timeoutMs: settings.API_TIMEOUT,
    shelf,
    signers: new ConfiguredSigners(),
    evidence,
    http: readers,
    log,
    onReaderCall: (_meter, status, seconds) => metrics?.readerCall(status, seconds),
    onVerified: () => metrics?.verified(),
    onRefused: (_meter, refusal) => {
      metrics?.refused(refusal.code);
      if (refusal.code === "disagreement") metrics?.contradiction();
    },
  });
  const responder = new Responder({
    clock,
    collector,
    lotSeconds,
    graceSeconds: settings.GRACE_SECONDS,
    limit: settings.RESPONSE_SIZE_LIMIT,
  });
  const poller = new Poller({
    clock,
    collector,
    roster,
    lotSeconds,
    delayMs: settings.POLL_DELAY,
    jitterMs: settings.POLL_JITTER,
    concurrency: settings.POLL_CONCURRENCY,
    log,
  });
  const startedAt = clock.nowMs();
  let closing = false;
  const isFresh = (meter: Meter): boolean => {
    const since = meter.newest === undefined ? startedAt : Number(lotEnd(meter.newest.lot, lotSeconds)) * 1000;
    return clock.nowMs() - since <= (2 * lotSeconds + settings.GRACE_SECONDS) * 1000;
  };

  const app = buildApp({
    roster,
    responder,
    metrics,
    baseUrl: settings.BASE_URL,
    maxPayload: settings.MAX_PAYLOAD_SIZE_LIMIT,
    log,
    accept: async (body) => {
      const meter = roster.byId(
        String((body as { reading?: { meterId?: unknown } } | null)?.reading?.meterId).toLowerCase(),
      );
      if (meter === undefined) throw new Refusal(404, "unknown-meter", "the pushed reading's meter is not configured");
      try {
        const entry = await collector.accept(meter, body);
        return {
          accepted: { serial: meter.serial, meterId: meter.id, lot: entry.lot.toString(), lots: String(entry.lots) },
        };
      } catch (error) {
        // What a reader behind NAT pushes is its request: its fault is a 4xx here, where a poll's would be a 502.
        if (error instanceof Refusal && error.status === 502) throw badInput(error.message);
        throw error;
      }
    },
    closing: () => closing,
    health: () => ({ status: closing ? "closing" : "ok", name: ADAPTER_NAME, version: packageJson.version }),
    ready: () => {
      const fresh = roster.meters.filter(isFresh).length;
      return { ready: !closing && fresh * 2 >= roster.meters.length, meters: roster.meters.length, fresh };
    },
    status: () => ({
      adapter: { name: ADAPTER_NAME, version: packageJson.version, uptimeSeconds: Math.floor(process.uptime()) },
      endpoints: Object.entries(ENDPOINTS).map(([name, aliases]) => ({ name, aliases: aliases.slice(1) })),
      defaultEndpoint: "lot-readings",
      configuration: redactSettings(ADAPTER_SETTINGS, settings),
      runtime: { nodeVersion: process.version, platform: process.platform, architecture: process.arch },
      cache: { readings: shelf.size },
      poll: { lot: poller.progress.lot.toString(), read: poller.progress.read, seconds: poller.progress.seconds },
      contradictions: evidence.items.length,
      meters: roster.meters.slice(0, 1000).map((meter) => ({
        serial: meter.serial,
        meterId: meter.id,
        reader: meter.url ?? "pushes",
        newestLot: meter.newest?.lot.toString(),
        fresh: isFresh(meter),
        circuit: meter.circuit.state(),
        lastError: meter.lastError,
      })),
    }),
    evidence: () => ({ evidence: evidence.items }),
  });

  const server = createServer({ maxHeaderSize: 16_384, requestTimeout: 30_000, headersTimeout: 10_000 }, app);
  server.keepAliveTimeout = 65_000;
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
    const body = errorAnswer(DEFAULT_JOB_RUN_ID, badInput("this is not an HTTP request that can be read"));
    socket.end(
      `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
  await listen(server, settings.EA_PORT, settings.EA_HOST);
  if (settings.POLL_ENABLED) poller.start();
  const { address, port, family } = server.address() as AddressInfo;
  const url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  log.info({ url, meters: roster.meters.length }, "listening");

  return {
    url,
    close: async () => {
      closing = true;
      await Promise.all([drain(server), poller.close()]);
      readers.close();
      log.info("closed");
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** How long a client has to use an idle connection that it may just be writing to, ms. */
const LINGER_MS = 200;

/**
 * Stops taking connections and resolves once every request was answered. http's own close() would cut idle connections
 * at once, and with them requests that are on their way; here every answer says "connection: close" instead, and only
 * connections that stay idle are cut.
 */
async function drain(server: Server): Promise<void> {
  let gone = false;
  const closed = new Promise<void>((resolve) => {
    NetServer.prototype.close.call(server, () => {
      gone = true;
      resolve();
    });
  });
  for (let waited = 0; !gone; waited += 20) {
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 20))]);
    if (waited >= LINGER_MS) server.closeIdleConnections();
  }
}
