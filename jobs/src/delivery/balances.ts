import type { RpcClient } from "../chain/rpc.ts";
import type { NodeMetrics } from "../metrics.ts";

/** Looks now and then whether the sending keys have ether. */
export class Balances {
  readonly #rpc: RpcClient;
  readonly #addresses: readonly string[];
  /** wei below which a key is a problem. */
  readonly #least: bigint;
  readonly #metrics: NodeMetrics;
  readonly #chain: string;
  readonly #balances = new Map<string, bigint>();

  constructor(options: {
    rpc: RpcClient;
    addresses: readonly string[];
    least: bigint;
    metrics: NodeMetrics;
    chainId: bigint;
  }) {
    this.#rpc = options.rpc;
    this.#addresses = options.addresses;
    this.#least = options.least;
    this.#metrics = options.metrics;
    this.#chain = String(options.chainId);
  }

  async look(): Promise<void> {
    try {
      await Promise.all(
        this.#addresses.map(async (address) => {
          const balance = BigInt(await this.#rpc.call<string>("eth_getBalance", [address, "latest"]));
          this.#balances.set(address, balance);
          this.#metrics.balance.set({ account: address, evmChainID: this.#chain }, Number(balance) / 1e18);
        }),
      );
    } catch {
      // The intake reports an RPC that does not answer.
    }
  }

  problems(): string[] {
    return [...this.#balances].flatMap(([address, balance]) =>
      balance < this.#least ? [`sender ${address} has only ${balance} wei`] : [],
    );
  }

  describe(): Record<string, string> {
    return Object.fromEntries([...this.#balances].map(([address, balance]) => [address, balance.toString()]));
  }
}
