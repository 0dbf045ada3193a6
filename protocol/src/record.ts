import { Signature } from "ethers/crypto";
import { BijuliError } from "./errors.ts";
import { digitsOf, type Hex, isHex } from "./hex.ts";
import { checkReading, decodeEnergies, encodeEnergies, type LotReading, type SignedReading } from "./reading.ts";

/*
 * The record, as delivered on chain (SPEC: record). Which meter, which lot and the lots' length are known from the
 * request, so that they need no bytes:
 *
 *   n 2 | quality 2 | forward 8 | reverse 8 | r 32 | vs 32 (EIP-2098) | energies 6·n
 */
const HEADER_BYTES = 84;

/** A missing meter's record: n = 0 and nothing else. */
export const MISSING_RECORD: Hex = "0x0000";

/** A present record's length in bytes. */
export function recordLength(lots: number): number {
  return HEADER_BYTES + 6 * lots;
}

/** The record of a signed reading. */
export function encodeRecord(reading: LotReading, signature: Hex): Hex {
  checkReading(reading);
  const { r, yParityAndS } = Signature.from(signature);
  return `0x${digitsOf(reading.energies.length, 2)}${digitsOf(reading.quality, 2)}${digitsOf(reading.forward, 8)}${digitsOf(reading.reverse, 8)}${r.slice(2)}${yParityAndS.slice(2)}${encodeEnergies(reading.energies).slice(2)}`;
}

/** What a record says by itself; the meter, lot and lot length come from its request. */
export interface DecodedRecord {
  quality: number;
  forward: bigint;
  reverse: bigint;
  signature: Hex;
  energies: bigint[];
  /** The record's own bytes. */
  record: Hex;
}

/**
 * Splits delivered bytes into records; null stands for a missing meter's.
 * @throws BijuliError bad-record when the bytes end within a record or a signature is malformed
 */
export function decodeRecords(bytes: Hex): (DecodedRecord | null)[] {
  if (!isHex(bytes)) throw new BijuliError("bad-record", "records are not hex");
  const digits = bytes.slice(2);
  const records: (DecodedRecord | null)[] = [];
  for (let at = 0; at < digits.length; ) {
    const take = (from: number, length: number) => `0x${digits.slice(at + 2 * from, at + 2 * (from + length))}` as Hex;
    const lots = Number(take(0, 2));
    if (digits.length - at === 2)
      throw new BijuliError("bad-record", `record ${records.length} ends within its count of lots`);
    if (lots === 0) {
      records.push(null);
      at += 4;
      continue;
    }
    const length = recordLength(lots);
    if (digits.length - at < 2 * length) {
      throw new BijuliError(
        "bad-record",
        `record ${records.length} of ${lots} lots needs ${length} bytes; ${(digits.length - at) / 2} are left`,
      );
    }
    records.push({
      quality: Number(take(2, 2)),
      forward: BigInt(take(4, 8)),
      reverse: BigInt(take(12, 8)),
      signature: expandSignature(take(20, 64), records.length),
      energies: decodeEnergies(take(HEADER_BYTES, 6 * lots)),
      record: take(0, length),
    });
    at += 2 * length;
  }
  return records;
}

function expandSignature(compact: Hex, index: number): Hex {
  try {
    return Signature.from(compact).serialized as Hex;
  } catch (cause) {
    throw new BijuliError("bad-record", `record ${index}: the signature is malformed`, { cause });
  }
}

/** The signed reading that a record becomes once its meter, lot and lot length are known. */
export function readingFromRecord(
  record: DecodedRecord,
  known: { meterId: Hex; lot: bigint; lotSeconds: number },
): SignedReading {
  const { quality, forward, reverse, energies, signature } = record;
  const reading = { ...known, quality, forward, reverse, energies };
  checkReading(reading);
  return { reading, signature };
}
