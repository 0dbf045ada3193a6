import type { Request, Response } from "express";

const HEARTBEAT_MS = 15_000;
/** Changes within this time are told as one. */
const GATHER_MS = 200;
const MAX_VIEWERS = 500;

/** Tells every open page which feeders have changed; the page asks for what it shows. */
export class Events {
  readonly #viewers = new Set<Response>();
  readonly #heartbeat: NodeJS.Timeout;
  #gathered = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor() {
    this.#heartbeat = setInterval(() => this.#send(":\n\n"), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  get viewers(): number {
    return this.#viewers.size;
  }

  listen(request: Request, response: Response): void {
    if (this.#viewers.size >= MAX_VIEWERS) {
      response.status(503).json({ error: { name: "too-many", message: "too many pages listen; ask again later" } });
      return;
    }
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    if (request.method === "HEAD") return void response.end();
    response.write("retry: 2000\n\n");
    this.#viewers.add(response);
    request.on("close", () => this.#viewers.delete(response));
  }

  changed(feeders: ReadonlySet<string>): void {
    for (const feeder of feeders) this.#gathered.add(feeder);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const told = [...this.#gathered];
      this.#gathered = new Set();
      this.#send(`event: changed\ndata: ${JSON.stringify({ feeders: told })}\n\n`);
    }, GATHER_MS);
  }

  close(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    for (const viewer of this.#viewers) viewer.end();
  }

  #send(text: string): void {
    for (const viewer of this.#viewers) {
      // Who does not read is let go: what was missed is asked for when the page comes back.
      if (viewer.writableLength > 65_536) viewer.destroy();
      else viewer.write(text);
    }
  }
}
