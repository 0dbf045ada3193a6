import { lookup } from "node:dns";
import http from "node:http";
import https from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { explain } from "@bijuli/protocol";
import { RetryableError } from "../task.ts";

export interface HttpCall {
  url: URL;
  method: string;
  headers: readonly string[];
  body: string | undefined;
  signal: AbortSignal;
  maxBytes: number;
  /** Refuse private, loopback and link-local addresses. */
  restricted: boolean;
}

export interface HttpAnswer {
  status: number;
  /** Names in lower case. */
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

const agents = {
  "http:": new http.Agent({ keepAlive: true, maxSockets: 256 }),
  "https:": new https.Agent({ keepAlive: true, maxSockets: 256 }),
};

/** Networks that a request's own URL must not reach; Chainlink's http_allowed_ips.go. */
const inner = new BlockList();
for (const [net, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["224.0.0.0", 3],
] as const) {
  inner.addSubnet(net, prefix, "ipv4");
}
for (const [net, prefix] of [
  ["::", 127],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const) {
  inner.addSubnet(net, prefix, "ipv6");
}

/** Whether an address lies in a private, loopback or otherwise inner network. */
export function isInner(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const plain = mapped ?? address;
  return inner.check(plain, isIP(plain) === 6 ? "ipv6" : "ipv4");
}

const outerOnly: LookupFunction = (host, options, callback) => {
  lookup(host, { ...options, all: true }, (error, found) => {
    if (error) return callback(error, "", 0);
    const bad = found.find(({ address }) => isInner(address));
    if (bad !== undefined) return callback(new Error(`${host} is ${bad.address}, an inner address`), "", 0);
    const all = (options as { all?: boolean }).all === true;
    if (all) return (callback as unknown as (e: null, a: typeof found) => void)(null, found);
    callback(null, found[0]!.address, found[0]!.family);
  });
};

/** How many redirects Go's http.Client follows. */
const MAX_REDIRECTS = 10;

/**
 * One HTTP exchange, with the body whole; redirects are followed as Go's http.Client does.
 * @throws RetryableError when nothing was answered; Error when the answer is too large
 */
export async function httpCall(call: HttpCall): Promise<HttpAnswer> {
  let asked = call;
  for (let redirects = 0; ; redirects++) {
    const answer = await exchange(asked);
    const next = redirected(asked, answer);
    if (next === undefined) return answer;
    if (redirects === MAX_REDIRECTS) {
      throw new RetryableError(`${call.url.origin} redirects more than ${MAX_REDIRECTS} times`);
    }
    asked = next;
  }
}

/** The call that a redirect asks for: after 301 to 303 without the body, after 307 and 308 the same. */
function redirected(call: HttpCall, { status, headers }: HttpAnswer): HttpCall | undefined {
  const url = URL.parse(headers.location ?? "", call.url);
  if (![301, 302, 303, 307, 308].includes(status) || headers.location === undefined || url === null) return undefined;
  if (!/^https?:$/.test(url.protocol)) throw new RetryableError(`${call.url.origin} redirects to ${url.protocol}`);
  const sameHost = url.host === call.url.host;
  const pairwise = Array.from({ length: call.headers.length >> 1 }, (_, at) => call.headers.slice(2 * at, 2 * at + 2));
  // A stranger does not get what was meant for the first host.
  const kept = pairwise.filter(([name]) => sameHost || !/^(authorization|cookie2?|www-authenticate)$/i.test(name!));
  const same = { ...call, url, headers: kept.flat() };
  if (status >= 307) return same;
  return { ...same, method: call.method === "HEAD" ? "HEAD" : "GET", body: undefined };
}

function exchange(call: HttpCall): Promise<HttpAnswer> {
  const { url } = call;
  const module = url.protocol === "https:" ? https : http;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (call.restricted && isIP(host) !== 0 && isInner(host)) {
    return Promise.reject(new Error(`${url.origin} is an inner address, and this task may not reach those`));
  }
  return new Promise((resolve, reject) => {
    const unanswered = (cause: unknown) =>
      reject(new RetryableError(`no answer from ${url.origin}: ${reason(cause)}`, { cause }));
    const request = module.request(
      url,
      {
        method: call.method,
        agent: agents[url.protocol as keyof typeof agents],
        signal: call.signal,
        ...(call.restricted ? { lookup: outerOnly } : {}),
        headers: {
          "content-type": "application/json",
          // Some public sources refuse who does not say what he is; Go's client always does.
          "user-agent": "bijuli",
          ...(call.body === undefined ? {} : { "content-length": Buffer.byteLength(call.body) }),
          ...pairs(call.headers),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > call.maxBytes) {
            reject(new Error(`the answer of ${url.origin} is larger than ${call.maxBytes} bytes`));
            response.destroy();
            return;
          }
          chunks.push(chunk);
        });
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
        response.on("error", unanswered);
        response.on("aborted", () => unanswered(new Error("the connection was cut within the answer")));
      },
    );
    request.on("error", unanswered);
    request.end(call.body);
  });
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const message = explain(cause);
  return message.includes(code) ? message : `${code} ${message}`.trim();
}

function pairs(headers: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at + 1 < headers.length; at += 2) found[headers[at]!.toLowerCase()] = headers[at + 1]!;
  return found;
}

/**
 * The error that an answer's body tells, if any: Chainlink's adapters write `error` as text or as {name, message}, or
 * `errorMessage`.
 */
export function errorInBody(body: Buffer): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const { error, errorMessage } = parsed as { error?: unknown; errorMessage?: unknown };
  if (typeof error === "string" && error !== "") return error;
  if (typeof error === "object" && error !== null) {
    const { name, message } = error as { name?: unknown; message?: unknown };
    return (
      [name, message].filter((part) => typeof part === "string" && part !== "").join(": ") || JSON.stringify(error)
    );
  }
  return typeof errorMessage === "string" && errorMessage !== "" ? errorMessage : undefined;
}

/**
 * The status that an adapter's body claims; it overrides the header's (Chainlink's eautils.go). With any `error` but null it is
 * none of success.
 */
export function statusInBody(body: Buffer): number | undefined {
  try {
    const parsed = JSON.parse(body.toString("utf8")) as {
      statusCode?: unknown;
      providerStatusCode?: unknown;
      error?: unknown;
    } | null;
    if (typeof parsed !== "object" || parsed === null || typeof parsed.statusCode !== "number") return undefined;
    if (parsed.statusCode !== 200) return parsed.statusCode;
    if (typeof parsed.providerStatusCode === "number" && parsed.providerStatusCode !== 200)
      return parsed.providerStatusCode;
    return (parsed.error ?? null) === null ? 200 : 500;
  } catch {
    return undefined;
  }
}
