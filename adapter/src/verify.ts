import {
  BijuliError,
  encodeRecord,
  explain,
  isHex,
  type ReadingDomain,
  readingDigest,
  readingFromJson,
  type SignedReading,
} from "@bijuli/protocol";
import type { Meter } from "./meters.ts";
import type { Recovery } from "./recovery.ts";
import { Refusal } from "./refusal.ts";

/** What a reading must be to be believed. */
export interface Expectation {
  domain: ReadingDomain;
  lotSeconds: number;
  recovery: Recovery;
  /** Whether a request waits for it. */
  urgent: boolean;
  /** The meter's signer at the reading's lot, lower-case. */
  signer: string;
  /** The lot and the count of lots that were asked for; a push may bring any. */
  lot?: bigint;
  lots?: number;
}

/**
 * Believes nothing that a reader says but what its meter's key signed: the reading is decoded, held against what was
 * asked for, and its signature recovered (about 0.4 ms; once, on arrival).
 * @param source who said it, for the message: "reader http://…" or "its push"
 * @throws Refusal 502 verification-failed or wrong-signer, naming the meter and the cause
 */
export async function verifyAnswer(
  meter: Meter,
  answer: unknown,
  expected: Expectation,
  source: string,
): Promise<SignedReading> {
  const refuse = (why: string, cause?: unknown): Refusal =>
    new Refusal(502, "verification-failed", `${meter.label}: ${source} ${why}`, { cause });
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw refuse("answered JSON that is not an object with a reading and a signature");
  }
  const { reading: json, signature, record, digest } = answer as Record<string, unknown>;
  let signed: SignedReading;
  let signer: string;
  try {
    if (!isHex(signature, 65)) throw new BijuliError("bad-signature", "the signature is not 65 bytes of hex");
    signed = { reading: readingFromJson(json), signature: signature.toLowerCase() as `0x${string}` };
  } catch (cause) {
    throw refuse(`gave a reading that cannot be: ${explain(cause)}`, cause);
  }
  const { reading } = signed;
  if (reading.meterId !== meter.id) throw refuse(`gave the reading of another meter, ${reading.meterId}`);
  if (reading.lotSeconds !== expected.lotSeconds) {
    throw refuse(`gave a reading of ${reading.lotSeconds} s lots; this network's last ${expected.lotSeconds} s`);
  }
  if (expected.lot !== undefined && reading.lot !== expected.lot) {
    throw refuse(`gave lot ${reading.lot} when asked for lot ${expected.lot}`);
  }
  if (expected.lots !== undefined && reading.energies.length !== expected.lots) {
    throw refuse(`gave ${reading.energies.length} lots when asked for ${expected.lots}`);
  }
  try {
    signer = await expected.recovery.signerOf(expected.domain, reading, signed.signature, expected.urgent);
  } catch (cause) {
    throw refuse(`gave a reading that cannot be: ${explain(cause)}`, cause);
  }
  if (signer.toLowerCase() !== expected.signer) {
    // A reader tells what it signed: where that is not this reading under this domain, the key may well be right.
    const other =
      typeof digest === "string" && digest.toLowerCase() !== readingDigest(expected.domain, reading)
        ? " (it signed something else: is its CHAIN_ID or REGISTRY_ADDRESS another, or was the reading changed on its way?)"
        : "";
    const why = `gave lot ${reading.lot} signed by ${signer}, expected ${expected.signer}${other}`;
    throw new Refusal(502, "wrong-signer", `${meter.label}: ${source} ${why}`);
  }
  const said = typeof record === "string" ? record.toLowerCase() : record;
  if (said !== undefined && said !== encodeRecord(reading, signed.signature)) {
    throw refuse(`gave a record for lot ${reading.lot} that is not the one its meter signed`);
  }
  return signed;
}
