import { BijuliError, type Hex } from "@bijuli/protocol";
import type { Request, Response } from "express";
import { collectBill, EXPORT_TYPES, EXPORTS, type ExportFormat, exportBill } from "../evidence/index.ts";
import { big, whole } from "./parameters.ts";
import type { Rpc } from "./rpc.ts";

/** A month of five-minute lots: what one request makes. `bijuli bill` has no such bound. */
const MOST_LOTS = 9_000n;
const WAITING = 8;
/** The printed sheet brings its style along; nothing in it runs. */
const PRINTED_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/** Makes bills, one after the other: each is hundreds of questions to the chain. */
export class Bills {
  readonly #rpc: Rpc;
  readonly #registry: Hex;
  readonly #since: number;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param since the deployment's block, before which nothing is looked for */
  constructor(rpc: Rpc, registry: Hex, since: number) {
    this.#rpc = rpc;
    this.#registry = registry;
    this.#since = since;
  }

  async answer({ query }: Request, response: Response): Promise<void> {
    const format = (query.format ?? "json") as ExportFormat;
    if (!EXPORTS.includes(format)) throw new BijuliError("bad-input", `format must be one of ${EXPORTS.join(", ")}`);
    const [account, from, to] = [whole(query, "account", 1, 2 ** 32 - 1), big(query, "from"), big(query, "to")];
    if (account === undefined || from === undefined || to === undefined)
      throw new BijuliError("bad-input", "account, from and to (lots) are wanted");
    if (from > to) throw new BijuliError("bad-input", "from lies after to");
    if (to - from >= MOST_LOTS)
      throw new BijuliError("bad-input", `a bill here has at most ${MOST_LOTS} lots; bijuli bill makes longer ones`);
    const text = await this.#inTurn(async () => {
      const { file, bill } = await collectBill((method, params) => this.#rpc.call(method, params), {
        registry: this.#registry,
        account,
        from,
        to,
        since: this.#since,
      });
      return exportBill(format, bill, file);
    });
    const { type, extension } = EXPORT_TYPES[format];
    const name = `bill-${account}-${from}-${to}.${extension}`;
    response.set("content-type", type);
    if (format === "html") response.set("content-security-policy", PRINTED_CSP);
    else response.set("content-disposition", `attachment; filename="${name}"`);
    response.send(text);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING) throw new BijuliError("busy", "too many bills are being made; ask again in a minute");
    this.#waiting++;
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    try {
      return await done;
    } finally {
      this.#waiting--;
    }
  }
}
