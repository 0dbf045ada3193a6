import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { BijuliError, explain } from "@bijuli/protocol";
import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import express, { type NextFunction, type Request, type Response } from "express";
import type { OracleNode } from "../node.ts";
import { statusPage } from "./page.ts";

/** The status page, the JSON API and the BullMQ board. */
export interface Api {
  url: string;
  close(): Promise<void>;
}

/**
 * Listens on NODE_HOST and NODE_PORT. /health, /ready and /metrics are open; the rest wants the bearer token where one is set.
 * @throws BijuliError port-in-use
 */
export async function serveApi(node: OracleNode): Promise<Api> {
  const { settings } = node;
  const app = express();
  app.disable("x-powered-by");
  app.set("json replacer", (_: string, value: unknown) => (typeof value === "bigint" ? value.toString() : value));

  app.get("/health", (_request, response) => {
    const { problems, checks } = node.health();
    response
      .status(problems.length === 0 ? 200 : 503)
      .json({ status: problems.length === 0 ? "ok" : "failing", problems, checks });
  });
  app.get("/ready", (_request, response) => {
    response.status(node.ready ? 200 : 503).json({ ready: node.ready });
  });
  app.get("/metrics", async (_request, response) => {
    response.type(node.metrics.registry.contentType).send(await node.metrics.registry.metrics());
  });

  app.use(authentication(settings.API_TOKEN));
  app.get("/", async (_request, response) => {
    response.type("html").send(
      statusPage({
        ...node.health(),
        jobs: [...node.jobs.values()],
        runs: await node.store.listRuns({ limit: 50 }),
        counts: await node.store.countRuns(),
      }),
    );
  });
  app.get("/jobs", (_request, response) => {
    response.json(
      [...node.jobs.values()].map((job) => ({
        name: job.name,
        externalJobID: job.externalJobId,
        specIds: job.specIds,
        contractAddress: job.contractAddress,
        ordering: job.ordering,
        tasks: job.pipeline.map(({ id, type }) => ({ id, type })),
        ignored: job.ignored,
      })),
    );
  });
  app.get("/runs", async (request, response) => {
    const { state, job, before, limit } = request.query;
    response.json(
      await node.store.listRuns({
        ...(typeof state === "string" ? { state } : {}),
        ...(typeof job === "string" ? { job } : {}),
        ...(typeof before === "string" && /^\d{1,15}$/.test(before) ? { before: Number(before) } : {}),
        limit: typeof limit === "string" && /^\d{1,3}$/.test(limit) ? Math.max(Number(limit), 1) : 50,
      }),
    );
  });
  app.get("/runs/:id", async (request, response) => {
    const run = await node.store.describeRun(request.params.id);
    if (run === undefined) throw new BijuliError("unknown-run", `there is no run ${request.params.id}`);
    response.json(run);
  });
  app.post("/runs/:id/again", async (request, response) => {
    const run = await node.runAgain(request.params.id);
    response.status(202).json({ id: run.id, state: run.state });
  });
  app.post("/replay/:block", (request, response) => {
    if (!/^\d{1,15}$/.test(request.params.block)) throw new BijuliError("bad-input", "replay wants a block's number");
    node.replay(Number(request.params.block));
    response.status(202).json({ from: Number(request.params.block) });
  });
  app.get("/transactions", async (request, response) => {
    const { limit } = request.query;
    response.json(
      await node.store.listTransactions(typeof limit === "string" && /^\d{1,3}$/.test(limit) ? Number(limit) : 50),
    );
  });
  app.get("/queue", async (_request, response) => {
    response.json(await node.queue.counts());
  });

  const board = new ExpressAdapter();
  board.setBasePath("/board");
  createBullBoard({ queues: [new BullMQAdapter(node.queue.queue as never) as never], serverAdapter: board as never });
  app.use("/board", board.getRouter());

  app.use((_request, response) => {
    response.status(404).json({ error: { name: "not-found", message: "there is nothing here" } });
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const code = error instanceof BijuliError ? error.code : "internal";
    const status = code === "unknown-run" ? 404 : code === "bad-state" ? 409 : code === "bad-input" ? 400 : 500;
    response.status(status).json({ error: { name: code, message: explain(error) } });
  });

  const server = app.listen(settings.NODE_PORT, settings.NODE_HOST);
  await listening(server, settings.NODE_HOST, settings.NODE_PORT);
  const { port } = server.address() as AddressInfo;
  const host = settings.NODE_HOST.includes(":") ? `[${settings.NODE_HOST}]` : settings.NODE_HOST;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 1_000).unref();
      }),
  };
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  try {
    await once(server, "listening");
  } catch (cause) {
    const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    throw new BijuliError(
      inUse ? "port-in-use" : "cannot-listen",
      `${host}:${port} ${inUse ? "is in use" : "cannot be listened on"}`,
      {
        cause,
        remedy: "set NODE_PORT or NODE_HOST",
      },
    );
  }
}

function authentication(token: string | undefined) {
  return (request: Request, response: Response, next: NextFunction) => {
    if (token === undefined) return next();
    const header = request.headers.authorization ?? "";
    // A browser that opens the board sends the token as the password of HTTP's basic scheme.
    const basic = /^Basic (.+)$/.exec(header)?.[1];
    const given =
      basic === undefined
        ? header.replace(/^Bearer /, "")
        : Buffer.from(basic, "base64")
            .toString("utf8")
            .replace(/^[^:]*:/, "");
    const [a, b] = [Buffer.from(given), Buffer.from(token)];
    if (a.length === b.length && timingSafeEqual(a, b)) return next();
    response
      .set("www-authenticate", 'Basic realm="node"')
      .status(401)
      .json({ error: { name: "unauthorized", message: "a token is wanted" } });
  };
}
