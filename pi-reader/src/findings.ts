import { type Finding, findingToJson } from "./reconciler.ts";
import type { Store } from "./store.ts";

/** A finding as the store keeps it: when, and which lot was open. */
export type StoredFinding = ReturnType<typeof findingToJson> & { time: string; lot: string | null };

/** So many are kept; the log has all. */
const KEPT = 200;

/** What the sensor's own counter told of gaps and differences, oldest first. */
export function storedFindings(store: Store): StoredFinding[] {
  return JSON.parse(store.get("findings") ?? "[]") as StoredFinding[];
}

/** Keeps a finding for `audit`; a difference that lasts is kept once a lot. */
export function keepFinding(store: Store, finding: Finding, at: { timeMs: number; lot: bigint | undefined }): void {
  const found: StoredFinding = {
    time: new Date(at.timeMs).toISOString(),
    lot: at.lot?.toString() ?? null,
    ...findingToJson(finding),
  };
  const findings = storedFindings(store);
  const last = findings.at(-1);
  if (found.counter === "disagrees" && last?.counter === "disagrees" && last.lot === found.lot) findings.pop();
  store.set({ findings: JSON.stringify([...findings, found].slice(-KEPT)) });
}
