import { BijuliError } from "@bijuli/protocol";
import type { Request, Response } from "express";

/** The page sends this with every switch; no other site can, without asking first. */
export const SWITCH_HEADER = "x-bijuli-switch";
const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
const MAX_BODY = 2_000;
const TIMEOUT_MS = 30_000;

/** Hands the demo's switches on to the process that runs the network; it alone knows the token. */
export class DemoProxy {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  async read(_request: Request, response: Response): Promise<void> {
    await this.#pass(response, { method: "GET" });
  }

  async throw(request: Request, response: Response): Promise<void> {
    requireOwnPage(request);
    const body = JSON.stringify(request.body ?? null);
    if (body.length > MAX_BODY) throw new BijuliError("bad-input", "a switch is a short message");
    await this.#pass(response, { method: "POST", body });
  }

  async #pass(response: Response, request: RequestInit): Promise<void> {
    const answer = await fetch(this.#url, {
      ...request,
      headers: { "content-type": "application/json", authorization: `Bearer ${this.#token}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    response
      .status(answer.status)
      .type("json")
      .send(await answer.text());
  }
}

/** A switch is thrown by this page on this machine: not by another site in the same browser, nor under a borrowed name. */
function requireOwnPage(request: Request): void {
  const { host = "", origin, "sec-fetch-site": site } = request.headers;
  const foreign =
    request.headers[SWITCH_HEADER] !== "1" ||
    !LOOPBACK.test(host) ||
    (origin !== undefined && origin !== `http://${host}`) ||
    (site !== undefined && site !== "same-origin");
  if (foreign) throw new BijuliError("forbidden", "the switches can only be thrown from the page itself");
}
