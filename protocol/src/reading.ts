import { getAddress } from "ethers/address";
import { keccak256, Signature, SigningKey } from "ethers/crypto";
import { z } from "zod";
import { BijuliError } from "./errors.ts";
import { digitsOf, type Hex, isHex } from "./hex.ts";
import { MAX_LOT_ENERGY } from "./units.ts";

/** What a meter signs (SPEC: the signed reading). Energies and registers are Units. */
export interface LotReading {
  meterId: Hex;
  /** The last lot covered. */
  lot: bigint;
  lotSeconds: number;
  /** Registers at the end of `lot`. */
  forward: bigint;
  reverse: bigint;
  /** The covered lots' quality bits, or-ed. */
  quality: number;
  /** Forward energy of each covered lot, oldest first. */
  energies: bigint[];
}

export interface SignedReading {
  reading: LotReading;
  /** 65 bytes: r, s, v. */
  signature: Hex;
}

/** The EIP-712 domain: name "Bijuli", version "1", the chain and the MeterRegistry on it. */
export interface ReadingDomain {
  chainId: bigint;
  /** The MeterRegistry's address: EIP-712's verifyingContract. */
  registry: Hex;
}

export const LOT_READING_TYPE =
  "LotReading(bytes32 meterId,uint64 lot,uint32 lotSeconds,uint64 forward,uint64 reverse,uint16 quality,bytes energies)";

/** The same type for libraries that take EIP-712 types as JSON (wallets, ethers' TypedDataEncoder). */
export const LOT_READING_TYPES = {
  LotReading: [
    { name: "meterId", type: "bytes32" },
    { name: "lot", type: "uint64" },
    { name: "lotSeconds", type: "uint32" },
    { name: "forward", type: "uint64" },
    { name: "reverse", type: "uint64" },
    { name: "quality", type: "uint16" },
    { name: "energies", type: "bytes" },
  ],
};

const DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const UINT64_MAX = 2n ** 64n - 1n;
/** The record's count of lots is two bytes. */
const MAX_LOTS = 0xffff;

const textHash = (text: string): Hex => keccak256(new TextEncoder().encode(text)) as Hex;
const LOT_READING_TYPE_HASH = textHash(LOT_READING_TYPE);
const DOMAIN_PREFIX = textHash(DOMAIN_TYPE) + textHash("Bijuli").slice(2) + textHash("1").slice(2);

/** Checks and normalises a domain given as settings give it. */
export function readingDomain(from: { chainId: bigint | number | string; registry: string }): ReadingDomain {
  if (!isHex(from.registry, 20))
    throw new BijuliError("bad-domain", `the registry's address is not 20 bytes of hex: ${from.registry}`);
  return { chainId: BigInt(from.chainId), registry: from.registry.toLowerCase() as Hex };
}

/** The domain as EIP-712 libraries spell it. */
export function typedDataDomain(domain: ReadingDomain) {
  return { name: "Bijuli", version: "1", chainId: domain.chainId, verifyingContract: domain.registry };
}

const separators = new Map<string, string>();

/** EIP-712's domain separator, computed once a domain. */
export function domainSeparator(domain: ReadingDomain): Hex {
  const key = `${domain.chainId}:${domain.registry}`;
  let separator = separators.get(key);
  if (separator === undefined) {
    separator = keccak256(DOMAIN_PREFIX + digitsOf(domain.chainId, 32) + domain.registry.slice(2).padStart(64, "0"));
    separators.set(key, separator);
  }
  return separator as Hex;
}

/**
 * Refuses what the wire format cannot carry or what no register could have produced: values beyond their width,
 * no lot, more energy than the register holds, more lots than have been.
 * @throws BijuliError bad-reading, naming the field
 */
