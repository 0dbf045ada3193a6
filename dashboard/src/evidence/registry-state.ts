import { domainSeparator, type Hex } from "@bijuli/protocol";
import type { BillMeter } from "./bill.ts";
import { bytesOf } from "./hex-bytes.ts";
import type { ProvenChain } from "./proven-chain.ts";
import { addressOf, arrayAt, bitsOf, mapped } from "./storage.ts";
import { DoesNotHold } from "./witness.ts";

/** Who signs for a meter from a lot on, and what it can carry: a word of MeterKey.sol. */
export interface MeterKey {
  fromLot: bigint;
  signer: Hex;
  /** Units a lot. */
  capacity: bigint;
  suspended: boolean;
}

/** MeterRegistry's storage: _newest, _older, _openings. */
const NEWEST = 3n;
const OLDER = 4n;
const OPENINGS = 5n;

const PUSH1 = 0x60;
const PUSH32 = 0x7f;

/** What a registry's own code says: Solidity writes immutables into it. */
export interface RegistryFacts {
  market: Hex;
  lotSeconds: number;
}

/**
 * Reads the market and the lot's length out of the registry's code, where they stand as constants of 32 bytes each,
 * beside the registry's own address, the chain's id and the separator of the two.
 * @param code proven to be the registry's
 */
export function registryFacts(code: Hex, registry: Hex, chainId: bigint): RegistryFacts {
  const words = pushedWords(code);
  if (!words.has(BigInt(domainSeparator({ chainId, registry })))) {
    throw new DoesNotHold(`the contract at ${registry} is no MeterRegistry of the chain ${chainId}`);
  }
  const addresses = [...words].filter((word) => word >> 160n === 0n && word >> 64n !== 0n && word !== BigInt(registry));
  const numbers = [...words].filter((word) => word >> 64n === 0n && word !== chainId);
  if (addresses.length !== 1 || numbers.length > 1) {
    throw new DoesNotHold(`the code of the MeterRegistry at ${registry} names no single market and lot length`);
  }
  return { market: addressOf(addresses[0]!), lotSeconds: Number(numbers[0] ?? chainId) };
}

/** The constants of 32 bytes in a contract's code. */
function pushedWords(code: Hex): Set<bigint> {
  const words = new Set<bigint>();
  const bytes = bytesOf(code);
  for (let at = 0; at < bytes.length; at++) {
    const op = bytes[at]!;
    if (op < PUSH1 || op > PUSH32) continue;
    if (op === PUSH32 && at + 32 < bytes.length) words.add(BigInt(`0x${code.slice(4 + 2 * at, 68 + 2 * at)}`));
    at += op - PUSH1 + 1;
  }
  return words;
}

/**
 * A meter's keys that hold in the lots from `first` to `last`, oldest first, as the registry has them at a block; a meter
 * that came later has none for the first ones.
 */
export async function keysOf(
  chain: ProvenChain,
  block: number,
  registry: Hex,
  meterId: Hex,
  [first, last]: readonly [bigint, bigint],
): Promise<MeterKey[]> {
  const what = `the keys of meter ${meterId}`;
  const newest = decodeKey(await chain.storage(block, registry, mapped(meterId, NEWEST), what));
  const keys: MeterKey[] = [];
  if (newest.fromLot <= last) keys.push(newest);
  if (newest.fromLot > first) {
    const slot = mapped(meterId, OLDER);
    for (let i = (await chain.storage(block, registry, slot, what)) - 1n; i >= 0n; i--) {
      const key = decodeKey(await chain.storage(block, registry, arrayAt(slot) + i, what));
      if (key.fromLot <= last) keys.unshift(key);
      if (key.fromLot <= first) break;
    }
  }
  return keys;
}

/** A meter's opening reading, as the registry keeps it. */
export async function openingOf(
  chain: ProvenChain,
  block: number,
  registry: Hex,
  meterId: Hex,
): Promise<BillMeter["opening"]> {
  const word = await chain.storage(
    block,
    registry,
    mapped(meterId, OPENINGS),
    `the opening reading of meter ${meterId}`,
  );
  return { lot: bitsOf(word, 0, 64), forward: bitsOf(word, 64, 64), reverse: bitsOf(word, 128, 64) };
}

function decodeKey(word: bigint): MeterKey {
  return {
    signer: addressOf(word),
    capacity: bitsOf(word, 160, 48),
    fromLot: bitsOf(word, 208, 40),
    suspended: bitsOf(word, 248, 1) === 1n,
  };
}
