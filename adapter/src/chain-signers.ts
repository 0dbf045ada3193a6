import { MeterRegistryAbi } from "@bijuli/contracts/abi";
import { Contract, FetchRequest, JsonRpcProvider, Network } from "ethers";
import type { Logger } from "pino";
import type { Meter } from "./meters.ts";
import { Refusal } from "./refusal.ts";
import type { Signers } from "./signers.ts";

/** How long an answer of the chain is taken for good, ms of real time: rotations are announced for lots to come. */
const TRUSTED_MS = 60_000;
/** An answer that there is no such meter is asked again sooner: it is just being registered. */
const UNKNOWN_MS = 1000;
/** Meters asked about in one call. */
const BATCH = 200;
const NOBODY = "0x0000000000000000000000000000000000000000";

interface Known {
  signer: string | undefined;
  until: number;
}

/**
 * Signers as the MeterRegistry on chain has them at each reading's own lot, so that a rotation holds from its lot on and
 * earlier lots keep their signer. Several meters asked about at once share one call (`keysAt`).
 */
export class ChainSigners implements Signers {
  readonly #provider: JsonRpcProvider;
  readonly #registry: Contract;
  readonly #log: Logger;
  readonly #known = new Map<string, Known>();
  readonly #wanted = new Map<bigint, Map<Meter, PromiseWithResolvers<string>>>();
  #scheduled = false;

  /** @param options.timeoutMs how long the chain may take to answer; ethers itself would wait for five minutes */
  constructor(options: { rpcUrl: string; chainId: bigint; registry: string; timeoutMs: number; log: Logger }) {
    const network = Network.from(options.chainId);
    const endpoint = new FetchRequest(options.rpcUrl);
    endpoint.timeout = options.timeoutMs;
    this.#provider = new JsonRpcProvider(endpoint, network, { staticNetwork: network, cacheTimeout: -1 });
    this.#registry = new Contract(options.registry, MeterRegistryAbi, this.#provider);
    this.#log = options.log;
  }

  signerOf(meter: Meter, lot: bigint): string | Promise<string> {
    const known = this.#known.get(`${meter.id}:${lot}`);
    if (known !== undefined && performance.now() < known.until) {
      if (known.signer === undefined) throw this.#unregistered(meter, lot);
      return this.#agreed(meter, known.signer);
    }
    const wanted = this.#wanted.get(lot) ?? new Map<Meter, PromiseWithResolvers<string>>();
    this.#wanted.set(lot, wanted);
    const promise = wanted.get(meter) ?? Promise.withResolvers<string>();
    wanted.set(meter, promise);
    if (!this.#scheduled) {
      this.#scheduled = true;
      setTimeout(() => this.#askAll(), 5);
    }
    return promise.promise;
  }

  close(): void {
    this.#provider.destroy();
  }

  #askAll(): void {
    this.#scheduled = false;
    const now = performance.now();
    if (this.#known.size > 100_000)
      for (const [key, { until }] of this.#known) if (until < now) this.#known.delete(key);
    for (const [lot, wanted] of this.#wanted) {
      const meters = [...wanted];
      for (let at = 0; at < meters.length; at += BATCH) void this.#ask(lot, meters.slice(at, at + BATCH));
    }
    this.#wanted.clear();
  }

  async #ask(lot: bigint, wanted: [Meter, PromiseWithResolvers<string>][]): Promise<void> {
    let keys: readonly bigint[];
    try {
      const ids = wanted.map(([meter]) => meter.id);
      // By position: ethers' Result is an array, whose `keys` is Array's own.
      keys = (await this.#registry.getFunction("keysAt").staticCall(ids, lot))[1];
    } catch (error) {
      // ethers' errors hold the endpoint's whole address, which may hold its key: none of them goes any further.
      const { shortMessage, code } = error as { shortMessage?: string; code?: string };
      const cause = shortMessage ?? code ?? "no answer";
      this.#log.warn(`the chain does not tell the meters' signers: ${cause}`);
      for (const [meter, { reject }] of wanted) {
        reject(
          new Refusal(503, "signer-unknown", `${meter.label}: the chain does not tell its signer`, {
            retryAfter: 1,
          }),
        );
      }
      return;
    }
    for (const [i, [meter, { resolve, reject }]] of wanted.entries()) {
      // A key's low 160 bits are its signer (contracts/src/libraries/MeterKey.sol).
      const signer = `0x${((keys[i] ?? 0n) & ((1n << 160n) - 1n)).toString(16).padStart(40, "0")}`;
      const known = signer === NOBODY ? undefined : signer;
      const until = performance.now() + (known === undefined ? UNKNOWN_MS : TRUSTED_MS);
      this.#known.set(`${meter.id}:${lot}`, { signer: known, until });
      try {
        if (known === undefined) throw this.#unregistered(meter, lot);
        resolve(this.#agreed(meter, known));
      } catch (error) {
        reject(error);
      }
    }
  }

  #unregistered(meter: Meter, lot: bigint): Refusal {
    return new Refusal(503, "signer-unknown", `${meter.label}: the registry has no signer for it at lot ${lot}`, {
      retryAfter: 1,
    });
  }

  /** The operator may name the signer too; where that is not the registry's, the chain is right and it is said. */
  #agreed(meter: Meter, signer: string): string {
    if (meter.signer !== undefined && meter.signer !== signer && !meter.warnedOfSigner) {
      meter.warnedOfSigner = true;
      this.#log.warn(`${meter.label}: READERS names signer ${meter.signer}, the registry ${signer}, which counts`);
    }
    return signer;
  }
}
