import { explain, type Hex, meterIdOf } from "@bijuli/protocol";
import { z } from "zod";
import type { MeterJson, RequestJson } from "./shapes.ts";

/** What the node says of its runs. */
const nodeRuns = z.array(
  z.object({
    requestId: z.string(),
    state: z.string(),
    attempts: z.number(),
    cause: z.string().nullish(),
    transaction: z.string().nullish(),
  }),
);

/** What the adapter says of its meters. */
const adapterStatus = z.object({
  meters: z.array(
    z.object({
      serial: z.string(),
      meterId: z.string(),
      newestLot: z.string().nullish(),
      fresh: z.boolean(),
      circuit: z.union([z.string(), z.object({ state: z.string() })]),
      lastError: z.string().nullish(),
    }),
  ),
  contradictions: z.int().nonnegative().default(0),
});

const TIMEOUT_MS = 3_000;
/** Asked at most this often, however many look at the page. */
const KEPT_MS = 1_000;

/** The node and the adapter, as far as this server is told of them. What they do not answer is left out. */
export class Neighbours {
  readonly #node: { url: string; token: string | undefined } | undefined;
  readonly #adapter: { url: string; token: string | undefined } | undefined;
  readonly #kept = new Map<string, { at: number; answer: Promise<unknown> }>();
  readonly problems = new Map<string, string>();
  /** Pairs of readings that contradict each other, which the adapter has seen and keeps as evidence. */
  contradictions = 0;

  constructor(options: {
    nodeUrl: string | undefined;
    nodeToken: string | undefined;
    adapterUrl: string | undefined;
    adapterToken: string | undefined;
  }) {
    const { nodeUrl, nodeToken, adapterUrl, adapterToken } = options;
    this.#node = nodeUrl === undefined ? undefined : { url: nodeUrl, token: nodeToken };
    this.#adapter = adapterUrl === undefined ? undefined : { url: adapterUrl, token: adapterToken };
  }

  get hasNode(): boolean {
    return this.#node !== undefined;
  }

  get hasAdapter(): boolean {
    return this.#adapter !== undefined;
  }

  /** The node's newest runs, by request. */
  async runs(): Promise<Map<string, NonNullable<RequestJson["run"]>>> {
    const runs = (await this.#ask("node", this.#node, "/runs?limit=500", nodeRuns)) ?? [];
    return new Map(
      runs.map(({ requestId, state, attempts, cause, transaction }) => [
        requestId.toLowerCase(),
        { state, attempts, cause: cause ?? null, transaction: (transaction ?? null) as Hex | null },
      ]),
    );
  }

  /** The adapter's view of its meters, by meter id. */
  async readers(): Promise<Map<string, { serial: string; reader: NonNullable<MeterJson["reader"]> }>> {
    const status = await this.#ask("adapter", this.#adapter, "/status", adapterStatus);
    if (status !== undefined) this.contradictions = status.contradictions;
    const readers = new Map<string, { serial: string; reader: NonNullable<MeterJson["reader"]> }>();
    for (const { serial, meterId, newestLot, fresh, circuit, lastError } of status?.meters ?? []) {
      // An adapter could call a meter what it likes; the id is the serial's hash.
      if (idOf(serial) !== meterId) continue;
      readers.set(meterId, {
        serial,
        reader: {
          fresh,
          newestLot: newestLot ?? null,
          circuit: typeof circuit === "string" ? circuit : circuit.state,
          error: lastError ?? null,
        },
      });
    }
    return readers;
  }

  async #ask<T>(
    name: string,
    at: { url: string; token: string | undefined } | undefined,
    path: string,
    shape: z.ZodType<T>,
  ): Promise<T | undefined> {
    if (at === undefined) return undefined;
    const key = `${name}${path}`;
    let kept = this.#kept.get(key);
    if (kept === undefined || performance.now() - kept.at > KEPT_MS) {
      const answer = fetch(`${at.url.replace(/\/+$/, "")}${path}`, {
        headers: at.token === undefined ? {} : { authorization: `Bearer ${at.token}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      }).then(async (response) => {
        if (!response.ok) throw new Error(`it answered ${response.status}`);
        return response.json() as Promise<unknown>;
      });
      kept = { at: performance.now(), answer };
      this.#kept.set(key, kept);
    }
    try {
      const answer = shape.safeParse(await kept.answer);
      if (answer.success) {
        this.problems.delete(name);
        return answer.data;
      }
      const [issue] = answer.error.issues;
      this.problems.set(name, `the ${name} answers ${path} with what is not understood: ${issue?.path.join(".")}`);
      return undefined;
    } catch (error) {
      this.problems.set(name, `the ${name} does not answer: ${explain(error)}`);
      return undefined;
    }
  }
}

/** No serial has an id but those that a meter can have. */
function idOf(serial: string): Hex | undefined {
  try {
    return meterIdOf(serial);
  } catch {
    return undefined;
  }
}
