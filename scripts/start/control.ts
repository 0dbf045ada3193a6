import { randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { BijuliError, type Clock, explain } from "@bijuli/protocol";
import { z } from "zod";
import { type Grid, type GridMeter, metersOf, type Source } from "./grid.ts";
import type { DemoSwitches } from "./switches.ts";

const HOST = "127.0.0.1";
const MAX_BODY = 4_096;
/** What a thief of the demo draws unless told: enough to see, little enough that lights stay on. */
const STOLEN_WATTS = 600;

const order = z.discriminatedUnion("switch", [
  z.strictObject({ switch: z.enum(["line", "behind"]), watts: z.number().min(0).max(1e6) }),
  z.strictObject({ switch: z.literal("sensor"), serial: z.string(), failing: z.boolean() }),
  z.strictObject({ switch: z.literal("reader"), serial: z.string(), running: z.boolean() }),
  z.strictObject({ switch: z.literal("node"), running: z.boolean() }),
]);

/** What the switches can do to the network's processes. */
export interface Controlled {
  grid: Grid;
  clock: Clock;
  switches: DemoSwitches;
  readerRuns(serial: string): boolean;
  nodeRuns(): boolean;
  switchReader(serial: string, running: boolean): Promise<void>;
  switchNode(running: boolean): Promise<void>;
}

/**
 * The demo's switches over HTTP, for the page's server alone: it listens on loopback, and whoever does not know the
 * token, which only that server is given, is refused.
 */
export class Control {
  readonly token = randomBytes(24).toString("hex");
  readonly #network: Controlled;
  readonly #server: Server;
  readonly #meters: GridMeter[];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(network: Controlled) {
    this.#network = network;
    this.#meters = network.grid.feeders.flatMap((feeder) => metersOf(network.grid, feeder));
    this.#server = createServer((request, response) => {
      this.#answer(request).then(
        ([status, body]) => {
          const text = JSON.stringify(body);
          response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
          response.end(text);
        },
        () => response.destroy(),
      );
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, HOST);
    await once(this.#server, "listening");
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}/`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage): Promise<[number, unknown]> {
    const refusal = (status: number, name: string, message: string): [number, unknown] => [
      status,
      { error: { name, message } },
    ];
    if (!this.#knows(request.headers.authorization)) return refusal(401, "unauthorized", "a token is wanted");
    if (request.method === "GET") return [200, this.#state()];
    if (request.method !== "POST") return refusal(405, "method-not-allowed", "GET or POST");
    try {
      const parsed = order.safeParse(JSON.parse(await bodyOf(request)));
      if (!parsed.success) return refusal(400, "bad-input", "there is no such switch");
      // One at a time: a part is not stopped while it starts.
      const done = this.#turn.then(() => this.#throw(parsed.data));
      this.#turn = done.catch(() => {});
      await done;
      return [200, this.#state()];
    } catch (error) {
      const code = error instanceof BijuliError ? error.code : "bad-input";
      return refusal(code === "part-failed" ? 500 : 400, code, explain(error));
    }
  }

  #knows(header: string | undefined): boolean {
    const [given, wanted] = [Buffer.from(header ?? ""), Buffer.from(`Bearer ${this.token}`)];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  #state() {
    const network = this.#network;
    const { switches } = network;
    return {
      theft: this.#meters.some(({ source }) => taps(source))
        ? { line: switches.drawn("line"), behind: switches.drawn("behind"), watts: STOLEN_WATTS }
        : null,
      sensors: this.#meters.map(({ serial, source }) => ({
        serial,
        alterable: "simulate" in source,
        failing: switches.isFailing(serial),
      })),
      readers: this.#meters.map(({ serial }) => ({ serial, running: network.readerRuns(serial) })),
      node: { running: network.nodeRuns() },
    };
  }

  async #throw(asked: z.infer<typeof order>): Promise<void> {
    const network = this.#network;
    const { switches, clock } = network;
    if (asked.switch === "node") return network.switchNode(asked.running);
    if ("watts" in asked) {
      if (!this.#meters.some(({ source }) => taps(source)))
        throw new BijuliError("bad-input", "this network replays recordings, which cannot be altered");
      return switches.draw(asked.switch, asked.watts, clock);
    }
    const meter = this.#meters.find(({ serial }) => serial === asked.serial);
    if (meter === undefined) throw new BijuliError("bad-input", `there is no meter ${JSON.stringify(asked.serial)}`);
    if (asked.switch === "reader") return network.switchReader(asked.serial, asked.running);
    if (!("simulate" in meter.source))
      throw new BijuliError("bad-input", `meter ${asked.serial} replays a recording, which cannot be altered`);
    switches.fail(asked.serial, asked.failing, clock);
  }
}

/** Whether a thief can draw power that flows through this meter. */
function taps(source: Source): boolean {
  return "simulate" in source && JSON.stringify(source.simulate).includes('"tap":');
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > MAX_BODY) throw new BijuliError("bad-input", "a switch is a short message");
  }
  return text;
}
