import { BijuliError, type Hex } from "@bijuli/protocol";
import { Transaction } from "ethers";
import { headerBytes, type ProvenLog, receiptBytes } from "./block.ts";
import type { Supplier } from "./proven-chain.ts";
import { addList } from "./trie.ts";
import type { Witness } from "./witness.ts";

/** Asks an Ethereum node over JSON-RPC. */
// biome-ignore lint/suspicious/noExplicitAny: a node's answers are checked by the hashes they must come to
export type Rpc = (method: string, params: readonly unknown[]) => Promise<any>;

/** Gets from a node what a witness lacks: it is believed only as far as it hashes to what a block's hash commits to. */
export class RpcSupplier implements Supplier {
  readonly #rpc: Rpc;
  readonly #witness: Witness;
  readonly #asked = new Set<string>();

  constructor(rpc: Rpc, witness: Witness) {
    this.#rpc = rpc;
    this.#witness = witness;
  }

  /** @returns the block's hash */
  async block(tag: string): Promise<Hex> {
    const block = await this.#rpc("eth_getBlockByNumber", [tag, false]);
    if (!block) throw new BijuliError("no-block", `the chain has no block ${tag}`);
    return this.#witness.add(headerBytes(block));
  }

  async header(number: number): Promise<void> {
    if (this.#first(`header ${number}`)) await this.block(hexNumber(number));
  }

  async proof(block: number, address: Hex, slot: Hex | undefined): Promise<void> {
    if (!this.#first(`proof ${block} ${address} ${slot}`)) return;
    let proof: { accountProof: Hex[]; storageProof: { proof: Hex[] }[] };
    try {
      proof = await this.#rpc("eth_getProof", [address, slot === undefined ? [] : [slot], hexNumber(block)]);
    } catch (cause) {
      throw new BijuliError("no-proof", `the node gives no proof of the state at block ${block}`, {
        remedy: "ask one that keeps the state of that block (an archive node), or make the bill while it is young",
        cause,
      });
    }
    for (const node of proof.accountProof) this.#witness.add(node);
    for (const { proof: nodes } of proof.storageProof) for (const node of nodes) this.#witness.add(node);
  }

  async code(block: number, address: Hex): Promise<void> {
    if (this.#first(`code ${address}`)) this.#witness.add(await this.#rpc("eth_getCode", [address, hexNumber(block)]));
  }

  async list(block: number, kind: "transactions" | "receipts"): Promise<void> {
    if (!this.#first(`${kind} ${block}`)) return;
    const { transactions } = await this.#rpc("eth_getBlockByNumber", [hexNumber(block), true]);
    if (kind === "transactions") {
      addList(this.#witness, transactions.map(rawTransaction));
      return;
    }
    const receipts: Parameters<typeof receiptBytes>[0][] = await Promise.all(
      transactions.map(({ hash }: { hash: Hex }) => this.#rpc("eth_getTransactionReceipt", [hash])),
    );
    addList(this.#witness, receipts.map(receiptBytes));
  }

  #first(question: string): boolean {
    if (this.#asked.has(question)) return false;
    this.#asked.add(question);
    return true;
  }
}

/** A transaction's bytes, out of what a node says of it in JSON. */
function rawTransaction(json: Record<string, unknown>): Hex {
  const { input, gas, v, yParity, r, s, type, ...rest } = json;
  const pick = (name: string) => (rest[name] === undefined || rest[name] === null ? undefined : rest[name]);
  const kind = Number(type ?? 0);
  return Transaction.from({
    type: kind,
    to: (pick("to") as string | undefined) ?? null,
    nonce: Number(rest.nonce),
    gasLimit: gas as string,
    data: input as string,
    value: rest.value as string,
    chainId: (pick("chainId") as string | undefined) ?? 0,
    ...(kind <= 1
      ? { gasPrice: rest.gasPrice as string }
      : {
          maxPriorityFeePerGas: rest.maxPriorityFeePerGas as string,
          maxFeePerGas: rest.maxFeePerGas as string,
        }),
    ...(kind >= 1 ? { accessList: (rest.accessList as []) ?? [] } : {}),
    ...(kind === 3
      ? { maxFeePerBlobGas: rest.maxFeePerBlobGas as string, blobVersionedHashes: rest.blobVersionedHashes as string[] }
      : {}),
    ...(kind === 4 ? { authorizationList: rest.authorizationList as [] } : {}),
    signature: { r: word(r), s: word(s), v: kind === 0 ? Number(v) : 27 + Number(yParity ?? v) },
  } as never).serialized as Hex;
}

const word = (value: unknown): Hex =>
  `0x${BigInt(value as string)
    .toString(16)
    .padStart(64, "0")}`;
const hexNumber = (value: number): Hex => `0x${value.toString(16)}`;
export type { ProvenLog };
