import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { BijuliError, explain } from "@bijuli/protocol";
import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import express, { type NextFunction, type Request, type Response } from "express";
import type { OracleNode } from "../node.ts";
import { authentication } from "./authentication.ts";
import { readLateAnswer } from "./late-answer.ts";
import { statusPage } from "./page.ts";
import { pageProxy } from "./page-proxy.ts";

/** The status page, the JSON API and the BullMQ board. */
export interface Api {
  url: string;
  close(): Promise<void>;
}

/**
 * Listens on NODE_HOST and NODE_PORT with what endpoints.ts lists.
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

  // Without a token, as on a Chainlink node: who knows a task's id was given it by this node.
  app.patch(
    "/v2/resume/:id",
    express.text({ type: () => true, limit: settings.HTTP_MAX_BYTES }),
    async (request, response) => {
      await node.resume(request.params.id, readLateAnswer(String(request.body)));
      response.status(200).json({});
    },
  );

  app.use(authentication(settings.API_TOKEN));
  const status = async (_request: Request, response: Response) => {
    response.type("html").send(
      statusPage({
        ...node.health(),
        jobs: [...node.jobs.values()],
        runs: await node.store.history.runs({ limit: 50 }),
        counts: await node.store.history.counts(),
      }),
    );
  };
  if (settings.PAGE_URL === undefined) app.get("/", status);
  app.get("/status", status);
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
    const text = (name: string) => {
      const value = request.query[name];
      return typeof value === "string" && value !== "" ? value : undefined;
    };
    const limit = limitOf(request);
    const runs = await node.store.history.runs({
      state: text("state"),
      job: text("job"),
      group: text("group"),
      feeder: text("feeder")?.toLowerCase(),
      before: text("before"),
      limit,
    });
    const last = runs.at(-1);
    if (runs.length === limit && last !== undefined) {
      const next = new URLSearchParams({ ...(request.query as Record<string, string>), before: String(last.cursor) });
      response.set("link", `</runs?${next}>; rel="next"`);
    }
    response.json(runs);
  });
  app.get("/runs/:id", async (request, response) => {
    const run = await node.store.history.run(request.params.id);
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
    response.json(await node.store.history.transactions(limitOf(request)));
  });
  app.get("/queue", async (_request, response) => {
    response.json(await node.queue.counts());
  });

  const board = new ExpressAdapter();
  board.setBasePath("/board");
  createBullBoard({ queues: [new BullMQAdapter(node.queue.queue as never) as never], serverAdapter: board as never });
  app.use("/board", board.getRouter());

  if (settings.PAGE_URL !== undefined) {
    const page = pageProxy(new URL(settings.PAGE_URL));
    app.use((request, response, next) => {
      if (request.method === "GET" || request.method === "HEAD") page(request, response, request.originalUrl);
      else next();
    });
  }
  app.use((_request, response) => {
    response.status(404).json({ error: { name: "not-found", message: "there is nothing here" } });
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const code = error instanceof BijuliError ? error.code : "internal";
    const status =
      code === "unknown-run" ? 404 : code === "bad-state" ? 409 : code === "bad-input" ? 400 : statusOf(error);
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

function limitOf({ query: { limit } }: Request): number {
  return typeof limit === "string" && /^\d{1,3}$/.test(limit) ? Math.max(Number(limit), 1) : 50;
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

/** What Express itself refuses has a status: a body that is too large, for one. */
function statusOf(error: unknown): number {
  const status = (error as { status?: unknown } | undefined)?.status;
  return typeof status === "number" && status >= 400 && status < 500 ? status : 500;
}
