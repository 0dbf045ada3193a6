import { availableParallelism } from "node:os";
import { type Clock, lotEnd, openClock, readingDomain, redactSettings } from "@bijuli/protocol";
import type { Logger } from "pino";
import packageJson from "../package.json" with { type: "json" };
import { ADAPTER_NAME } from "./answer.ts";
import { buildApp, sendMetrics } from "./app.ts";
import { Collector } from "./collector.ts";
import { checkEvidenceFile, Evidence } from "./evidence.ts";
import { ConcurrencyLimit, RateLimit, TokenCheck } from "./guard.ts";
import { HttpAnswers } from "./http-answer.ts";
import { createAdapterServer, drain, listen, urlOf } from "./http-server.ts";
import { jobHandler } from "./job-handler.ts";
import { ENDPOINTS } from "./job-request.ts";
import { loadRoster, type Meter } from "./meters.ts";
import { AdapterMetrics } from "./metrics.ts";
import { Poller } from "./poller.ts";
import { ReaderHttp } from "./reader-http.ts";
import { InlineRecovery, ThreadedRecovery } from "./recovery.ts";
import { Refusal } from "./refusal.ts";
import { Remembered } from "./remembered.ts";
import { Responder } from "./responder.ts";
import { ADAPTER_SETTINGS, type AdapterSettings, checkSettings } from "./settings.ts";
import { Shelf } from "./shelf.ts";
import { ConfiguredSigners, type Signers } from "./signers.ts";

export interface RunningAdapter {
  url: string;
  /** Where the metrics are when they have a port of their own. */
  metricsUrl: string | undefined;
  /**
   * Stops listening, answers what is under way, and lets go of everything.
   * @param lingerMs how long connections without a request are left open: their clients may just be writing one
   */
  close(lingerMs?: number): Promise<void>;
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
  checkSettings(settings);
  const clock = options.clock ?? openClock(settings.BIJULI_CLOCK);
  const lotSeconds = settings.LOT_SECONDS;
  const roster = loadRoster(settings, settings.RPC_URL !== undefined);
  checkEvidenceFile(settings.EVIDENCE_FILE);
  const metrics = settings.METRICS_ENABLED
    ? new AdapterMetrics({
        version: packageJson.version,
        roster,
        nowMs: () => clock.nowMs(),
        lotEndMs: (lot) => Number(lotEnd(lot, lotSeconds)) * 1000,
        polls: () => poller.progress,
      })
    : undefined;
  const domain = readingDomain({ chainId: settings.CHAIN_ID, registry: settings.REGISTRY_ADDRESS });
  const remembered =
    settings.DATA_DIR === undefined
      ? undefined
      : await Remembered.open(
          settings.DATA_DIR,
          { chainId: settings.CHAIN_ID, registry: settings.REGISTRY_ADDRESS, lotSeconds },
          { log, onFailure: () => metrics?.stateWriteFailed() },
        );
  if (remembered !== undefined) log.info({ meters: remembered.recall(roster) }, "meters are remembered");
  const evidence = new Evidence({ domain, file: settings.EVIDENCE_FILE, log, remembered });
  const shelf = new Shelf({ lotSeconds, maxAgeMs: settings.CACHE_MAX_AGE, maxItems: settings.CACHE_MAX_ITEMS });
  // Polls leave room for what requests ask of readers meanwhile.
  const readers = new ReaderHttp({ maxSockets: settings.POLL_CONCURRENCY + 192 });
  const signers: Signers =
    settings.RPC_URL === undefined
      ? new ConfiguredSigners()
      : // ethers' provider takes as much memory as all else: loaded by those who use it.
        new (await import("./chain-signers.ts")).ChainSigners({
          rpcUrl: settings.RPC_URL,
          chainId: settings.CHAIN_ID,
          registry: settings.REGISTRY_ADDRESS,
          timeoutMs: settings.API_TIMEOUT,
          log,
        });
  const shared =
    settings.CACHE_TYPE === "local"
      ? undefined
      : new (await import("./shared-readings.ts")).RedisReadings({
          url: settings.CACHE_REDIS_URL!,
          prefix: settings.CACHE_PREFIX,
          timeoutMs: settings.CACHE_REDIS_TIMEOUT,
          maxAgeMs: settings.CACHE_MAX_AGE,
          lotSeconds,
          log,
          onCommand: (ok, name) => metrics?.redisCommand(ok, name),
        });
  const threads =
    settings.VERIFY_THREADS ?? (roster.meters.length > 10_000 ? Math.max(1, availableParallelism() - 1) : 0);
  const recovery =
    threads === 0
      ? new InlineRecovery()
      : new ThreadedRecovery(threads, (error) =>
          log.fatal({ err: error }, "a verifying thread died, and the adapter with it"),
        );
  const collector = new Collector({
    clock,
    domain,
    lotSeconds,
    timeoutMs: settings.API_TIMEOUT,
    shelf,
    signers,
    recovery,
    evidence,
    http: readers,
    shared,
    remembered,
    log,
    onReaderCall: (_meter, status, seconds) => metrics?.readerCall(status, seconds),
    onVerified: () => metrics?.verified(),
    onRefused: (_meter, refusal) => metrics?.refused(refusal.code),
    onContradiction: () => metrics?.contradiction(),
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
    backfillLots: settings.BACKFILL_LOTS,
    log,
  });
  const startedAt = clock.nowMs();
  let closing = false;
  const isFresh = (meter: Meter): boolean => {
    const since = meter.newest === undefined ? startedAt : Number(lotEnd(meter.newest.lot, lotSeconds)) * 1000;
    return clock.nowMs() - since <= settings.STALE_SECONDS * 1000;
  };

