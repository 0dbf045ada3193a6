import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import express from "express";
import type { ConcurrencyLimit, RateLimit, TokenCheck } from "./guard.ts";
import { type HttpAnswers, JSON_HEADERS } from "./http-answer.ts";
import { readJson } from "./http-body.ts";
import type { AdapterMetrics } from "./metrics.ts";
import { badInput, Refusal } from "./refusal.ts";

export interface AppOptions {
  /** Answers what jobs ask. */
  jobs: (request: IncomingMessage, response: ServerResponse) => void;
  answers: HttpAnswers;
  metrics: AdapterMetrics | undefined;
  baseUrl: string;
  maxPayload: number;
  token: TokenCheck;
  pushRate: RateLimit;
  /** Pushes under way at once, a limit of their own: whoever sends them slowly, without a token, holds up no job. */
  pushConcurrency: ConcurrencyLimit;
  /** Whether /metrics is served here, and not on a port of its own. */
  serveMetrics: boolean;
  /** Takes a reading that a meter pushed; returns what to answer. */
  accept: (body: unknown) => Promise<object>;
  health: () => object;
  ready: () => { ready: boolean };
  status: () => object;
  evidence: () => object;
}

/**
 * The adapter's HTTP surface: Express routes, each answer and error in §4's shape. What jobs ask at exactly the base path
 * goes to its handler without Express's routing, which would be a fifth of the work; all other spellings of that path
 * come to the same handler through it.
 */
export function buildApp(options: AppOptions): RequestListener {
  const { metrics, maxPayload, token, pushConcurrency, pushRate, answers } = options;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  // Routes on the application itself: a mounted router costs each request a second round of matching.
  const at = (path: string): string => `${options.baseUrl.replace(/\/+$/, "")}${path}` || "/";

  app.post(at(""), options.jobs);

  app.post(at("/readings"), async (request, response) => {
    let entered = false;
    try {
      pushRate.take(request.socket);
      pushConcurrency.enter();
      entered = true;
      const body = await new Promise((resolve, reject) => {
        readJson(request, maxPayload, (error, json) => (error === undefined ? resolve(json) : reject(error)));
      });
      answers.send(response, 200, JSON.stringify(await options.accept(body)));
    } catch (error) {
      answers.refuse(request, response, error);
    } finally {
      if (entered) pushConcurrency.leave();
    }
  });

  app.get(at("/health"), (_request, response) => answers.send(response, 200, JSON.stringify(options.health())));
  app.get(at("/ready"), (_request, response) => {
    const state = options.ready();
    answers.send(response, state.ready ? 200 : 503, JSON.stringify(state));
  });
  const guarded =
    (answer: () => object) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      try {
        token.check(request);
        answers.send(response, 200, JSON.stringify(answer()));
      } catch (error) {
        answers.refuse(request, response, error);
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
        answers.refuse(request, response, error);
      }
    });
  }

  const notFound = (request: IncomingMessage, response: ServerResponse): void => {
    const what = `${request.method} ${JSON.stringify(request.url?.slice(0, 80))}`;
    answers.refuse(request, response, new Refusal(404, "not-found", `there is nothing at ${what}`));
  };
  // Express would answer OPTIONS by itself, in a shape of its own.
  app.options(/.*/, notFound);
  app.use(notFound);
  // Express reports what it cannot route at all (a malformed path) here; four parameters mark an error handler.
  app.use((error: unknown, request: IncomingMessage, response: ServerResponse, _next: unknown) => {
    const { status } = error as { status?: number };
    answers.refuse(request, response, status !== undefined && status < 500 ? badInput("the path is malformed") : error);
  });

  const base = at("");
  return (request, response) => {
    if (request.headers.host === undefined && request.httpVersionMinor > 0) {
      answers.refuse(request, response, badInput("the Host header is missing"));
    } else if (request.url === base && request.method === "POST") options.jobs(request, response);
    else app(request, response);
  };
}

/** Answers with the metrics in Prometheus' text format. */
export async function sendMetrics(metrics: AdapterMetrics, response: ServerResponse): Promise<void> {
  const text = await metrics.registry.metrics();
  response.writeHead(200, { ...JSON_HEADERS, "content-type": metrics.registry.contentType }).end(text);
}
