import type { IncomingMessage } from "node:http";
import { badInput, Refusal } from "./refusal.ts";

/**
 * Told once: the refusal, 400 for what is not JSON and 413 for too much, or the JSON; and how many bytes were read.
 */
export type OnJson = (error: Refusal | undefined, json: unknown, bytes: number) => void;

/**
 * Reads a request's JSON body. Express's own parser is not used: it costs a third of the throughput, and answers its
 * errors in shapes of its own.
 * @param limit bytes at most
 */
export function readJson(request: IncomingMessage, limit: number, done: OnJson): void {
  const { headers } = request;
  let first: Buffer | undefined;
  let chunks: Buffer[] | undefined;
  let bytes = 0;
  let over = false;
  const refuse = (refusal: Refusal): void => {
    if (over) return;
    over = true;
    done(refusal, undefined, bytes);
  };
  const encoding = headers["content-encoding"] ?? "identity";
  const tooMuch = (): void => refuse(new Refusal(413, "too-large", `the body is larger than ${limit} bytes`));
  // A browser's form cannot send this type, so no web page can make a user's browser ask a local adapter.
  if (!isJson(headers["content-type"])) refuse(badInput("content-type must be application/json"));
  else if (encoding !== "identity") refuse(badInput("a compressed body is not accepted"));
  else if (Number(headers["content-length"]) > limit) tooMuch();
  if (over) return;
  request.on("data", (chunk: Buffer) => {
    if (over) return;
    bytes += chunk.length;
    if (bytes > limit) {
      first = chunks = undefined;
      tooMuch();
    } else if (first === undefined) first = chunk;
    else {
      chunks ??= [first];
      chunks.push(chunk);
    }
  });
  request.on("error", () => refuse(badInput("the body broke off")));
  request.on("end", () => {
    if (over) return;
    const text = chunks === undefined ? (first?.toString() ?? "") : Buffer.concat(chunks).toString();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      refuse(badInput(text === "" ? "the body is empty" : "the body is not JSON"));
      return;
    }
    over = true;
    done(undefined, json, bytes);
  });
}

const isJson = (type: string | undefined): boolean =>
  // What every Chainlink node sends is told without a regular expression.
  type === "application/json" || (type !== undefined && /^application\/json\s*(?:;|$)/i.test(type));
