import {
  BijuliError,
  decodeRecords,
  type Hex,
  meterIdOf,
  type ReadingDomain,
  readingFromRecord,
  recoverReadingSigner,
  type SignedReading,
} from "@bijuli/protocol";
import { type ServedReading, servedReadingToJson } from "./meter.ts";
import { type SignerSince, signerAt } from "./signerHistory.ts";

export interface AdapterClientOptions {
  url: string;
  /** The adapter's bearer token for requests; pushes need none, a reading proves itself. */
  token?: string | undefined;
  serial: string;
  /** The meter's own addresses: only what they signed is believed. */
  signers: readonly SignerSince[];
  domain: ReadingDomain;
  lotSeconds: number;
  timeoutMs?: number;
}

/** What an adapter knows of a meter. */
export interface KnownLot {
  lot: bigint;
  forward: bigint;
}

const LOT = /^(0|[1-9][0-9]{0,19})$/;

/** A meter's view of its adapter: what it knows of the meter, and where readings are pushed to. */
export class AdapterClient {
  readonly #options: AdapterClientOptions;

  constructor(options: AdapterClientOptions) {
    this.#options = options;
  }

  /**
   * The newest lot that the adapter knows of this meter.
   * @throws BijuliError adapter-silent when it cannot tell
   */
  async newest(): Promise<KnownLot> {
    const { data } = await this.#ask({ endpoint: "register", meters: [this.#options.serial] });
    const { lot, forward } = data;
    if (typeof lot !== "string" || typeof forward !== "string" || !LOT.test(lot) || !LOT.test(forward)) {
      throw new BijuliError("adapter-silent", `the adapter ${this.#options.url} tells no register`);
    }
    return { lot: BigInt(lot), forward: BigInt(forward) };
  }

  /**
   * A lot's reading as this meter once signed it.
   * @throws BijuliError not-mine when another key signed it, adapter-silent when the adapter has none
   */
  async reading(lot: bigint): Promise<SignedReading> {
    const { serial, signers, domain, lotSeconds } = this.#options;
    const { data } = await this.#ask({ meters: [serial], lot: lot.toString(), lots: "1" });
    const [record] = decodeRecords(String(data.result) as Hex);
    if (!record) throw new BijuliError("adapter-silent", `the adapter has no reading of ${serial} for lot ${lot}`);
    const signed = readingFromRecord(record, { meterId: meterIdOf(serial), lot, lotSeconds });
    const found = recoverReadingSigner(domain, signed.reading, signed.signature);
    if (found !== signerAt(signers, lot)) {
      throw new BijuliError("not-mine", `the adapter's reading of ${serial} for lot ${lot} is signed by ${found}`);
    }
    return signed;
  }

  /** Delivers a reading. @throws BijuliError push-refused with the adapter's reason, adapter-silent when it may pass */
  async push(served: ServedReading): Promise<void> {
    await this.#post("readings", servedReadingToJson(served), "push-refused");
  }

  async #ask(data: object): Promise<{ data: Record<string, unknown> }> {
    const answer = (await this.#post("", { id: "reader", data }, "adapter-silent")) as { data?: unknown } | null;
    return { data: (answer?.data ?? {}) as Record<string, unknown> };
  }

  async #post(path: string, body: object, refusedCode: string): Promise<unknown> {
    const { url, token, timeoutMs } = this.#options;
    const target = new URL(path, url.endsWith("/") ? url : `${url}/`);
    let status: number;
    let answer: unknown;
    try {
      const response = await fetch(target, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(timeoutMs ?? 10_000),
      });
      status = response.status;
      answer = await response.json();
    } catch (cause) {
      throw new BijuliError("adapter-silent", `the adapter ${url} does not answer`, { cause });
    }
    if (status === 200) return answer;
    const why = (answer as { error?: { message?: unknown } } | null)?.error?.message;
    const lasting = status >= 400 && status < 500 && status !== 408 && status !== 429;
    throw new BijuliError(
      lasting ? refusedCode : "adapter-silent",
      `the adapter ${url} says ${status}: ${why ?? "nothing"}`,
    );
  }
}
