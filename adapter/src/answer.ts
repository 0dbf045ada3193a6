import { decodeEnergies, formatKWh, lotEnd, MISSING_RECORD, qualityNames, recordLength } from "@bijuli/protocol";
import type { JobRequest, JobRunId } from "./job-request.ts";
import { Refusal } from "./refusal.ts";
import type { ShelfEntry } from "./shelf.ts";

/*
 * Answers as a Chainlink node takes them. Its bridge task reads `statusCode` and `error` of the body before anything
 * else (core/services/pipeline/eautils/eautils.go), so success carries no `error` and an error always an object with
 * name and message.
 */

export const ADAPTER_NAME = "BIJULI";
const MISSING_DIGITS = MISSING_RECORD.slice(2);

/**
 * An answer's beginning: its id, which is the one thing that differs when a request comes again. In ASCII whatever the id
 * is: one byte a character, which is counted and sent fastest.
 */
export const answerHead = (jobRunID: JobRunId): string =>
  typeof jobRunID === "string" && /^[\w-]*$/.test(jobRunID)
    ? `{"jobRunID":"${jobRunID}"`
    : `{"jobRunID":${asciiJson(jobRunID)}`;

const asciiJson = (value: JobRunId): string =>
  JSON.stringify(value).replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** An answer's rest: the records of a request, in its order; undefined stands for a missing meter. */
export function readingsAnswer(
  request: JobRequest,
  entries: readonly (ShelfEntry | undefined)[],
  lotSeconds: number,
): string {
  let digits = "";
  let requestedAt = Number.MAX_SAFE_INTEGER;
  let receivedAt = 0;
  let missing = 0;
  for (const entry of entries) {
    if (entry === undefined) {
      digits += MISSING_DIGITS;
      missing++;
      continue;
    }
    digits += entry.digits;
    if (entry.requestedAt < requestedAt) requestedAt = entry.requestedAt;
    if (entry.receivedAt > receivedAt) receivedAt = entry.receivedAt;
  }
  if (receivedAt === 0) requestedAt = receivedAt = Date.now();
  const indicated = lotEnd(request.lot!, lotSeconds) * 1000n;
  const absent =
    missing === 0
      ? ""
      : `,"missing":${JSON.stringify(request.meters.filter((_, i) => entries[i] === undefined).map((m) => m.id))}`;
  const verbose = request.verbose ? `,"readings":${JSON.stringify(verboseReadings(request, entries))}` : "";
  // By hand: everything put in here is hex, a number or made by JSON.stringify, and this is the hot path.
  return `,"data":{"result":"0x${digits}"${verbose}},"statusCode":200,"timestamps":{"providerDataRequestedUnixMs":${requestedAt},"providerDataReceivedUnixMs":${receivedAt},"providerIndicatedTimeUnixMs":${indicated}},"meta":{"adapterName":"${ADAPTER_NAME}"${absent}}}`;
}

function verboseReadings(request: JobRequest, entries: readonly (ShelfEntry | undefined)[]) {
  return request.meters.map((meter, i) => {
    const entry = entries[i];
    const named = { serial: meter.serial, meterId: meter.id };
    return entry === undefined ? { ...named, missing: true } : { ...named, ...plainReading(entry) };
  });
}

/** A reading as plain values: registers and energies as decimal strings, Units. */
export function plainReading(entry: ShelfEntry) {
  const quality = Number.parseInt(entry.digits.slice(4, 8), 16);
  return {
    lot: entry.lot.toString(),
    lots: entry.lots.toString(),
    forward: entry.forward.toString(),
    reverse: BigInt(`0x${entry.digits.slice(24, 40)}`).toString(),
    forwardKWh: formatKWh(entry.forward),
    energies: decodeEnergies(`0x${entry.digits.slice(168)}`).map(String),
    quality,
    qualityNames: qualityNames(quality),
  };
}

/** The one shape of every error. */
export function errorAnswer(jobRunID: JobRunId, refusal: Refusal): string {
  return JSON.stringify({
    jobRunID,
    status: "errored",
    statusCode: refusal.status,
    error: { name: refusal.answerName, message: refusal.message },
  });
}

/**
 * How many meters' records fit an answer, to the byte. A contract's pages must be no larger.
 * @param limit bytes of an answer at most
 */
export function metersThatFit(limit: number, request: JobRequest, jobRunID: JobRunId, lotSeconds: number): number {
  const envelope =
    answerHead(jobRunID).length + readingsAnswer({ ...request, meters: [], verbose: false }, [], lotSeconds).length;
  return Math.max(0, Math.floor((limit - envelope) / (2 * recordLength(request.lots))));
}

export function tooLarge(request: JobRequest, limit: number, fit: number): Refusal {
  const what = `${request.meters.length} meters × ${request.lots} ${request.lots === 1 ? "lot" : "lots"}`;
  return new Refusal(
    413,
    "too-large",
    `${what}${request.verbose ? " with verbose readings" : ""} do not fit an answer of ${limit} bytes; ${fit} meters would${request.verbose ? " without verbose" : ""}`,
  );
}
