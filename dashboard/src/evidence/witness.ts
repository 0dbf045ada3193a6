import { BijuliError, type Hex } from "@bijuli/protocol";
import { keccak256 } from "ethers";
import { bytesOf } from "./hex-bytes.ts";

/** What does not hold of a bill: the first thing, in words. */
export class DoesNotHold extends BijuliError {
  override readonly name = "DoesNotHold";

  constructor(message: string, cause?: unknown) {
    super("does-not-hold", message, { cause });
  }
}

/**
 * Byte strings that a chain commits to by their keccak256: block headers, nodes of its tries, contracts' code. Whoever
 * knows a block's hash finds in here what the block says, and a byte that was changed is simply not found.
 */
export class Witness {
  readonly #bytes = new Map<Hex, Hex>();
  readonly #used = new Set<Hex>();

  constructor(entries: Iterable<Hex> = []) {
    for (const bytes of entries) this.add(bytes);
  }

  /** @returns the bytes' keccak256, by which they will be found */
  add(bytes: Hex): Hex {
    const hash = keccak256(bytesOf(bytes)) as Hex;
    this.#bytes.set(hash, bytes);
    return hash;
  }

  has(hash: Hex): boolean {
    return this.#bytes.has(hash);
  }

  /** @throws DoesNotHold naming `what` was looked for */
  get(hash: Hex, what: string): Hex {
    const bytes = this.#bytes.get(hash);
    if (bytes === undefined) throw new DoesNotHold(`${what}: its proof is missing, or was changed`);
    this.#used.add(hash);
    return bytes;
  }

  /** What was needed so far, in the order in which it was. */
  used(): Hex[] {
    return [...this.#used].map((hash) => this.#bytes.get(hash)!);
  }

  /** Begins to count anew what is needed. */
  forgetUse(): void {
    this.#used.clear();
  }

  get size(): number {
    return this.#bytes.size;
  }

  /** How many entries nothing asked for. */
  get unused(): number {
    return this.#bytes.size - this.#used.size;
  }
}
