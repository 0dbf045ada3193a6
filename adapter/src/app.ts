import { randomUUID } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import express, { type Express } from "express";
import type { Logger } from "pino";
import { errorAnswer } from "./answer.ts";
import type { ConcurrencyLimit, RateLimit, TokenCheck } from "./guard.ts";
import { readJson } from "./http-body.ts";
import { DEFAULT_JOB_RUN_ID, type JobRunId, jobRunIdOf, parseJobRequest } from "./job-request.ts";
import type { Roster } from "./meters.ts";
import type { AdapterMetrics } from "./metrics.ts";
import { asRefusal, badInput, Refusal } from "./refusal.ts";
import type { Responder } from "./responder.ts";

export interface AppOptions {
  roster: Roster;
  responder: Responder;
  metrics: AdapterMetrics | undefined;
  baseUrl: string;
  maxPayload: number;
  token: TokenCheck;
  concurrency: ConcurrencyLimit;
  jobRate: RateLimit;
  pushRate: RateLimit;
  /** Whether /metrics is served here, and not on a port of its own. */
  serveMetrics: boolean;
  log: Logger;
  /** Takes a reading that a meter pushed; returns what to answer. */
  accept: (body: unknown) => Promise<object>;
  /** True once the adapter is closing: every answer then ends its connection. */
  closing: () => boolean;
  health: () => object;
  ready: () => { ready: boolean };
  status: () => object;
  evidence: () => object;
}

const HEADERS = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
} as const;

/** The adapter's HTTP surface: Express routes, each answer and error in §4's shape. */
export function buildApp(options: AppOptions): Express {
  const { roster, responder, metrics, log, maxPayload, token, concurrency, jobRate, pushRate } = options;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");

  /** Answers with a body that is JSON text already. */
  const send = (
    response: ServerResponse,
    status: number,
    body: string,
    retryAfter?: number,
    encoding: "utf8" | "latin1" = "utf8",
  ): void => {
    if (response.headersSent || response.destroyed) return;
    const headers: OutgoingHttpHeaders = { ...HEADERS, "content-length": Buffer.byteLength(body, encoding) };
    if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(retryAfter));
    if (options.closing()) headers.connection = "close";
    response.writeHead(status, headers).end(body, encoding);
  };
  const refuse = (
    request: IncomingMessage,
    response: ServerResponse,
    error: unknown,
    jobRunID: JobRunId = DEFAULT_JOB_RUN_ID,
  ): Refusal => {
    const refusal = asRefusal(error);
    logRefusal(log, request, refusal, jobRunID);
    send(response, refusal.status, errorAnswer(jobRunID, refusal), refusal.retryAfter);
    return refusal;
  };

  const logsAll = log.isLevelEnabled("debug");
  app.enable("case sensitive routing");
  // Routes on the application itself: a mounted router costs each request a second round of matching.
  const at = (path: string): string => `${options.baseUrl.replace(/\/+$/, "")}${path}` || "/";

  app.post(at(""), async (request, response) => {
    const began = performance.now();
    let jobRunID: JobRunId = DEFAULT_JOB_RUN_ID;
    let status = 200;
    let cached = false;
    let entered = false;
    try {
      token.check(request);
      jobRate.take(request.socket.remoteAddress ?? "");
      concurrency.enter();
      entered = true;
      const body = await readJson(request, maxPayload);
      jobRunID = jobRunIdOf(body);
      const parsed = parseJobRequest(body, roster);
      let answer = responder.answer(jobRunID, parsed);
      if (answer instanceof Promise) answer = await answer;
      cached = answer.cached;
      send(response, 200, answer.body, undefined, answer.ascii ? "latin1" : "utf8");
      if (logsAll) log.debug({ correlationId: correlationIdOf(request), jobRunID, cached }, "answered");
    } catch (error) {
      status = refuse(request, response, error, jobRunID).status;
      // What was not read of a refused body must not hold the connection.
      if (!request.complete) request.resume();
    } finally {
      if (entered) concurrency.leave();
    }
    metrics?.request(
      status,
      cached,
      (performance.now() - began) / 1000,
      Number(request.headers["content-length"] ?? 0),
    );
  });

  app.post(at("/readings"), async (request, response) => {
    let entered = false;
    try {
      pushRate.take(request.socket.remoteAddress ?? "");
      concurrency.enter();
      entered = true;
      send(response, 200, JSON.stringify(await options.accept(await readJson(request, maxPayload))));
    } catch (error) {
      refuse(request, response, error);
      if (!request.complete) request.resume();
    } finally {
      if (entered) concurrency.leave();
    }
  });

  app.get(at("/health"), (_request, response) => send(response, 200, JSON.stringify(options.health())));
  app.get(at("/ready"), (_request, response) => {
    const state = options.ready();
    send(response, state.ready ? 200 : 503, JSON.stringify(state));
  });
  const guarded =
    (answer: () => object) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      try {
        token.check(request);
        send(response, 200, JSON.stringify(answer()));
      } catch (error) {
        refuse(request, response, error);
      }
    };
  app.get(at("/status"), guarded(options.status));
  app.get(at("/evidence"), guarded(options.evidence));
  if (metrics !== undefined && options.serveMetrics) {
    app.get(at("/metrics"), async (request, response) => {
      try {
        token.check(request);
        await sendMetrics(metrics, response);
      } catch (error) {
        refuse(request, response, error);
      }
    });
  }

  const notFound = (request: IncomingMessage, response: ServerResponse): void => {
    request.resume();
    const what = `${request.method} ${JSON.stringify(request.url?.slice(0, 80))}`;
    refuse(request, response, new Refusal(404, "not-found", `there is nothing at ${what}`));
  };
  // Express would answer OPTIONS by itself, in a shape of its own.
  app.options(/.*/, notFound);
  app.use(notFound);
  // Express reports what it cannot route at all (a malformed path) here; four parameters mark an error handler.
  app.use((error: unknown, request: IncomingMessage, response: ServerResponse, _next: unknown) => {
    const { status } = error as { status?: number };
    refuse(request, response, status !== undefined && status < 500 ? badInput("the path is malformed") : error);
  });
  return app;
}

/** Answers with the metrics in Prometheus' text format. */
export async function sendMetrics(metrics: AdapterMetrics, response: ServerResponse): Promise<void> {
  const text = await metrics.registry.metrics();
  response.writeHead(200, { ...HEADERS, "content-type": metrics.registry.contentType }).end(text);
}

/** The caller's x-correlation-id, as the framework takes it, or one of our own. */
function correlationIdOf(request: IncomingMessage): string {
  const given = request.headers["x-correlation-id"];
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

function logRefusal(log: Logger, request: IncomingMessage, refusal: Refusal, jobRunID: JobRunId): void {
  const correlationId = correlationIdOf(request);
  const line = { correlationId, jobRunID, statusCode: refusal.status, cause: refusal.code };
  // A lot that is not over yet is the daily course of things; a bug is not.
  if (refusal.status === 500) log.error({ ...line, err: refusal.cause }, refusal.message);
  else if (refusal.code === "lot-open" || refusal.code === "not-yet-read") log.debug(line, refusal.message);
  else log.warn(line, refusal.message);
}
