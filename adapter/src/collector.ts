import {
  type Clock,
  disagreement,
  encodeRecord,
  explain,
  lotBefore,
  lotEnd,
  type ReadingDomain,
  readingToJson,
  recoverReadingSigner,
  registerAt,
  type SignedReading,
} from "@bijuli/protocol";
import type { Logger } from "pino";
import type { Evidence } from "./evidence.ts";
import type { Meter } from "./meters.ts";
import { type ReaderAnswer, ReaderFault, type ReaderHttp } from "./reader-http.ts";
import type { Recovery } from "./recovery.ts";
import { Refusal } from "./refusal.ts";
import type { Remembered } from "./remembered.ts";
import { recoverFast } from "./secp256k1.ts";
import type { SharedReadings, SharedRecord } from "./shared-readings.ts";
import { type Contradiction, type Shelf, type ShelfEntry, shelfKey, type Testimony } from "./shelf.ts";
import type { Signers } from "./signers.ts";
import { verifyAnswer } from "./verify.ts";

/** Clocks that differ by no more are taken to agree, seconds. */
const CLOCK_TOLERANCE_S = 5;

export interface CollectorOptions {
  clock: Clock;
  domain: ReadingDomain;
  lotSeconds: number;
  timeoutMs: number;
  shelf: Shelf;
  signers: Signers;
  recovery: Recovery;
  evidence: Evidence;
  http: ReaderHttp;
  /** Readings that other adapters of this operator verified, when they share a cache. */
  shared?: SharedReadings | undefined;
  /** What outlasts a restart, where it is kept. */
  remembered?: Remembered | undefined;
  log: Logger;
  /** Told of every call to a reader: its status, or 0 when it gave none. */
  onReaderCall?: (meter: Meter, status: number, seconds: number) => void;
  onVerified?: (meter: Meter, entry: ShelfEntry) => void;
  onRefused?: (meter: Meter, refusal: Refusal) => void;
  /** Told of each pair of readings that contradict each other, once. */
  onContradiction?: (meter: Meter) => void;
}

/** Gets readings from their readers, verifies them, and puts them on the shelf: one call under way per reading. */
export class Collector {
  readonly #o: CollectorOptions;
  readonly #underWay = new Map<string, Promise<ShelfEntry>>();
  /** Meters that a request waits for. */
  readonly #urgent = new Set<Meter>();

  constructor(options: CollectorOptions) {
    this.#o = options;
  }

  /** Real seconds until a moment of the network's clock, rounded up, at least 1. */
  secondsUntil(unixSeconds: bigint): number {
    const { clock } = this.#o;
    return Math.max(1, Math.ceil(clock.realMs(Number(unixSeconds) * 1000 - clock.nowMs()) / 1000));
  }

