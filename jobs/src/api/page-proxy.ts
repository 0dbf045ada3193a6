import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import { explain } from "@bijuli/protocol";

/** Headers that concern one connection only (RFC 9110, 7.6.1), and what proves an operator to this node. */
const KEPT_BACK = new Set([
  "authorization",
  "connection",
  "cookie",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Serves another process' page as part of this one: a GET or HEAD is passed on as it is and its answer comes back as it is,
 * piece by piece, so that server-sent events flow. 502 and one sentence when that process does not answer.
 */
export function pageProxy(page: URL): (request: IncomingMessage, response: ServerResponse, path: string) => void {
  const client = page.protocol === "https:" ? https : http;
  return (request, response, path) => {
    const passed = client.request(
      new URL(path.replace(/^\/+/, "/"), page),
      { method: request.method, headers: passedOn(request.headers) },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, passedOn(answer.headers));
        response.flushHeaders();
        answer.pipe(response);
        answer.on("error", () => response.destroy());
      },
    );
    passed.on("error", (error) => {
      if (response.headersSent || response.destroyed) {
        response.destroy();
        return;
      }
      const message = `the page at ${page.origin} does not answer: ${explain(error)}`;
      response.writeHead(502, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { name: "page-down", message } }));
    });
    response.on("close", () => passed.destroy());
    passed.end();
  };
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string | string[]] => {
      const [name, value] = entry;
      return value !== undefined && !KEPT_BACK.has(name);
    }),
  );
}
