import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIP } from "node:net";
import { BijuliError, type Clock, explain, lotEnd, qualityNames, typedDataDomain } from "@bijuli/protocol";
import { microToNumber } from "./decimal.ts";
import type { Spread } from "./measurement.ts";
import { type Meter, servedReadingToJson } from "./meter.ts";
import { Metrics } from "./metrics.ts";
import type { PartHealth } from "./source.ts";
import type { ClosedLot } from "./store.ts";

export interface ServerOptions {
  meter: Meter;
  clock: Clock;
  version: string;
  /** Required of every request but /health, when given. */
  token?: string | undefined;
  metrics?: Metrics;
  /** Version and hash of the calibration that is applied. */
  calibration?: { version: number; hash: string } | undefined;
}

/** Answers of /lots in one page, unless told, and at most. */
const LOTS_PAGE = 288;
const LOTS_PAGE_MAX = 8928;
/** Signed runs kept ready: the adapter and a second one ask for the same. */
const CACHED_READINGS = 64;
const LONGEST_RETRY_S = 86_400;

/** An answer other than 200 JSON. */
class HttpError extends Error {
  readonly status: number;
  override readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(
    status: number,
    name: string,
    message: string,
    headers: Record<string, string> = {},
    extra: Record<string, unknown> = {},
  ) {
    super(message);
    this.status = status;
    this.name = name;
    this.headers = headers;
    this.extra = extra;
  }
}

interface Answer {
  status: number;
  body: string;
  headers: Record<string, string>;
}

const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  "bad-lots": 400,
  "before-first-lot": 404,
  "not-kept": 410,
  "key-retired": 410,
  "lot-open": 425,
  "store-full": 503,
  "store-readonly": 503,
  "store-failed": 503,
};

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

/** The meter's HTTP surface (SPEC: pi-reader over HTTP), without listening yet. */
export function readerServer(options: ServerOptions): Server {
  const api = new ReaderApi(options);
  const server = createServer((request, response) => void api.answer(request, response));
  server.keepAliveTimeout = 15_000;
  server.requestTimeout = 10_000;
  return server;
}

class ReaderApi {
  readonly #meter: Meter;
  readonly #clock: Clock;
  readonly #version: string;
  readonly #calibration: { version: number; hash: string } | null;
  readonly #tokenHash: Buffer | undefined;
  readonly #metrics: Metrics;
  readonly #readings = new Map<string, { etag: string; body: string }>();

  constructor({ meter, clock, version, token, metrics, calibration }: ServerOptions) {
    this.#meter = meter;
    this.#calibration = calibration ?? null;
    this.#clock = clock;
    this.#version = version;
    this.#tokenHash = token === undefined ? undefined : sha256(token);
    this.#metrics = metrics ?? new Metrics(meter);
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let route = "unknown";
    let answer: Answer;
    try {
      const url = URL.parse(request.url ?? "/", "http://reader");
      if (url === null) throw new HttpError(400, "bad-request", "the request's path is malformed");
      route = routeOf(url.pathname);
      answer = await this.#dispatch(route, url, request);
    } catch (error) {
      answer = this.#errorAnswer(error);
    }
    this.#metrics.countRequest(route, answer.status);
    const headers: Record<string, string> = { "x-content-type-options": "nosniff", ...answer.headers };
    if (answer.status !== 304) headers["content-length"] = String(Buffer.byteLength(answer.body));
    response.writeHead(answer.status, headers);
    response.end(request.method === "HEAD" || answer.status === 304 ? undefined : answer.body);
  }

