import type { Hex } from "@bijuli/protocol";
import { keccak256 } from "ethers";
import {
  decodeHeader,
  decodeReceipt,
  decodeTransaction,
  type Header,
  type ProvenLog,
  type ProvenTransaction,
} from "./block.ts";
import { decodeRlp } from "./rlp.ts";
import { listKey, trieValue } from "./trie.ts";
import { DoesNotHold, type Witness } from "./witness.ts";

/**
 * EIP-2935's contract keeps the last 8,191 blocks' hashes in the state, so that a block's state proves any of these
 * without the headers between. It counts only with the code that the EIP gives it.
 */
export const HISTORY = {
  address: "0x0000f90827f1c53a10cb7a02335b175320002935",
  codeHash: "0x6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d",
  blocks: 8191,
} as const;

const NO_CODE = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";

interface AccountState {
  storageRoot: Hex;
  codeHash: Hex;
}

/** Puts into a witness what a look-up is about to need. Absent where everything must be there already. */
export interface Supplier {
  header(number: number): Promise<void>;
  /** An account's proof at a block, and a storage slot's. */
  proof(block: number, address: Hex, slot: Hex | undefined): Promise<void>;
  code(block: number, address: Hex): Promise<void>;
  /** All transactions, or all receipts, of a block. */
  list(block: number, kind: "transactions" | "receipts"): Promise<void>;
}

/**
 * What one block's hash proves: the blocks before it, and each of these blocks' state, transactions and receipts. Every
 * answer is found in the witness, hash by hash, or it is not given.
 */
export class ProvenChain {
  readonly #witness: Witness;
  readonly #supplier: Supplier | undefined;
  readonly #headers = new Map<number, Header>();
  readonly #accounts = new Map<string, AccountState | null>();
  readonly #slots = new Map<string, bigint>();
  head!: Header;

  private constructor(witness: Witness, supplier: Supplier | undefined) {
    this.#witness = witness;
    this.#supplier = supplier;
  }

  /**
   * @param hash the block that is trusted
   * @param path numbers of earlier blocks, falling: the next lower one is its parent, a lower one is proved by EIP-2935
   */
  static async from(witness: Witness, hash: Hex, path: readonly number[], supplier?: Supplier): Promise<ProvenChain> {
    const chain = new ProvenChain(witness, supplier);
    const head = decodeHeader(witness.get(hash, `the block ${hash}`));
    chain.head = head;
    chain.#headers.set(head.number, head);
    let at = head;
    for (const number of path) {
      if (number >= at.number)
        throw new DoesNotHold(`the bill's path of blocks does not fall from ${at.number} to ${number}`);
      const parent = number === at.number - 1 ? at.parentHash : await chain.#ancestor(at.number, number);
      await supplier?.header(number);
      at = decodeHeader(witness.get(parent, `the header of block ${number}`));
      if (at.number !== number) throw new DoesNotHold(`the header of block ${number} is that of block ${at.number}`);
      chain.#headers.set(number, at);
    }
    return chain;
  }

  async #ancestor(from: number, number: number): Promise<Hex> {
    const what = `the hash of block ${number} in the state of block ${from}`;
    if (from - number > HISTORY.blocks) throw new DoesNotHold(`${what}: it is more than ${HISTORY.blocks} blocks away`);
    const account = await this.#account(from, HISTORY.address, what);
    if (account?.codeHash !== HISTORY.codeHash) throw new DoesNotHold(`${what}: this chain keeps none`);
    const hash = await this.storage(from, HISTORY.address, BigInt(number % HISTORY.blocks), what);
    return `0x${hash.toString(16).padStart(64, "0")}`;
  }

  header(number: number): Header {
    const header = this.#headers.get(number);
    if (!header) throw new DoesNotHold(`block ${number} is not among those that the bill leads to`);
    return header;
  }

  /** The value of a storage slot; 0 where the state proves that there is none. */
  async storage(block: number, address: Hex, slot: bigint, what: string): Promise<bigint> {
    const key = `${block}:${address}:${slot}`;
    const known = this.#slots.get(key);
    if (known !== undefined) return known;
    const bytes: Hex = `0x${slot.toString(16).padStart(64, "0")}`;
    await this.#supplier?.proof(block, address, bytes);
    const account = await this.#account(block, address, what);
    const value = account ? trieValue(this.#witness, account.storageRoot, keccak256(bytes) as Hex, what) : null;
    const number = value === null ? 0n : BigInt(decodeRlp(value) as Hex);
    this.#slots.set(key, number);
    return number;
  }

  async code(block: number, address: Hex, what: string): Promise<Hex> {
    const account = await this.#account(block, address, what);
    if (!account || account.codeHash === NO_CODE) return "0x";
    if (!this.#witness.has(account.codeHash)) await this.#supplier?.code(block, address);
    return this.#witness.get(account.codeHash, what);
  }

  async transaction(block: number, index: number): Promise<ProvenTransaction> {
    const what = `transaction ${index} of block ${block}`;
    return decodeTransaction(await this.#listed(block, index, "transactions", what), what);
  }

  /** The logs of a transaction that went through. */
  async logs(block: number, index: number): Promise<ProvenLog[]> {
    const what = `the receipt of transaction ${index} of block ${block}`;
    const { succeeded, logs } = decodeReceipt(await this.#listed(block, index, "receipts", what));
    if (!succeeded) throw new DoesNotHold(`transaction ${index} of block ${block} did not go through`);
    return logs;
  }

  async #listed(block: number, index: number, kind: "transactions" | "receipts", what: string): Promise<Hex> {
    const { transactionsRoot, receiptsRoot } = this.header(block);
    await this.#supplier?.list(block, kind);
    const value = trieValue(this.#witness, kind === "receipts" ? receiptsRoot : transactionsRoot, listKey(index), what);
    if (value === null) throw new DoesNotHold(`${what}: the block holds none`);
    return value;
  }

  async #account(block: number, address: Hex, what: string): Promise<AccountState | null> {
    const key = `${block}:${address}`;
    let account = this.#accounts.get(key);
    if (account !== undefined) return account;
    await this.#supplier?.proof(block, address, undefined);
    const value = trieValue(this.#witness, this.header(block).stateRoot, keccak256(address) as Hex, what);
    const fields = value === null ? null : (decodeRlp(value) as Hex[]);
    account = fields ? { storageRoot: fields[2]!, codeHash: fields[3]! } : null;
    this.#accounts.set(key, account);
    return account;
  }
}
