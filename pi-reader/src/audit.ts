import { type Hex, type LotReading, meterIdOf, type ReadingDomain, recoverReadingSigner } from "@bijuli/protocol";
import { FEMTOJOULES_PER_UNIT } from "./measurement.ts";
import { type SignerSince, signerAt } from "./signerHistory.ts";
import type { ClosedLot, LotEnd } from "./store.ts";

/** Whose lots they are: what a store or an export says about itself. */
export interface AuditIdentity {
  serial: string;
  signers: readonly SignerSince[];
  domain: ReadingDomain;
  lotSeconds: number;
  firstLot: bigint;
  /** Where the lots go on from, when they do not begin with the first one. */
  before?: LotEnd | undefined;
}

/** What an audit found. */
export interface AuditReport {
  serial: string;
  /** The newest one. */
  signer: string;
  lots: number;
  first: bigint | undefined;
  newest: bigint | undefined;
  forward: bigint;
  reverse: bigint;
  /** At most a hundred, each naming its lot. */
  problems: string[];
  problemCount: number;
}

const MOST_SHOWN = 100;

/**
 * Checks a meter's lots offline: that none is missing, that registers only grow and by exactly each lot's energy, that
 * carried remainders are possible ones, and that every lot's reading is signed by the meter's own key. Readings of
 * several lots follow from these, so that they all agree when these do.
 * @param lots oldest first; a slice of the whole is fine
 * @param whole the lots are all that there are, so that they must begin where the identity says
 */
export function audit(identity: AuditIdentity, lots: Iterable<ClosedLot>, whole = false): AuditReport {
  const { serial, signers, domain, lotSeconds, firstLot } = identity;
  const meterId: Hex = meterIdOf(serial);
  const report: AuditReport = {
    serial,
    signer: signers.at(-1)!.address,
    lots: 0,
    first: undefined,
    newest: undefined,
    forward: 0n,
    reverse: 0n,
    problems: [],
    problemCount: 0,
  };
  const problem = (lot: bigint, what: string) => {
    report.problemCount++;
    if (report.problems.length < MOST_SHOWN) report.problems.push(`lot ${lot}: ${what}`);
  };
  let before: LotEnd | undefined;
  for (const lot of lots) {
    if (before === undefined && identity.before?.lot === lot.lot - 1n) before = identity.before;
    const begin = identity.before === undefined ? firstLot : identity.before.lot + 1n;
    if (whole && before === undefined && lot.lot > begin) problem(lot.lot, `the lots from ${begin} on are missing`);
    const start = before ?? (lot.lot === firstLot ? { forward: 0n, reverse: 0n } : undefined);
    if (before !== undefined && lot.lot !== before.lot + 1n) problem(lot.lot, `follows lot ${before.lot}`);
    if (lot.lot < firstLot) problem(lot.lot, `lies before the first lot ${firstLot}`);
    if (start !== undefined) {
      for (const [name, energy] of [
        ["forward", lot.energy],
        ["reverse", lot.reverseEnergy],
      ] as const) {
        if (energy < 0n || lot[name] - start[name] !== energy) {
          problem(lot.lot, `its ${name} register goes from ${start[name]} to ${lot[name]} on an energy of ${energy}`);
        }
      }
    }
    for (const rest of [lot.forwardRest, lot.reverseRest]) {
      if (rest < 0n || rest >= FEMTOJOULES_PER_UNIT) problem(lot.lot, `carries ${rest} fJ, which is no part of a Unit`);
    }
    const reading: LotReading = {
      meterId,
      lot: lot.lot,
      lotSeconds,
      forward: lot.forward,
      reverse: lot.reverse,
      quality: lot.quality,
      energies: [lot.energy],
    };
    let found = "nobody";
    try {
      found = recoverReadingSigner(domain, reading, lot.signature);
    } catch {
      // A malformed signature is nobody's.
    }
    const signer = signerAt(signers, lot.lot);
    if (found !== signer) problem(lot.lot, `is signed by ${found}, not by ${signer}`);
    report.lots++;
    report.first ??= lot.lot;
    report.newest = lot.lot;
    report.forward = lot.forward;
    report.reverse = lot.reverse;
    before = lot;
  }
  return report;
}