  isOver(lot: bigint): boolean {
    return lotEnd(lot, this.#o.lotSeconds) * 1000n <= BigInt(Math.floor(this.#o.clock.nowMs()));
  }

  /** What is on the shelf for a request, shortened to the meter's first lot where that is known. */
  ready(meter: Meter, lot: bigint, lots: number, key: string): ShelfEntry | undefined {
    const entry = meter.readings.get(key);
    if (entry !== undefined || meter.firstLot === undefined) return entry;
    const since = lot - meter.firstLot + 1n;
    return since > 0n && since < BigInt(lots) ? meter.readings.get(shelfKey(lot, Number(since))) : undefined;
  }

  /**
   * A meter's verified reading of `lots` lots ending with `lot`; of fewer when the meter's first lot came later.
   * @param urgent whether a request waits for it; a poll's readings are verified after those
   * @throws Refusal that names the meter and the cause
   */
  obtain(meter: Meter, lot: bigint, lots: number, urgent = true): Promise<ShelfEntry> {
    const key = `${meter.id}:${lot}:${lots}`;
    if (urgent) this.#urgent.add(meter);
    let promise = this.#underWay.get(key);
    if (promise === undefined) {
      promise = this.#fetch(meter, lot, lots).finally(() => {
        this.#underWay.delete(key);
        this.#urgent.delete(meter);
      });
      this.#underWay.set(key, promise);
    }
    return promise;
  }

  /** Verifies a reading that a meter pushed, and keeps it. */
  async accept(meter: Meter, answer: unknown): Promise<ShelfEntry> {
    const now = Date.now();
    try {
      return await this.#believe(meter, answer, {}, "its push", { requestedAt: now, receivedAt: now });
    } catch (error) {
      if (error instanceof Refusal) this.#o.onRefused?.(meter, error);
      throw error;
    }
  }

  async #fetch(meter: Meter, lot: bigint, lots: number): Promise<ShelfEntry> {
    const there = this.ready(meter, lot, lots, shelfKey(lot, lots));
    if (there !== undefined) return there;
    const shared = await this.#fromShared(meter, lot, lots);
    if (shared !== undefined) return shared;
    if (meter.url === undefined) {
      throw new Refusal(503, "not-yet-read", `${meter.label}: it pushes its readings and has not pushed lot ${lot}`, {
        retryAfter: 1,
      });
    }
    const pause = meter.circuit.wait();
    if (pause > 0) {
      throw new Refusal(
        504,
        "reader-unreachable",
        `${meter.label}: reader ${meter.url} is left alone for ${Math.ceil(pause)} ms (circuit ${meter.circuit.state()}) after: ${meter.lastError}`,
        { retryAfter: Math.max(1, Math.ceil(pause / 1000)) },
      );
    }
    const deadline = performance.now() + this.#o.timeoutMs;
    try {
      const entry = await this.#fetchRun(meter, lot, lots, deadline);
      meter.lastError = undefined;
      return entry;
    } catch (error) {
      if (error instanceof Refusal) {
        meter.lastError = error.message;
        this.#o.onRefused?.(meter, error);
      }
      throw error;
    }
  }

  async #fromShared(meter: Meter, lot: bigint, lots: number): Promise<ShelfEntry | undefined> {
    const requestedAt = Date.now();
    const record = await this.#o.shared?.get(meter, lot, lots);
    if (record === undefined) return undefined;
    try {
      const { reading, signature } = this.#o.shelf.signed(meter, record);
      const answer = { reading: readingToJson(reading), signature };
      const times = { requestedAt, receivedAt: Date.now() };
      return await this.#believe(meter, answer, { lot, lots }, "the shared cache", times);
    } catch (error) {
      this.#o.log.warn({ meter: meter.serial, err: error }, `the shared cache is not believed: ${explain(error)}`);
      return undefined;
    }
  }

  /** A run as it was asked for or, where the reader has no lot that early, the longest that ends with `lot`. */
  async #fetchRun(meter: Meter, lot: bigint, lots: number, deadline: number): Promise<ShelfEntry> {
    if (meter.firstLot !== undefined && lot >= meter.firstLot && lot - meter.firstLot + 1n < BigInt(lots)) {
      lots = Number(lot - meter.firstLot + 1n);
    }
    const entry = await this.#fetchExactly(meter, lot, lots, deadline);
    if (entry !== undefined) return entry;
    // Its first lot is not known: the most lots that it has by bisection, using nothing but what §3 promises.
    if (meter.firstLot !== undefined && lot < meter.firstLot) throw this.#beforeFirst(meter, lot);
    let has: ShelfEntry | undefined = lots === 1 ? undefined : await this.#fetchExactly(meter, lot, 1, deadline);
    if (has === undefined) throw this.#beforeFirst(meter, lot);
    let lacks = lots;
    while (lacks - has.lots > 1) {
      const middle = (has.lots + lacks) >> 1;
      const more = await this.#fetchExactly(meter, lot, middle, deadline);
      if (more === undefined) lacks = middle;
      else has = more;
    }
    meter.firstLot = lot - BigInt(has.lots) + 1n;
    return has;
  }

  #beforeFirst(meter: Meter, lot: bigint): Refusal {
    return new Refusal(
      404,
      "before-first-lot",
      `${meter.label}: lot ${lot} is before its first lot, by its reader ${meter.url}`,
    );
  }

  /** Undefined when the reader says 404: the run would begin before its first lot. */
  async #fetchExactly(meter: Meter, lot: bigint, lots: number, deadline: number): Promise<ShelfEntry | undefined> {
    const requestedAt = Date.now();
    const json = await this.#askReader(meter, lot, lots, deadline);
    if (json === undefined) return undefined;
    const times = { requestedAt, receivedAt: Date.now() };
    return this.#believe(meter, json, { lot, lots }, `reader ${meter.url}`, times);
  }

  /** The JSON that a reader answers; undefined when it says 404. */
  async #askReader(meter: Meter, lot: bigint, lots: number, deadline: number): Promise<unknown> {
    const url = `${meter.url}/readings/${lot}${lots === 1 ? "" : `?lots=${lots}`}`;
    // The energies stand in the answer twice, in hex; the rest is far below 8 KiB.
    const answer = await this.#call(meter, url, 8192 + 32 * lots, deadline);
    if (answer.status === 404) {
      // A reader's 404 is for good; a web server's, in front of it or in its place, is not.
      if (!/^\s*</.test(answer.body.toString("latin1", 0, 64))) return undefined;
      const why = "answered 404 with a web page: is its url right?";
      throw new Refusal(502, "reader-error", `${meter.label}: reader ${meter.url} ${why} (lot ${lot})`);
    }
    if (answer.status === 425 || answer.status === 503) {
      const since = Math.floor(
        this.#o.clock.realMs(this.#o.clock.nowMs() - Number(lotEnd(lot, this.#o.lotSeconds)) * 1000) / 1000,
      );
      const late = since > CLOCK_TOLERANCE_S ? ` ${since} s after its end: is its clock behind?` : "";
      const why = answer.status === 425 ? `says that the lot is not over${late}` : "is not ready";
      throw new Refusal(503, "not-yet-read", `${meter.label}: reader ${meter.url} ${why} (lot ${lot})`, {
        retryAfter: Math.min(Math.max(1, Math.ceil(answer.retryAfter ?? 1)), 3600),
      });
    }
    if (answer.status !== 200) {
      const hint = { 401: " (is its token right?)", 403: " (is its token right?)" }[answer.status] ?? "";
      const redirect = answer.status >= 300 && answer.status < 400 ? " and no redirect is followed" : "";
      throw new Refusal(
        502,
        "reader-error",
        `${meter.label}: reader ${meter.url} answered ${answer.status}${redirect}${hint} (lot ${lot})`,
      );
    }
    try {
      return JSON.parse(answer.body.toString("utf8"));
    } catch (cause) {
      throw new Refusal(502, "verification-failed", `${meter.label}: reader ${meter.url} answered what is not JSON`, {
        cause,
      });
    }
  }

  async #call(meter: Meter, url: string, maxBytes: number, deadline: number): Promise<ReaderAnswer> {
    const began = performance.now();
    try {
      const timeoutMs = Math.max(1, deadline - began);
      const answer = await this.#o.http.get(url, { token: meter.token, maxBytes, timeoutMs });
      meter.circuit.succeeded();
      this.#compareClocks(meter, answer.date);
      this.#o.onReaderCall?.(meter, answer.status, (performance.now() - began) / 1000);
      return answer;
    } catch (error) {
      if (!(error instanceof ReaderFault)) throw error;
      meter.circuit.failed();
      this.#o.onReaderCall?.(meter, 0, (performance.now() - began) / 1000);
      if (error.kind === "broken") {
        throw new Refusal(502, "reader-error", `${meter.label}: reader ${meter.url}: ${error.message}`, {
          cause: error,
        });
      }
      throw new Refusal(
        504,
        "reader-unreachable",
        `${meter.label}: reader ${meter.url} cannot be reached: ${error.message}`,
        { cause: error, retryAfter: 1 },
      );
    }
  }

  /** A meter with a wrong clock closes its lots at wrong times; HTTP's Date header tells it before that is noticed. */
  #compareClocks(meter: Meter, date: number | undefined): void {
    if (date === undefined) return;
    const skew = Math.round((date - Date.now()) / 1000);
    const off = Math.abs(skew) > CLOCK_TOLERANCE_S;
    if (off && meter.clockSkew === undefined) {
      const way = skew > 0 ? "ahead of" : "behind";
      this.#o.log.warn(`${meter.label}: its reader's clock is ${Math.abs(skew)} s ${way} this adapter's`);
    }
    meter.clockSkew = off ? skew : undefined;
  }

  async #believe(
    meter: Meter,
    answer: unknown,
    asked: { lot?: bigint; lots?: number },
    source: string,
    times: { requestedAt: number; receivedAt: number },
  ): Promise<ShelfEntry> {
    const { domain, lotSeconds, recovery, shelf, signers } = this.#o;
    const claimed = asked.lot ?? claimedLot(answer);
    const signer = await signers.signerOf(meter, claimed);
    const urgent = this.#urgent.has(meter);
    const signed = await verifyAnswer(
      meter,
      answer,
      { domain, lotSeconds, recovery, urgent, signer, ...asked },
      source,
    );
    if (!this.isOver(signed.reading.lot)) {
      throw new Refusal(
        503,
        "clock-ahead",
        `${meter.label}: ${source} signed lot ${signed.reading.lot}, which is not over; its clock is ahead of this adapter's`,
        { retryAfter: Math.min(this.secondsUntil(lotEnd(signed.reading.lot, lotSeconds)), 3600) },
      );
    }
    const testimony: Testimony = { ...signed, signer };
    const found =
      (await this.#sharedContradiction(meter, testimony, source)) ?? (await this.#share(meter, testimony, source));
    // Nothing may come between this look and the shelf: two answers that contradict each other can arrive together.
    const contradiction = this.#contradiction(meter, testimony) ?? found;
    if (contradiction !== undefined) throw await this.#disagreement(meter, contradiction, source);
    const entry = shelf.put(meter, signed, { signer, ...times });
    // The first lot read after a restart may be an old one: what is remembered then is newer, and stays.
    if (meter.newest === entry && meter.remembered === undefined) this.#o.remembered?.note(meter, entry);
    this.#o.onVerified?.(meter, entry);
    return entry;
  }

  /** What this adapter was told otherwise, before it last started too. */
  #contradiction(meter: Meter, later: Testimony): Contradiction | undefined {
    const { shelf, log } = this.#o;
    const found = shelf.contradiction(meter, later);
    const { remembered } = meter;
    if (found === undefined || remembered === undefined) return found;
    // Whoever can write to its file could accuse a meter: only what it signed counts.
    try {
      if (this.#signerOf(shelf.signed(meter, remembered)) === remembered.signer) return found;
      log.warn(`${meter.label}: what was remembered of it is not what it signed`);
    } catch (error) {
      log.warn(`${meter.label}: what was remembered of it is not believed: ${explain(error)}`);
    }
    meter.remembered = undefined;
    return shelf.contradiction(meter, later);
  }

  /** What another adapter of this operator was told otherwise. */
  async #sharedContradiction(meter: Meter, later: Testimony, source: string): Promise<Contradiction | undefined> {
    const { shared } = this.#o;
    if (shared === undefined || source === "the shared cache") return undefined;
    for (const record of await shared.overlapping(meter, lotBefore(later.reading), later.reading.lot)) {
      if (meter.readings.has(shelfKey(record.lot, record.lots))) continue;
      const found = this.#against(meter, record, later);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Gives a reading to the other adapters; returns the contradiction when one of them read otherwise at the same time, so
   * that neither found the other's when it looked.
   */
  async #share(meter: Meter, later: Testimony, source: string): Promise<Contradiction | undefined> {
    const { shared } = this.#o;
    if (shared === undefined || source === "the shared cache" || this.#contradiction(meter, later) !== undefined) {
      return undefined;
    }
    const { reading, signature } = later;
    const digits = encodeRecord(reading, signature).slice(2);
    const there = await shared.put(meter, { lot: reading.lot, lots: reading.energies.length, digits });
    return there && this.#against(meter, there, later);
  }

  /** What a record of the shared cache proves against a reading by the same key. */
  #against(meter: Meter, record: SharedRecord, later: Testimony): Contradiction | undefined {
    try {
      const earlier = this.#o.shelf.signed(meter, record);
      const lot = disagreement(earlier.reading, later.reading);
      if (lot === undefined) return undefined;
      // Anyone who can write to the cache could accuse a meter: only what it signed counts.
      const signer = this.#signerOf(earlier);
      if (signer !== later.signer) return undefined;
      return { kind: "registers-differ", lot, earlier: { ...earlier, signer }, later };
    } catch (error) {
      this.#o.log.warn({ meter: meter.serial }, `the shared cache is not believed: ${explain(error)}`);
      return undefined;
    }
  }

  #signerOf({ reading, signature }: SignedReading): string {
    return recoverReadingSigner(this.#o.domain, reading, signature, recoverFast).toLowerCase();
  }

  /**
   * A register that went back is no contradiction at one lot's end, which is all that the registry takes. But the meter
   * can be asked for the run from the one reading to the other: no run can agree with both, for its register only grows,
   * and so whatever the meter signs now is proof.
   */
  async #bridge(meter: Meter, { earlier, later }: Contradiction): Promise<void> {
    const { timeoutMs, evidence, log, signers, domain, lotSeconds, recovery } = this.#o;
    const [first, last] = earlier.reading.lot < later.reading.lot ? [earlier, later] : [later, earlier];
    const lots = last.reading.lot - first.reading.lot;
    if (meter.url === undefined || lots > LONGEST_RUN) return;
    try {
      const asked = { lot: last.reading.lot, lots: Number(lots) };
      const json = await this.#askReader(meter, asked.lot, asked.lots, performance.now() + timeoutMs);
      if (json === undefined) return;
      const signer = await signers.signerOf(meter, asked.lot);
      const expected = { domain, lotSeconds, recovery, urgent: false, signer, ...asked };
      const run = { ...(await verifyAnswer(meter, json, expected, `reader ${meter.url}`)), signer };
      for (const one of [first, last]) {
        const lot = disagreement(one.reading, run.reading);
        if (lot === undefined) continue;
        const proof = { kind: "registers-differ", lot, earlier: one, later: run } as const;
        if (await evidence.add(meter, proof)) this.#o.onContradiction?.(meter);
      }
    } catch (error) {
      log.debug({ err: error }, `${meter.label}: no run from lot ${first.reading.lot} on: ${explain(error)}`);
    }
  }

  /** Keeps the evidence; returns the refusal that says so. */
  async #disagreement(meter: Meter, found: Contradiction, source: string): Promise<Refusal> {
    if (await this.#o.evidence.add(meter, found)) {
      this.#o.onContradiction?.(meter);
      if (found.kind === "register-goes-back") await this.#bridge(meter, found);
    }
    const [a, b] = [found.earlier.reading, found.later.reading];
    const why =
      found.kind === "registers-differ"
        ? `gives ${registerAt(b, found.lot)} Units at the end of lot ${found.lot} where it signed ${registerAt(a, found.lot)} before`
        : `lets its register go back between lots ${lotBefore(b)}…${b.lot} and ${lotBefore(a)}…${a.lot}`;
    return new Refusal(
      502,
      "disagreement",
      `${meter.label}: ${source} ${why}; both signed readings are kept as evidence`,
    );
  }
}

/** The reader signs no longer run. */
const LONGEST_RUN = 8928n;

/** The lot that a pushed reading says it is of, before anything of it is believed: only to look up the signer. */
function claimedLot(answer: unknown): bigint {
  const lot = (answer as { reading?: { lot?: unknown } } | null)?.reading?.lot;
  return typeof lot === "string" && /^(0|[1-9][0-9]{0,19})$/.test(lot) ? BigInt(lot) : 0n;
}