export function checkReading(reading: LotReading): void {
  const refuse = (field: string, why: string): never => {
    throw new BijuliError("bad-reading", `reading of meter ${reading.meterId} for lot ${reading.lot}: ${field} ${why}`);
  };
  if (!isHex(reading.meterId, 32)) refuse("meterId", "is not 32 bytes of hex");
  for (const field of ["lot", "forward", "reverse"] as const) {
    const value = reading[field];
    if (value < 0n || value > UINT64_MAX) refuse(field, `${value} does not fit 64 bits`);
  }
  if (!Number.isInteger(reading.lotSeconds) || reading.lotSeconds < 1 || reading.lotSeconds > 0xffff_ffff) {
    refuse("lotSeconds", `${reading.lotSeconds} is not a whole number from 1 to 2^32 − 1`);
  }
  if (!Number.isInteger(reading.quality) || reading.quality < 0 || reading.quality > 0xffff) {
    refuse("quality", `${reading.quality} does not fit 16 bits`);
  }
  const lots = reading.energies.length;
  if (lots < 1 || lots > MAX_LOTS) refuse("energies", `cover ${lots} lots; 1 to ${MAX_LOTS} fit a record`);
  if (BigInt(lots) > reading.lot + 1n)
    refuse("energies", `cover ${lots} lots, more than there are up to lot ${reading.lot}`);
  let sum = 0n;
  for (const energy of reading.energies) {
    if (energy < 0n || energy > MAX_LOT_ENERGY) refuse("energies", `hold ${energy}, which does not fit 48 bits`);
    sum += energy;
  }
  if (sum > reading.forward) refuse("energies", `sum to ${sum} Units, more than the register's ${reading.forward}`);
}

/** Energies, oldest first, as 6 bytes big-endian each. */
export function encodeEnergies(energies: readonly bigint[]): Hex {
  let digits = "0x";
  for (const energy of energies) digits += digitsOf(energy, 6);
  return digits as Hex;
}

/** @throws BijuliError bad-reading for anything but a whole number of 6-byte energies */
export function decodeEnergies(bytes: Hex): bigint[] {
  if (!isHex(bytes) || (bytes.length - 2) % 12 !== 0) {
    throw new BijuliError("bad-reading", "energies are not a whole number of 6-byte values in hex");
  }
  const energies: bigint[] = [];
  for (let at = 2; at < bytes.length; at += 12) energies.push(BigInt(`0x${bytes.slice(at, at + 12)}`));
  return energies;
}

/** EIP-712's hashStruct of a reading. */
export function readingStructHash(reading: LotReading): Hex {
  return keccak256(
    LOT_READING_TYPE_HASH +
      reading.meterId.slice(2) +
      digitsOf(reading.lot, 32) +
      digitsOf(reading.lotSeconds, 32) +
      digitsOf(reading.forward, 32) +
      digitsOf(reading.reverse, 32) +
      digitsOf(reading.quality, 32) +
      keccak256(encodeEnergies(reading.energies)).slice(2),
  ) as Hex;
}

/** What is signed: keccak256(0x1901 ‖ domain separator ‖ struct hash). */
export function readingDigest(domain: ReadingDomain, reading: LotReading): Hex {
  return keccak256(`0x1901${domainSeparator(domain).slice(2)}${readingStructHash(reading).slice(2)}`) as Hex;
}

/** Signs a reading (RFC 6979: the same reading always gets the same signature). */
export function signReading(domain: ReadingDomain, reading: LotReading, key: SigningKey): Hex {
  checkReading(reading);
  return key.sign(readingDigest(domain, reading)).serialized as Hex;
}

/**
 * The one costly step of verifying: the public key (uncompressed, 65 bytes of hex) that signed a digest.
 * @param rs the signature's r and s, 64 bytes of hex; s lies in the lower half (EIP-2)
 * @throws anything, or gives undefined, when no key can have made it
 */
export type RecoverPublicKey = (digest: Hex, rs: Hex, yParity: 0 | 1) => string | undefined;

/** Half of secp256k1's order: the largest s that EIP-2 lets be. (ethers looks at its highest bit only.) */
const HALF_ORDER = "0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

const recoverInJavaScript: RecoverPublicKey = (digest, rs, yParity) =>
  SigningKey.recoverPublicKey(digest, { r: rs.slice(0, 66), s: `0x${rs.slice(66)}`, yParity });

/**
 * The address, with EIP-55's checksum, whose key made the signature.
 * @param recover ethers' own unless told: 1.6 ms of JavaScript, which a caller with thousands of meters replaces
 * @throws BijuliError bad-signature when no key can have made it, or when s lies in the upper half (EIP-2)
 */
