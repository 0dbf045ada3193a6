import { explain, type Hex, meterIdOf } from "@bijuli/protocol";
import type { MeterJson, RequestJson } from "./shapes.ts";

/** What the node says of a run. */
interface NodeRun {
  requestId: string;
  state: string;
  attempts: number;
  cause: string | null;
  transaction: Hex | null;
}

interface AdapterMeter {
  serial: string;
  meterId: string;
  newestLot?: string;
  fresh: boolean;
  circuit: string | { state?: string };
  lastError?: string;
}

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
    const runs = (await this.#ask<NodeRun[]>("node", this.#node, "/runs?limit=500")) ?? [];
    return new Map(
      runs.map(({ requestId, state, attempts, cause, transaction }) => [
        requestId.toLowerCase(),
        { state, attempts, cause, transaction },
      ]),
    );
  }

  /** The adapter's view of its meters, by meter id. */
  async readers(): Promise<Map<string, { serial: string; reader: NonNullable<MeterJson["reader"]> }>> {
    const status = await this.#ask<{ meters: AdapterMeter[]; contradictions?: number }>(
      "adapter",
      this.#adapter,
      "/status",
    );
    if (status !== undefined) this.contradictions = status.contradictions ?? 0;
    const readers = new Map<string, { serial: string; reader: NonNullable<MeterJson["reader"]> }>();
    for (const { serial, meterId, newestLot, fresh, circuit, lastError } of status?.meters ?? []) {
      // An adapter could call a meter what it likes; the id is the serial's hash.
      if (meterIdOf(serial) !== meterId) continue;
      readers.set(meterId, {
        serial,
        reader: {
          fresh,
          newestLot: newestLot ?? null,
          circuit: typeof circuit === "string" ? circuit : (circuit?.state ?? "unknown"),
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
      const answer = (await kept.answer) as T;
      this.problems.delete(name);
      return answer;
    } catch (error) {
      this.problems.set(name, `the ${name} does not answer: ${explain(error)}`);
      return undefined;
    }
  }
}
