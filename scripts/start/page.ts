import { createServer, type Server } from "node:http";
import { BijuliError } from "@bijuli/protocol";
import type { LotLine } from "./lot-line.ts";
import { describeLot } from "./print.ts";

/** How many lots the page keeps: two days of five minutes. */
const KEPT = 576;
const HOST = "127.0.0.1";

/** What the page says about the network besides its lots. */
export interface PageFacts {
  /** Name → address: chain, adapter, node, readers. */
  links: Record<string, string>;
  lotSeconds: number;
}

const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** The network's status page: its newest lots and where its parts listen. `/lots.json` has the same for programs. */
export class Page {
  readonly #server: Server;
  readonly #lots: LotLine[] = [];
  #facts: PageFacts = { links: {}, lotSeconds: 300 };
  #status = "setting up";

  constructor() {
    this.#server = createServer((request, response) => {
      if (request.url === "/lots.json") {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(this.#lots));
      } else if (request.url === "/") {
        const headers = {
          "content-type": "text/html; charset=utf-8",
          "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        };
        response.writeHead(200, headers).end(this.#html());
      } else {
        response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
      }
    });
  }

  /** @throws BijuliError port-in-use */
  listen(port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new BijuliError("port-in-use", `port ${port} cannot be used for the page`, {
            cause,
            remedy: "choose another with --port N",
          }),
        ),
      );
      this.#server.listen(port, HOST, () => resolve(`http://${HOST}:${port}/`));
    });
  }

  show(facts: PageFacts): void {
    this.#facts = facts;
  }

  say(status: string): void {
    this.#status = status;
  }

  add(lot: LotLine): void {
    this.#lots.push(lot);
    if (this.#lots.length > KEPT) this.#lots.shift();
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #html(): string {
    const { links, lotSeconds } = this.#facts;
    const list = Object.entries(links).map(
      ([name, url]) => `<li>${escapeHtml(name)}: <a href="${escapeHtml(url)}">${escapeHtml(url)}</a></li>`,
    );
    const lots = this.#lots
      .slice(-50)
      .reverse()
      .map((lot) => escapeHtml(describeLot(lot, lotSeconds)));
    return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><meta name="viewport" content="width=device-width"><title>Bijuli</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}pre{overflow-x:auto}</style></head>
<body><h1>Bijuli</h1><p>${escapeHtml(this.#status)}; ${this.#lots.length} lots cleared.</p><ul>${list.join("")}</ul><h2>Newest lots</h2><pre>${lots.join("\n")}</pre></body></html>`;
  }
}