export function recoverReadingSigner(
  domain: ReadingDomain,
  reading: LotReading,
  signature: Hex,
  recover: RecoverPublicKey = recoverInJavaScript,
): string {
  try {
    const { r, s, yParity } = Signature.from(signature);
    if (s > HALF_ORDER) throw new Error("s lies in the upper half");
    const key = recover(readingDigest(domain, reading), `${r}${s.slice(2)}` as Hex, yParity);
    if (key === undefined) throw new Error("no key can have made it");
    // An address is the last 20 bytes of the key's hash, without the byte that says that it is uncompressed.
    return getAddress(`0x${keccak256(`0x${key.slice(4)}`).slice(-40)}`);
  } catch (cause) {
    throw new BijuliError(
      "bad-signature",
      `reading of meter ${reading.meterId} for lot ${reading.lot}: the signature is malformed`,
      { cause },
    );
  }
}

/** The lot before the first one covered: its end is where the reading begins. */
export function lotBefore(reading: LotReading): bigint {
  return reading.lot - BigInt(reading.energies.length);
}

const notCovered = (reading: LotReading, lot: bigint): BijuliError =>
  new BijuliError(
    "lot-not-covered",
    `the reading of meter ${reading.meterId} covers lots ${lotBefore(reading) + 1n}…${reading.lot}, not ${lot}`,
  );

/**
 * The forward register at the end of a covered lot, or of the lot before the first covered one.
 * @throws BijuliError lot-not-covered for any other lot
 */
export function registerAt(reading: LotReading, lot: bigint): bigint {
  const first = lotBefore(reading);
  if (lot < first || lot > reading.lot) {
    throw notCovered(reading, lot);
  }
  let register = reading.forward;
  for (let i = Number(reading.lot - lot), at = reading.energies.length; i > 0; i--) register -= reading.energies[--at]!;
  return register;
}

/** The energy of one covered lot, in Units. */
export function energyOf(reading: LotReading, lot: bigint): bigint {
  const energy = reading.energies[Number(lot - lotBefore(reading)) - 1];
  if (energy === undefined) throw notCovered(reading, lot);
  return energy;
}

/**
 * The earliest lot at whose end two readings of one meter give different registers; undefined when they agree
 * wherever both speak. The reverse register is known only at a reading's last lot.
 */
export function disagreement(a: LotReading, b: LotReading): bigint | undefined {
  const from = lotBefore(a) > lotBefore(b) ? lotBefore(a) : lotBefore(b);
  const to = a.lot < b.lot ? a.lot : b.lot;
  if (from > to) return undefined;
  let [inA, inB] = [registerAt(a, from), registerAt(b, from)];
  for (let lot = from; ; ) {
    if (inA !== inB) return lot;
    if (lot === to) break;
    lot++;
    inA += energyOf(a, lot);
    inB += energyOf(b, lot);
  }
  if (a.lot === b.lot && a.reverse !== b.reverse) return a.lot;
  return undefined;
}

const decimal = z.string().regex(/^(0|[1-9][0-9]{0,19})$/, "must be a decimal string");
const readingJson = z.strictObject({
  meterId: z.string().refine((value) => isHex(value, 32), "must be 32 bytes of hex"),
  lot: decimal,
  lotSeconds: z.int(),
  forward: decimal,
  reverse: decimal,
  quality: z.int(),
  energies: z.string().refine((value) => isHex(value), "must be hex"),
});

/** A reading as it travels in JSON: integers beyond 2^53 as decimal strings, energies as their packed bytes. */
export type LotReadingJson = z.infer<typeof readingJson>;

export function readingToJson(reading: LotReading): LotReadingJson {
  return {
    meterId: reading.meterId,
    lot: reading.lot.toString(),
    lotSeconds: reading.lotSeconds,
    forward: reading.forward.toString(),
    reverse: reading.reverse.toString(),
    quality: reading.quality,
    energies: encodeEnergies(reading.energies),
  };
}

/** @throws BijuliError bad-reading, naming the first field that is wrong */
export function readingFromJson(json: unknown): LotReading {
  const parsed = readingJson.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new BijuliError("bad-reading", `a reading's ${issue.path.join(".") || "JSON"} ${issue.message}`);
  }
  const { meterId, lot, lotSeconds, forward, reverse, quality, energies } = parsed.data;
  const reading: LotReading = {
    meterId: meterId.toLowerCase() as Hex,
    lot: BigInt(lot),
    lotSeconds,
    forward: BigInt(forward),
    reverse: BigInt(reverse),
    quality,
    energies: decodeEnergies(energies as Hex),
  };
  checkReading(reading);
  return reading;
}
