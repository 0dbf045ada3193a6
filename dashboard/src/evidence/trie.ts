import type { Hex } from "@bijuli/protocol";
import { encodeRlp, keccak256, type RlpStructuredData } from "ethers";
import { decodeRlp, type Rlp } from "./rlp.ts";
import { DoesNotHold, type Witness } from "./witness.ts";

/*
 * Ethereum's Merkle-Patricia trie (Yellow Paper, appendix D): finding a key's value below a root, or proving that there
 * is none, and building the tries of a block's transactions and receipts.
 */

/** The root of a trie that holds nothing. */
export const EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";

/**
 * The value of a key, out of the nodes that a witness holds.
 * @param key the trie's own key: a state trie's is the keccak256 of the address or slot
 * @returns null where the trie proves that there is none
 * @throws DoesNotHold naming `what`, when a node is missing or malformed
 */
export function trieValue(witness: Witness, root: Hex, key: Hex, what: string): Hex | null {
  if (root === EMPTY_ROOT) return null;
  let path = key.slice(2);
  let node = decode(witness.get(root, what), what);
  for (;;) {
    if (node.length === 17) {
      if (path === "") return heldBy(node[16]!, what);
      const next = node[Number.parseInt(path[0]!, 16)]!;
      path = path.slice(1);
      if (next === "0x") return null;
      node = resolve(witness, next, what);
      continue;
    }
    if (node.length !== 2 || typeof node[0] !== "string") throw new DoesNotHold(`${what}: its proof is malformed`);
    const { nibbles, leaf } = unpacked(node[0]);
    if (!path.startsWith(nibbles)) return null;
    path = path.slice(nibbles.length);
    if (leaf) return path === "" ? heldBy(node[1]!, what) : null;
    node = resolve(witness, node[1]!, what);
  }
}

/** A child shorter than 32 bytes stands in its parent; a longer one is found by its hash. */
function resolve(witness: Witness, next: Rlp, what: string): Rlp[] {
  return typeof next === "string" ? decode(witness.get(next, what), what) : next;
}

function decode(bytes: Hex, what: string): Rlp[] {
  const node = decodeRlp(bytes);
  if (typeof node === "string") throw new DoesNotHold(`${what}: its proof is malformed`);
  return node;
}

function heldBy(value: Rlp, what: string): Hex | null {
  if (typeof value !== "string") throw new DoesNotHold(`${what}: its proof is malformed`);
  return value === "0x" ? null : value;
}

/** A path in a node: the first nibble tells whether it is a leaf's, and whether the path is of odd length. */
function unpacked(packed: Hex): { nibbles: string; leaf: boolean } {
  const flag = Number.parseInt(packed[2] ?? "0", 16);
  return { nibbles: packed.slice(flag % 2 === 1 ? 3 : 4), leaf: flag >= 2 };
}

function packed(nibbles: string, leaf: boolean): Hex {
  const flag = leaf ? 2 : 0;
  return nibbles.length % 2 === 1 ? `0x${flag + 1}${nibbles}` : `0x${flag}0${nibbles}`;
}

/** The key of the i-th transaction or receipt in its block's trie. */
export function listKey(index: number): Hex {
  return encodeRlp(index === 0 ? "0x" : `0x${evenHex(index)}`) as Hex;
}

/**
 * Builds the trie of a block's transactions or receipts into a witness.
 * @param values each as the chain encodes it, in the block's order
 * @returns the root, which must be the one that the header names
 */
export function addList(witness: Witness, values: readonly Hex[]): Hex {
  if (values.length === 0) return EMPTY_ROOT;
  const entries = values.map((value, i): [string, Hex] => [listKey(i).slice(2), value]);
  return witness.add(encodeRlp(build(witness, entries)) as Hex);
}

function build(witness: Witness, entries: readonly [string, Hex][]): RlpStructuredData {
  const [first] = entries;
  if (entries.length === 1) return [packed(first![0], true), first![1]];
  let shared = 0;
  while (entries.every(([path]) => path.length > shared && path[shared] === first![0][shared])) shared++;
  if (shared > 0) {
    const rest = entries.map(([path, value]): [string, Hex] => [path.slice(shared), value]);
    return [packed(first![0].slice(0, shared), false), child(witness, build(witness, rest))];
  }
  const branch: RlpStructuredData[] = [];
  for (let nibble = 0; nibble < 16; nibble++) {
    const digit = nibble.toString(16);
    const below = entries.flatMap(([path, value]): [string, Hex][] =>
      path[0] === digit ? [[path.slice(1), value]] : [],
    );
    branch.push(below.length === 0 ? "0x" : child(witness, build(witness, below)));
  }
  branch.push(entries.find(([path]) => path === "")?.[1] ?? "0x");
  return branch;
}

function child(witness: Witness, node: RlpStructuredData): RlpStructuredData {
  const bytes = encodeRlp(node) as Hex;
  if (bytes.length < 2 + 64) return node;
  witness.add(bytes);
  return keccak256(bytes);
}

function evenHex(value: number): string {
  const digits = value.toString(16);
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}
