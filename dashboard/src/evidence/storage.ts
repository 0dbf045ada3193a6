import type { Hex } from "@bijuli/protocol";
import { keccak256 } from "ethers";

/** Where Solidity keeps things: the slot of a mapping's entry, and of an array's elements. */
export const mapped = (key: bigint | Hex, slot: bigint): bigint =>
  BigInt(keccak256(`0x${hex32(typeof key === "bigint" ? key : BigInt(key))}${hex32(slot)}`));

export const arrayAt = (slot: bigint): bigint => BigInt(keccak256(`0x${hex32(slot)}`));

/** `bits` bits of a word, from bit `from` on. */
export const bitsOf = (word: bigint, from: number, bits: number): bigint =>
  (word >> BigInt(from)) & ((1n << BigInt(bits)) - 1n);

export const addressOf = (word: bigint): Hex => `0x${bitsOf(word, 0, 160).toString(16).padStart(40, "0")}`;

export const bytes32Of = (word: bigint): Hex => `0x${hex32(word)}`;

/** A two's complement of so many bits. */
export const signedOf = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);

const hex32 = (value: bigint): string => value.toString(16).padStart(64, "0");
