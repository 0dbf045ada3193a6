import { BijuliError, explain, type Hex } from "@bijuli/protocol";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import type { Logger } from "pino";
import type { Asset } from "./bundle.ts";
import type { DemoProxy } from "./demo-proxy.ts";
import type { Events } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import type { Neighbours } from "./neighbours.ts";
import { big, hex32, whole } from "./parameters.ts";
import { PAGE, type Queries } from "./queries.ts";
import type { RequestJson, StatusJson } from "./shapes.ts";

export interface AppOptions {
  assets: ReadonlyMap<string, Asset>;
  queries: Queries;
  neighbours: Neighbours;
  events: Events;
  metrics: Metrics;
  demo: DemoProxy | undefined;
  status: () => StatusJson;
  health: () => string[];
  ready: () => boolean;
  /** wei per kWh as the market says; null when the chain does not answer. */
  chainPrice: (feeder: Hex, lot: bigint) => Promise<string | null>;
  /** Answers /api/bill. */
  bill: (request: Request, response: Response) => Promise<void>;
  log: Logger;
}

const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  "bad-input": 400,
  forbidden: 403,
  "not-found": 404,
  "no-such-account": 404,
  "not-cleared": 409,
  "no-reading": 409,
  // lots that the account was not charged for, or a chain that was not told truly
  "does-not-hold": 409,
  "no-proof": 502,
  "no-block": 502,
  "rpc-failed": 502,
  "rpc-unreachable": 503,
  busy: 503,
};
const MAX_LIMIT = 200;
/** A chart needs no more points than a wide screen has columns. */
const MAX_POINTS = 2_000;

/** The page and its API. It only reads: everything it answers is public on chain, or how deliveries stand. */
export function buildApp(options: AppOptions): Express {
  const { assets, queries, neighbours, events, metrics, demo, log } = options;
  const app = express();
  app.disable("x-powered-by");
  app.set("etag", false);
  app.use((request, response, next) => {
    response.set({
      "content-security-policy": CSP,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "no-store",
    });
    response.on("finish", () =>
      metrics.answered(
        typeof request.route?.path === "string"
          ? request.route.path
          : request.path.startsWith("/assets/")
            ? "/assets"
            : "other",
        response.statusCode,
      ),
    );
    next();
  });

  app.get("/health", (_request, response) => {
    const problems = options.health();
    response
      .status(problems.length === 0 ? 200 : 503)
      .json({ status: problems.length === 0 ? "ok" : "failing", problems });
  });
  app.get("/ready", (_request, response) => {
    response.status(options.ready() ? 200 : 503).json({ ready: options.ready() });
  });
  app.get("/metrics", async (_request, response) => {
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });

  app.get("/api/status", (_request, response) => void response.json(options.status()));
  app.get("/api/feeders", (_request, response) => void response.json(queries.feeders()));
  app.get("/api/feeders/:feeder", (request, response) => {
    response.json(found(queries.feeder(hex32(request.params.feeder, "feeder")), "there is no such feeder"));
  });
  app.get("/api/feeders/:feeder/lots", ({ params, query }, response) => {
    response.json(queries.lots(hex32(params.feeder, "feeder"), big(query, "before"), limitOf(query)));
  });
  app.get("/api/feeders/:feeder/clearings", ({ params, query }, response) => {
    response.json(queries.clearings(hex32(params.feeder, "feeder"), big(query, "before"), limitOf(query)));
  });
  app.get("/api/feeders/:feeder/series", ({ params, query }, response) => {
    const time = (name: string) => whole(query, name, 0, 2 ** 42);
    const points = whole(query, "points", 2, MAX_POINTS) ?? 400;
    response.json(queries.series(hex32(params.feeder, "feeder"), time("from"), time("to"), points));
  });
  app.get("/api/feeders/:feeder/lots/:lot", async ({ params }, response) => {
    const [feeder, lot] = [hex32(params.feeder, "feeder"), big(params, "lot")!];
    const detail = found(queries.lot(feeder, lot), `lot ${lot} has not been cleared`);
    response.json({ ...detail, chainPrice: await options.chainPrice(feeder, lot) });
  });
  app.get("/api/alarms", ({ query }, response) => {
    const { feeder, kind, before } = query;
    if (before !== undefined && !(typeof before === "string" && /^\d{1,18}\.\d{1,6}$/.test(before)))
      throw new BijuliError("bad-input", "before must be an alarm's id");
    response.json(
      queries.alarms({
        feeder: feeder === undefined ? undefined : hex32(feeder, "feeder"),
        kind: typeof kind === "string" && /^[a-z-]{1,30}$/.test(kind) ? kind : undefined,
        severity: whole(query, "severity", 1, 3) ?? 1,
        before,
        limit: limitOf(query),
      }),
    );
  });
  app.get("/api/accounts", ({ query }, response) => {
    response.json(queries.accounts(whole(query, "after", 0, 2 ** 32) ?? 0, limitOf(query)));
  });
  app.get("/api/accounts/:account", ({ params, query }, response) => {
    const id = whole(params, "account", 0, 2 ** 32)!;
    const before = big(query, "before")?.toString();
    response.json(found(queries.account(id, before, limitOf(query)), `there is no account ${id}`));
  });
  app.get("/api/meters", async (_request, response) => {
    const readers = await neighbours.readers();
    response.json(
      queries.meters().map((meter) => {
        const known = readers.get(meter.meter);
        return known ? { ...meter, serial: known.serial, reader: known.reader } : meter;
      }),
    );
  });
  app.get("/api/requests", async ({ query }, response) => {
    const runs = await neighbours.runs();
    const { items, next } = queries.requests(big(query, "before"), limitOf(query));
    response.json({
      items: items.map(({ place: _, ...request }): RequestJson => ({ ...request, run: runs.get(request.id) ?? null })),
      next,
    });
  });
  app.get("/api/bill", options.bill);
  app.get("/api/events", (request, response) => events.listen(request, response));
  app.get("/api/demo", async (request, response) => found(demo, "this is no demo").read(request, response));
  app.post("/api/demo", express.json({ limit: "4kb" }), async (request, response) =>
    found(demo, "this is no demo").throw(request, response),
  );

  app.get(/.*/, (request, response) => {
    const asset = assets.get(request.path);
    if (asset === undefined) throw new BijuliError("not-found", "there is nothing here");
    const zipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    response.set({
      "content-type": asset.type,
      "cache-control": asset.immutable ? "public, max-age=31536000, immutable" : "no-cache",
      vary: "accept-encoding",
      ...(zipped ? { "content-encoding": "gzip" } : {}),
    });
    response.end(zipped ? asset.gzipped : asset.body);
  });
  app.use((_request, _response) => {
    throw new BijuliError("not-found", "there is nothing here");
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const code = error instanceof BijuliError ? error.code : "internal";
    const given = (error as { status?: unknown }).status;
    const status = STATUS_OF_CODE[code] ?? (typeof given === "number" && given < 500 ? given : 500);
    if (status >= 500) log.error({ err: error }, explain(error));
    if (response.headersSent) return void response.destroy();
    response
      .status(status)
      .json({ error: { name: code, message: status === 500 ? "the server failed to answer" : explain(error) } });
  });
  return app;
}

function limitOf(query: Readonly<Record<string, unknown>>): number {
  return whole(query, "limit", 1, MAX_LIMIT) ?? PAGE;
}

function found<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new BijuliError("not-found", message);
  return value;
}
