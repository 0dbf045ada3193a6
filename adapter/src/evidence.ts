import { appendFileSync } from "node:fs";
import {
  explain,
  type Hex,
  type ReadingDomain,
  readingDigest,
  readingToJson,
  SettingsError,
  type SignedReading,
} from "@bijuli/protocol";
import { Signature } from "ethers/crypto";
import type { Logger } from "pino";
import type { Meter } from "./meters.ts";
import type { Remembered } from "./remembered.ts";
import { type Contradiction, oneSigner, type Testimony } from "./shelf.ts";

const KEPT = 1000;

/** A contradiction as it is exported: both readings as their meter signed them, so that anyone can check it. */
export interface EvidenceItem {
  serial: string;
  meterId: string;
  kind: Contradiction["kind"];
  lot: string;
  foundAt: string;
  /** What was known before, then what contradicts it; `digest` is what was signed (EIP-712). */
  readings: { reading: ReturnType<typeof readingToJson>; signature: string; signer: string; digest: string }[];
  /**
   * The arguments of MeterRegistry.reportEquivocation, and the call's data ready to be sent by anyone. Absent for a
   * register that goes back, which by itself is no contradiction at one lot's end, and where two keys signed.
   */
  report?: { args: [string, string, SignedTestimony, SignedTestimony]; calldata: string };
}

/** IMeterRegistry.Testimony. */
interface SignedTestimony {
  lot: string;
  forward: string;
  reverse: string;
  quality: number;
  energies: string;
  signature: string;
}

async function reportOf(meter: Meter, found: Contradiction): Promise<EvidenceItem["report"]> {
  // The registry's ABI is loaded by those who need it, which is hoped to be nobody.
  const [{ Interface }, { MeterRegistryAbi }] = await Promise.all([
    import("ethers/abi"),
    import("@bijuli/contracts/abi"),
  ]);
  const testimony = ({ reading, signature }: SignedReading): SignedTestimony => {
    const { lot, forward, reverse, quality, energies } = readingToJson(reading);
    return { lot, forward, reverse, quality, energies, signature };
  };
  const args: [string, string, SignedTestimony, SignedTestimony] = [
    meter.id,
    found.later.signer,
    testimony(found.earlier),
    testimony(found.later),
  ];
  return { args, calldata: new Interface(MeterRegistryAbi).encodeFunctionData("reportEquivocation", args) };
}

/** As the registry's ECDSA takes it: readers may write v as 0 and 1 where the registry knows 27 and 28 only. */
const canonical = (testimony: Testimony): Testimony => ({
  ...testimony,
  signature: Signature.from(testimony.signature).serialized as Hex,
});

/**
 * Finds out at the start, not at the alarm, that the file for evidence cannot be written.
 * @throws SettingsError
 */
export function checkEvidenceFile(file: string | undefined): void {
  try {
    if (file !== undefined) appendFileSync(file, "");
  } catch (error) {
    throw new SettingsError([`EVIDENCE_FILE=${file} cannot be written: ${explain(error)}`]);
  }
}

/** Proof that a meter is faulty or dishonest: kept, logged as an alarm, and appended to a file where one is set. */
export class Evidence {
  readonly items: EvidenceItem[] = [];
  readonly #file: string | undefined;
  readonly #log: Logger;
  readonly #seen = new Set<string>();

  readonly #remembered: Remembered | undefined;

  readonly #domain: ReadingDomain;

  constructor(options: {
    domain: ReadingDomain;
    file: string | undefined;
    log: Logger;
    remembered?: Remembered | undefined;
  }) {
    this.#domain = options.domain;
    this.#file = options.file;
    this.#log = options.log;
    this.#remembered = options.remembered;
    for (const [key, item] of options.remembered?.recallEvidence().slice(-KEPT) ?? []) {
      this.#seen.add(key);
      this.items.push(item);
    }
  }

  /** Returns false when these two readings are known already. */
  async add(meter: Meter, given: Contradiction): Promise<boolean> {
    const found = { ...given, earlier: canonical(given.earlier), later: canonical(given.later) };
    const key = [found.earlier.signature, found.later.signature].sort().join();
    if (this.#seen.has(key)) return false;
    // The oldest makes room: whoever floods must not wipe out what others are accused of at once.
    if (this.#seen.size >= KEPT) {
      this.#seen.delete(this.#seen.values().next().value!);
      this.items.shift();
    }
    this.#seen.add(key);
    const item: EvidenceItem = {
      serial: meter.serial,
      meterId: meter.id,
      kind: found.kind,
      lot: found.lot.toString(),
      foundAt: new Date().toISOString(),
      readings: [found.earlier, found.later].map(({ reading, signature, signer }) => ({
        reading: readingToJson(reading),
        signature,
        signer,
        digest: readingDigest(this.#domain, reading),
      })),
    };
    if (found.kind === "registers-differ" && oneSigner(found)) {
      const report = await reportOf(meter, found);
      if (report !== undefined) item.report = report;
    }
    this.items.push(item);
    this.#remembered?.keep(key, item);
    this.#log.error({ evidence: item }, `${meter.label} contradicts itself at the end of lot ${item.lot}`);
    if (this.#file !== undefined) {
      try {
        appendFileSync(this.#file, `${JSON.stringify(item)}\n`);
      } catch (error) {
        this.#log.error({ err: error }, "the evidence file cannot be written");
      }
    }
    return true;
  }
}
