import { randomUUID } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { errorAnswer } from "./answer.ts";
import { DEFAULT_JOB_RUN_ID, type JobRunId } from "./job-request.ts";
import { asRefusal, type Refusal } from "./refusal.ts";

export const JSON_HEADERS = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
} as const;
const JSON_HEADER_LIST = Object.entries(JSON_HEADERS).flat();

/** Writes answers, all with the same headers, and refusals in the one error shape. */
export class HttpAnswers {
  readonly #log: Logger;
  readonly #closing: () => boolean;

  /** @param closing true once the adapter is closing: every answer then ends its connection */
  constructor(options: { log: Logger; closing: () => boolean }) {
    this.#log = options.log;
    this.#closing = options.closing;
  }

  /** Answers with a body that is JSON text already. */
  send(response: ServerResponse, status: number, body: string, retryAfter?: number): void {
    if (response.headersSent || response.destroyed) return;
    const headers: OutgoingHttpHeaders = { ...JSON_HEADERS, "content-length": Buffer.byteLength(body) };
    if (retryAfter !== undefined) headers["retry-after"] = String(Math.ceil(retryAfter));
    if (this.#closing()) headers.connection = "close";
    response.writeHead(status, headers).end(body);
  }

  /**
   * Answers 200 with a body whose larger part is bytes that were made before: they are handed to the socket as they
   * are, so that a request leaves nothing large behind for the garbage collector.
   * @param head ASCII
   */
  sendReady(response: ServerResponse, head: string, tail: Buffer): void {
    if (response.headersSent || response.destroyed) return;
    const headers = [...JSON_HEADER_LIST, "content-length", String(head.length + tail.length)];
    if (this.#closing()) headers.push("connection", "close");
    response.writeHead(200, headers);
    response.write(head, "latin1");
    response.end(tail);
  }

  /** Answers with whatever was thrown; a bug says that it is one, without its internals. */
  refuse(
    request: IncomingMessage,
    response: ServerResponse,
    error: unknown,
    jobRunID: JobRunId = DEFAULT_JOB_RUN_ID,
  ): Refusal {
    const refusal = asRefusal(error);
    logRefusal(this.#log, request, refusal, jobRunID);
    this.send(response, refusal.status, errorAnswer(jobRunID, refusal), refusal.retryAfter);
    // What was not read of a refused body must not hold the connection.
    if (!request.complete) request.resume();
    return refusal;
  }
}

/** The caller's x-correlation-id, as the framework takes it, or one of our own. */
export function correlationIdOf(request: IncomingMessage): string {
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