  async #dispatch(route: string, url: URL, request: IncomingMessage): Promise<Answer> {
    if (route !== "/health") this.#authorize(request);
    if (route === "unknown") throw new HttpError(404, "not-found", `there is nothing at ${url.pathname}`);
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new HttpError(405, "method-not-allowed", `${request.method} is not possible here`, { allow: "GET, HEAD" });
    }
    const query = checkQuery(url, route);
    switch (route) {
      case "/identity":
        return json(200, this.#identity());
      case "/readings/latest":
        return this.#latest(query, request);
      case "/readings/:lot":
        return this.#reading(lotNumber("the path", url.pathname.slice("/readings/".length)), query, request);
      case "/lots":
        return json(200, await this.#lots(query));
      case "/live":
        return json(200, await this.#live());
      case "/health":
        return this.#health();
      case "/ready":
        return this.#ready();
      default: {
        const { text, contentType } = await this.#metrics.exposition();
        return { status: 200, body: text, headers: { "content-type": contentType, "cache-control": "no-store" } };
      }
    }
  }

  #authorize(request: IncomingMessage): void {
    if (this.#tokenHash === undefined) return;
    const given = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (given !== undefined && timingSafeEqual(sha256(given.trim()), this.#tokenHash)) return;
    throw new HttpError(401, "unauthorized", "this meter's data needs its bearer token", {
      "www-authenticate": 'Bearer realm="bijuli reader"',
    });
  }

  #identity() {
    const meter = this.#meter;
    const domain = typedDataDomain(meter.domain);
    return {
      serial: meter.serial,
      meterId: meter.meterId,
      signer: meter.signer,
      nextSigner: meter.nextSigner ? { ...meter.nextSigner, fromLot: meter.nextSigner.fromLot.toString() } : null,
      lotSeconds: meter.lotSeconds,
      domain: { ...domain, chainId: domain.chainId.toString() },
      sensor: meter.source.sensor,
      calibration: this.#calibration,
      clock: meter.source.clockState(),
      version: this.#version,
      firstLot: meter.firstLot?.toString() ?? null,
      newestLot: meter.newestLot?.toString() ?? null,
      opening: meter.opening ? servedReadingToJson(meter.opening) : null,
    };
  }

  async #latest(query: Map<string, string>, request: IncomingMessage): Promise<Answer> {
    const lots = lotsParameter(query);
    await this.#meter.closeDue();
    const lot = this.#meter.newestLot;
    if (lot === undefined) {
      throw this.#tooEarly(`meter ${this.#meter.serial} has not closed its first lot`, this.#meter.openLot);
    }
    const { etag, body } = await this.#servedReading(lot, lots);
    return conditional(request, etag, body, "no-cache");
  }

  async #reading(lot: bigint, query: Map<string, string>, request: IncomingMessage): Promise<Answer> {
    const { etag, body } = await this.#servedReading(lot, lotsParameter(query));
    // What needs a token must not lie in a cache that others read.
    const scope = this.#tokenHash === undefined ? "public" : "private";
    return conditional(request, etag, body, `${scope}, max-age=31536000, immutable`);
  }

  async #servedReading(lot: bigint, lots: number): Promise<{ etag: string; body: string }> {
    const key = `${lot}/${lots}`;
    let cached = this.#readings.get(key);
    if (cached === undefined) {
      try {
        const served = await this.#meter.reading(lot, lots);
        cached = { etag: `"${served.digest.slice(2)}"`, body: JSON.stringify(servedReadingToJson(served)) };
      } catch (error) {
        if (error instanceof BijuliError && error.code === "lot-open") throw this.#tooEarly(error.message, lot);
        throw error;
      }
      if (this.#readings.size >= CACHED_READINGS) this.#readings.delete(this.#readings.keys().next().value!);
      this.#readings.set(key, cached);
    }
    return cached;
  }

  /** 425, with the real time until the lot's end: a virtual clock may be much faster than a whole second. */
  #tooEarly(message: string, lot: bigint | undefined): HttpError {
    const endMs = lot === undefined ? undefined : Number(lotEnd(lot, this.#meter.lotSeconds)) * 1000;
    const leftMs =
      endMs === undefined || !this.#clock.started()
        ? 1000
        : Math.max(this.#clock.realMs(endMs - this.#clock.nowMs()), 1);
    const seconds = Math.min(Math.ceil(leftMs / 1000), LONGEST_RETRY_S);
    return new HttpError(
      425,
      "lot-open",
      message,
      { "retry-after": String(seconds) },
      { retryAfterMs: Math.min(Math.ceil(leftMs), LONGEST_RETRY_S * 1000) },
    );
  }

  async #lots(query: Map<string, string>) {
    await this.#meter.closeDue();
    const limit = integer("limit", query.get("limit") ?? String(LOTS_PAGE), 1, LOTS_PAGE_MAX);
    const given = (name: string) => (query.has(name) ? lotNumber(name, query.get(name)!) : undefined);
    const newest = this.#meter.newestLot;
    const first = this.#meter.oldestLot;
    let from = given("from");
    let to = given("to");
    if (from !== undefined && to !== undefined && from > to) {
      throw new HttpError(400, "bad-request", `from=${from} lies after to=${to}`);
    }
    if (newest === undefined || first === undefined) return { serial: this.#meter.serial, lots: [], next: null };
    if (to === undefined || to > newest) to = newest;
    // Without `from` the newest ones are meant, still oldest first.
    from ??= to - BigInt(limit) + 1n;
    if (from < first) from = first;
    const end = from + BigInt(limit) - 1n < to ? from + BigInt(limit) - 1n : to;
    const lots = from > end ? [] : this.#meter.lots(from, end);
    return {
      serial: this.#meter.serial,
      lotSeconds: this.#meter.lotSeconds,
      lots: lots.map((lot) => ({ ...lotToJson(lot), period: this.#meter.period(lot.lot) })),
      next: end < to ? (end + 1n).toString() : null,
    };
  }

  async #live() {
    const live = this.#meter.source.live();
    const { forward, reverse, open } = await this.#meter.now();
    return {
      serial: this.#meter.serial,
      time: new Date(this.#clock.nowMs()).toISOString(),
      voltage: live?.voltage === undefined ? null : microToNumber(live.voltage),
      current: live?.current === undefined ? null : microToNumber(live.current),
      power: live === undefined ? null : microToNumber(live.power),
      forward: forward.toString(),
      reverse: reverse.toString(),
      open:
        open === undefined
          ? null
          : {
              lot: open.lot.toString(),
              energy: open.energy.toString(),
              samples: open.samples,
              coveredMs: open.coveredMs,
              period: this.#meter.period(open.lot),
              progress: this.#progress(open.lot),
            },
    };
  }

  /** How much of a lot's time is over, 0 … 1. */
  #progress(lot: bigint): number {
    const left = Number(lotEnd(lot, this.#meter.lotSeconds)) * 1000 - this.#clock.nowMs();
    const part = 1 - left / (this.#meter.lotSeconds * 1000);
    return Math.round(Math.min(Math.max(part, 0), 1) * 1000) / 1000;
  }

  #health(): Answer {
    const failure = this.#meter.failure;
    const clock = this.#meter.source.clockState();
    const parts: Record<string, PartHealth> = {
      source: this.#meter.source.health(),
      store: failure === undefined ? { status: "ok" } : { status: "failing", detail: explain(failure) },
      clock: clock.state === "trusted" ? { status: "ok" } : { status: "degraded", detail: clock.state },
    };
    const all = Object.values(parts).map((part) => part.status);
    const status = all.includes("failing") ? "failing" : all.includes("degraded") ? "degraded" : "ok";
    return json(status === "failing" ? 503 : 200, { status, parts, version: this.#version });
  }

  #ready(): Answer {
    const why =
      this.#meter.opening === undefined
        ? "there is no first lot yet"
        : this.#meter.failure === undefined
          ? undefined
          : explain(this.#meter.failure);
    if (why === undefined) return json(200, { ready: true });
    throw new HttpError(503, "not-ready", why, { "retry-after": "1" });
  }

  #errorAnswer(error: unknown): Answer {
    if (error instanceof HttpError) {
      const { status, name, message, headers, extra } = error;
      return json(status, { error: { name, message, ...extra } }, headers);
    }
    if (error instanceof BijuliError) {
      const status = STATUS_OF_CODE[error.code] ?? 500;
      return json(
        status,
        { error: { name: error.code, message: explain(error) } },
        status === 503 ? { "retry-after": "5" } : {},
      );
    }
    return json(500, { error: { name: "internal-error", message: "the reader failed to answer" } });
  }
}

const QUERY_OF_ROUTE: Readonly<Record<string, readonly string[]>> = {
  "/identity": [],
  "/readings/latest": ["lots"],
  "/readings/:lot": ["lots"],
  "/lots": ["from", "to", "limit"],
  "/live": [],
  "/health": [],
  "/ready": [],
  "/metrics": [],
};

function routeOf(path: string): string {
  if (path === "/readings/latest") return path;
  if (/^\/readings\/[^/]+$/.test(path)) return "/readings/:lot";
  return Object.hasOwn(QUERY_OF_ROUTE, path) ? path : "unknown";
}

function checkQuery(url: URL, route: string): Map<string, string> {
  const known = QUERY_OF_ROUTE[route]!;
  const query = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!known.includes(name)) throw new HttpError(400, "bad-request", `unknown parameter ${JSON.stringify(name)}`);
    if (query.has(name)) throw new HttpError(400, "bad-request", `parameter ${name} stands there twice`);
    query.set(name, value);
  }
  return query;
}

function lotNumber(name: string, text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new HttpError(400, "bad-request", `${name}: ${JSON.stringify(text)} is not a lot number`);
  }
  return BigInt(text);
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new HttpError(
      400,
      "bad-request",
      `${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}

function lotsParameter(query: Map<string, string>): number {
  return integer("lots", query.get("lots") ?? "1", 1, LOTS_PAGE_MAX);
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return {
    status,
    body: JSON.stringify(body),
    headers: { "content-type": "application/json; charset=utf-8", "cache-control": "no-store", ...headers },
  };
}

function conditional(request: IncomingMessage, etag: string, body: string, cacheControl: string): Answer {
  const headers = { "content-type": "application/json; charset=utf-8", etag, "cache-control": cacheControl };
  const known = (request.headers["if-none-match"] ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (known.includes(etag) || known.includes("*")) return { status: 304, body: "", headers };
  return { status: 200, body, headers };
}

function spreadToJson(spread: Spread | undefined) {
  if (spread === undefined) return null;
  return { min: microToNumber(spread.min), mean: microToNumber(spread.mean), max: microToNumber(spread.max) };
}

/** A closed lot as /lots and exports show it: Units as decimal strings, V, A and W as numbers. */
export function lotToJson(lot: ClosedLot) {
  return {
    lot: lot.lot.toString(),
    energy: lot.energy.toString(),
    reverseEnergy: lot.reverseEnergy.toString(),
    forward: lot.forward.toString(),
    reverse: lot.reverse.toString(),
    quality: lot.quality,
    qualityNames: qualityNames(lot.quality),
    samples: lot.samples,
    coveredMs: lot.coveredMs,
    voltage: spreadToJson(lot.voltage),
    current: spreadToJson(lot.current),
    power: spreadToJson(lot.power),
  };
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