  const guards = { token: new TokenCheck(settings.EA_TOKEN), maxPayload: settings.MAX_PAYLOAD_SIZE_LIMIT };
  const concurrency = new ConcurrencyLimit(settings.MAX_CONCURRENT_REQUESTS);
  const answers = new HttpAnswers({ log, closing: () => closing });
  const rate = new RateLimit(settings.REQUESTS_PER_SECOND);
  const app = buildApp({
    ...guards,
    jobs: jobHandler({ ...guards, concurrency, rate, roster, responder, answers, metrics, log }),
    answers,
    metrics,
    baseUrl: settings.BASE_URL,
    pushRate: new RateLimit(settings.PUSHES_PER_SECOND),
    pushConcurrency: new ConcurrencyLimit(settings.MAX_CONCURRENT_REQUESTS),
    serveMetrics: settings.METRICS_PORT === undefined,
    accept: async (body) => {
      const meterId = (body as { reading?: { meterId?: unknown } | null } | null)?.reading?.meterId;
      const meter = typeof meterId === "string" ? roster.byId(meterId.toLowerCase()) : undefined;
      if (meter === undefined) throw new Refusal(404, "unknown-meter", "the pushed reading's meter is not configured");
      try {
        const entry = await collector.accept(meter, body);
        return {
          accepted: { serial: meter.serial, meterId: meter.id, lot: entry.lot.toString(), lots: String(entry.lots) },
        };
      } catch (error) {
        // What a reader behind NAT pushes is its own request: its fault is a 4xx here, where a poll's is a 502.
        if (error instanceof Refusal && error.status === 502) {
          throw new Refusal(error.code === "wrong-signer" ? 401 : 400, error.code, error.message, { cause: error });
        }
        throw error;
      }
    },
    health: () => ({ status: closing ? "closing" : "ok", name: ADAPTER_NAME, version: packageJson.version }),
    ready: () => {
      const fresh = roster.meters.filter(isFresh).length;
      const enough = fresh * 100 >= roster.meters.length * settings.READY_FRESH_PERCENT;
      return { ready: !closing && enough, meters: roster.meters.length, fresh };
    },
    status: () => ({
      adapter: { name: ADAPTER_NAME, version: packageJson.version, uptimeSeconds: Math.floor(process.uptime()) },
      endpoints: Object.entries(ENDPOINTS).map(([name, aliases]) => ({ name, aliases: aliases.slice(1) })),
      defaultEndpoint: "lot-readings",
      configuration: redactSettings(ADAPTER_SETTINGS, settings),
      runtime: { nodeVersion: process.version, platform: process.platform, architecture: process.arch },
      cache: { type: settings.CACHE_TYPE, readings: shelf.size, redis: shared?.state() },
      poll: { lot: poller.progress.lot.toString(), read: poller.progress.read, seconds: poller.progress.seconds },
      state: { kept: remembered !== undefined, failing: remembered?.failing },
      contradictions: evidence.items.length,
      meters: roster.meters.slice(0, 1000).map((meter) => ({
        serial: meter.serial,
        meterId: meter.id,
        reader: meter.url ?? "pushes",
        newestLot: meter.newest?.lot.toString(),
        fresh: isFresh(meter),
        circuit: meter.circuit.state(),
        clockSkewSeconds: meter.clockSkew,
        lastError: meter.lastError,
      })),
    }),
    evidence: () => ({ evidence: evidence.items }),
  });

  const server = createAdapterServer(settings, app);
  const metricsServer =
    metrics === undefined || settings.METRICS_PORT === undefined
      ? undefined
      : createAdapterServer(settings, (request, response) => {
          try {
            guards.token.check(request);
            if (request.method !== "GET" || request.url?.split("?")[0] !== "/metrics") {
              throw new Refusal(404, "not-found", "there is nothing here but GET /metrics");
            }
            sendMetrics(metrics, response).catch((error) => answers.refuse(request, response, error));
          } catch (error) {
            answers.refuse(request, response, error);
          }
        });
  await shared?.connected(settings.CACHE_REDIS_TIMEOUT * 2);
  try {
    await listen(server, settings.EA_PORT, settings.EA_HOST);
    if (metricsServer !== undefined) await listen(metricsServer, settings.METRICS_PORT!, settings.EA_HOST);
  } catch (error) {
    server.close();
    signers.close();
    recovery.close();
    remembered?.close();
    await shared?.close();
    throw error;
  }
  if (settings.POLL_ENABLED) poller.start();
  const url = urlOf(server);
  const metricsUrl = metricsServer && `${urlOf(metricsServer)}/metrics`;
  log.info({ url, metrics: metricsUrl, meters: roster.meters.length }, "listening");

  return {
    url,
    metricsUrl,
    close: async (lingerMs = 50) => {
      closing = true;
      metricsServer?.close();
      metricsServer?.closeAllConnections();
      const polled = poller.close();
      await drain(server, lingerMs);
      // Requests are answered; what is still under way at readers is for polls only.
      readers.close();
      await polled;
      signers.close();
      recovery.close();
      remembered?.close();
      await shared?.close();
      log.info("closed");
    },
  };
}
