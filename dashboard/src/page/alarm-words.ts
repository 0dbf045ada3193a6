import type { AlarmJson } from "../server/shapes.ts";
import { kWh, money, percent, ratio } from "./format.ts";

export const KINDS: Readonly<Record<string, string>> = {
  loss: "Loss above the ideal",
  unaccounted: "Unaccounted energy",
  overdrawn: "More used than arrived",
  gain: "More received than sent",
  quality: "Quality bits",
  equivocation: "Contradicting readings",
  refused: "Reading refused",
  "reading-missing": "Reading missing",
  capacity: "Above capacity",
  estimated: "Estimated",
  "reserve-low": "Reserve low",
};
export const SEVERITIES = ["", "notice", "warning", "alarm"] as const;
const REFUSALS = [
  "",
  "the adapter had no reading",
  "the record is cut short",
  "it does not reach back to the meter's cursor",
  "its register is not the one that was cleared",
  "it is not signed by the meter's signer",
  "the meter is suspended or unknown",
  "it was cleared already",
  "its energies exceed the register",
];
const STAGES = ["plants", "distributor", "consumers"];

/** What an alarm says, in a sentence. */
export function wordsOf({ kind, value, detail }: AlarmJson): string {
  const units = BigInt(value ?? 0);
  switch (kind) {
    case "loss":
      return `${percent(units)} above the ideal; ${kWh(String(detail.lost ?? 0))} lost, ${percent(String(detail.actualLoss ?? 0))} of what was sent. The price was lowered.`;
    case "unaccounted":
      return `${kWh(units)}, ${percent(ratio(units, BigInt(detail.available ?? 0)))} of what arrived, was measured by no consumer.`;
    case "overdrawn":
      return `consumers measured ${kWh(units)} more than arrived.`;
    case "gain":
      return `the distributor measured ${kWh(units)} more than was sent: a meter errs.`;
    case "quality":
      return `the meter says: ${detail.bits}.`;
    case "equivocation":
      return "one key signed two readings that cannot both be true; the proof is on chain.";
    case "refused":
      return `${REFUSALS[Number(detail.reason)] ?? `reason ${detail.reason}`} (${STAGES[Number(detail.stage)]}).`;
    case "reading-missing":
      return `the stage ${STAGES[Number(detail.stage)]} waits: a reading was missing or refused.`;
    case "capacity":
      return `${kWh(units)} above what the meter's rated power allows was not counted.`;
    case "estimated":
      return "a silent meter was estimated, or gone on without.";
    case "reserve-low":
      return `account ${detail.account} holds ${money(units)}, less than its reserve of ${money(String(detail.reserve ?? 0))}.`;
    default:
      return kind;
  }
}
