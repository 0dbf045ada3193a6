import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { ConcurrencyLimit, RateLimit, TokenCheck } from "./guard.ts";
import { correlationIdOf, type HttpAnswers } from "./http-answer.ts";
import { readJson } from "./http-body.ts";
import { DEFAULT_JOB_RUN_ID, type JobRunId, jobRunIdOf, parseJobRequest } from "./job-request.ts";
import type { Roster } from "./meters.ts";
import type { AdapterMetrics } from "./metrics.ts";
import type { Answer, Responder } from "./responder.ts";

export interface JobHandlerOptions {
  roster: Roster;
  responder: Responder;
  answers: HttpAnswers;
  metrics: AdapterMetrics | undefined;
  maxPayload: number;
  token: TokenCheck;
  concurrency: ConcurrencyLimit;
  rate: RateLimit;
  log: Logger;
}

/**
 * Answers a job's request. This is the hot path: from a request whose answer is ready to its bytes it runs in callbacks,
 * without a promise, and allocates little.
 */
export function jobHandler(options: JobHandlerOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const { roster, responder, answers, metrics, maxPayload, token, concurrency, rate, log } = options;
  const logsAll = log.isLevelEnabled("debug");

  return (request, response) => {
    const began = performance.now();
    let jobRunID: JobRunId = DEFAULT_JOB_RUN_ID;
    let bytes = 0;
    let entered = false;
    const ended = (status: number, cached: boolean): void => {
      if (entered) concurrency.leave();
      metrics?.request(status, cached, (performance.now() - began) / 1000, bytes);
    };
    const fail = (error: unknown): void => ended(answers.refuse(request, response, error, jobRunID).status, false);
    const succeed = (answer: Answer): void => {
      answers.sendReady(response, answer.head, answer.tail);
      if (logsAll) {
        log.debug({ correlationId: correlationIdOf(request), jobRunID, cached: answer.cached }, "answered");
      }
      ended(200, answer.cached);
    };
    try {
      token.check(request);
      rate.take(request.socket);
      concurrency.enter();
      entered = true;
    } catch (error) {
      return fail(error);
    }
    readJson(request, maxPayload, (error, body, size) => {
      bytes = size;
      if (error !== undefined) return fail(error);
      let answer: Answer | Promise<Answer>;
      try {
        jobRunID = jobRunIdOf(body);
        answer = responder.answer(jobRunID, parseJobRequest(body, roster));
      } catch (refusal) {
        return fail(refusal);
      }
      if (answer instanceof Promise) answer.then(succeed).catch(fail);
      else succeed(answer);
    });
  };
}
