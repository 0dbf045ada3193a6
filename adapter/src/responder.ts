import { type Clock, lotEnd } from "@bijuli/protocol";
import { ADAPTER_NAME, answerHead, metersThatFit, plainReading, readingsAnswer, tooLarge } from "./answer.ts";
import type { Collector } from "./collector.ts";
import type { JobRequest, JobRunId } from "./job-request.ts";
import type { Meter } from "./meters.ts";
import { asRefusal, badInput, Refusal } from "./refusal.ts";
import { type ShelfEntry, shelfKey } from "./shelf.ts";

export interface ResponderOptions {
  clock: Clock;
  collector: Collector;
  lotSeconds: number;
  graceSeconds: number;
  /** Bytes of an answer at most. */
  limit: number;
}

/** An answer's body in two parts, and whether no reader had to be asked for it. */
export interface Answer {
  /** What differs when a request comes again: its id. ASCII, so that it has as many bytes as characters. */
  head: string;
  /** All the rest. */
  tail: Buffer;
  cached: boolean;
}

/** Answers job requests from the shelf, and from the readers what is not there. */
export class Responder {
  readonly #o: ResponderOptions;
  /** The last complete answer for each list of meters: a lot that is over never changes, so it holds for ever. */
  readonly #ready = new WeakMap<readonly Meter[], { lot: bigint; lots: number; tail: Buffer }>();

  constructor(options: ResponderOptions) {
    this.#o = options;
  }

  /**
   * The answer's body; at once, not as a promise, when all readings are on the shelf.
   * @throws Refusal
   */
  answer(jobRunID: JobRunId, request: JobRequest): Answer | Promise<Answer> {
    return request.endpoint === "register" ? this.#register(jobRunID, request) : this.#lotReadings(jobRunID, request);
  }

  #lotReadings(jobRunID: JobRunId, request: JobRequest): Answer | Promise<Answer> {
    const { collector, lotSeconds, limit } = this.#o;
    const lot = request.lot!;
    const page = request.meters;
    const ready = this.#ready.get(page);
    if (ready !== undefined && ready.lot === lot && ready.lots === request.lots && !request.verbose) {
      const head = answerHead(jobRunID);
      if (head.length + ready.tail.length <= limit) return { head, tail: ready.tail, cached: true };
    }
    const fit = metersThatFit(limit, request, jobRunID, lotSeconds);
    if (request.meters.length > fit) throw tooLarge(request, limit, fit);
    if (!collector.isOver(lot)) throw this.#stillOpen(lot);
    const key = shelfKey(lot, request.lots);
    const entries: (ShelfEntry | undefined)[] = [];
    let complete = true;
    for (const meter of request.meters) {
      const entry = collector.ready(meter, lot, request.lots, key);
      if (entry === undefined) complete = false;
      entries.push(entry);
    }
    const finish = (cached: boolean): Answer => {
      const head = answerHead(jobRunID);
      const tail = Buffer.from(readingsAnswer(request, entries, lotSeconds));
      if (head.length + tail.length > limit) throw tooLarge(request, limit, fit);
      for (const meter of request.meters) meter.asked = { lot, lots: request.lots };
      if (!request.verbose && !entries.includes(undefined)) this.#ready.set(page, { lot, lots: request.lots, tail });
      return { head, tail, cached };
    };
    return complete ? finish(true) : this.#fill(request, entries).then(() => finish(false));
  }

  /** Fetches what the shelf lacks; in stage consumers and after the grace time, what cannot be had stays missing. */
  async #fill(request: JobRequest, entries: (ShelfEntry | undefined)[]): Promise<void> {
    const { collector, clock, graceSeconds, lotSeconds } = this.#o;
    const lot = request.lot!;
    const failures: Refusal[] = [];
    await Promise.all(
      request.meters.map(async (meter, i) => {
        if (entries[i] !== undefined) return;
        try {
          entries[i] = await collector.obtain(meter, lot, request.lots);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          failures.push(error);
        }
      }),
    );
    if (failures.length === 0) return;
    if (request.stage !== "consumers") throw together(failures);
    const graceEnd = lotEnd(lot, lotSeconds) + BigInt(graceSeconds);
    if (clock.nowMs() >= Number(graceEnd) * 1000) return;
    // Nothing is permanent here: once the grace time is over the others are served without it.
    const worst = together(failures);
    const status = worst.status < 500 ? 503 : worst.status;
    const wait = collector.secondsUntil(graceEnd);
    throw new Refusal(status, worst.code, `${worst.message} (served without it in ${wait} s)`, {
      retryAfter: Math.min(worst.retryAfter ?? wait, wait),
      cause: worst,
    });
  }

  #stillOpen(lot: bigint): Refusal {
    const { collector, lotSeconds } = this.#o;
    const wait = collector.secondsUntil(lotEnd(lot, lotSeconds));
    return new Refusal(503, "lot-open", `lot ${lot} is not over; its end is ${wait} s away`, {
      retryAfter: Math.min(wait, 86_400),
    });
  }

  /** Endpoint `register`: one meter's registers, for jobs that need no signature. */
  async #register(jobRunID: JobRunId, request: JobRequest): Promise<Answer> {
    const { collector, clock, lotSeconds, limit } = this.#o;
    const [meter] = request.meters;
    if (meter === undefined || request.meters.length !== 1) throw badInput("endpoint register takes one meter");
    let cached = true;
    let entry: ShelfEntry | undefined;
    if (request.lot === undefined) {
      // The newest lot that is over; while its reader has not closed it, the newest that was read.
      const lot = BigInt(Math.floor(clock.nowMs() / 1000 / lotSeconds)) - 1n;
      entry = collector.ready(meter, lot, request.lots, shelfKey(lot, request.lots));
      if (entry === undefined) {
        cached = false;
        try {
          entry = await collector.obtain(meter, lot, request.lots);
        } catch (error) {
          entry = meter.newest;
          // However old it is: a reader whose store was restored asks this way what its meter last signed.
          if (entry === undefined) throw asRefusal(error);
        }
      }
    } else {
      if (!collector.isOver(request.lot)) throw this.#stillOpen(request.lot);
      entry = collector.ready(meter, request.lot, request.lots, shelfKey(request.lot, request.lots));
      if (entry === undefined) {
        cached = false;
        entry = await collector.obtain(meter, request.lot, request.lots);
      }
    }
    const reading = plainReading(entry);
    const rest = JSON.stringify({
      result: reading.forward,
      data: { result: reading.forward, serial: meter.serial, meterId: meter.id, ...reading },
      statusCode: 200,
      timestamps: {
        providerDataRequestedUnixMs: entry.requestedAt,
        providerDataReceivedUnixMs: entry.receivedAt,
        providerIndicatedTimeUnixMs: Number(lotEnd(entry.lot, lotSeconds)) * 1000,
      },
      meta: { adapterName: ADAPTER_NAME },
    });
    const head = answerHead(jobRunID);
    const tail = Buffer.from(`,${rest.slice(1)}`);
    if (head.length + tail.length > limit) {
      throw new Refusal(413, "too-large", `${meter.label}: ${entry.lots} lots do not fit an answer of ${limit} bytes`);
    }
    return { head, tail, cached };
  }
}

/** One refusal for several meters: permanent before temporary, and every cause up to a few. */
function together(failures: readonly Refusal[]): Refusal {
  const rank = (r: Refusal): number =>
    r.status < 500 ? 0 : { 500: 1, 502: 2, 504: 3, 503: 4 }[r.status as 500 | 502 | 503 | 504];
  const sorted = failures.toSorted((a, b) => rank(a) - rank(b));
  const worst = sorted[0]!;
  if (sorted.length === 1) return worst;
  const named = sorted.slice(0, 3).map((failure) => failure.message);
  const more = sorted.length > 3 ? ` (and ${sorted.length - 3} more meters)` : "";
  const waits = sorted.flatMap((failure) => failure.retryAfter ?? []);
  return new Refusal(worst.status, worst.code, named.join("; ") + more, {
    retryAfter: waits.length === 0 ? undefined : Math.max(...waits),
    cause: worst,
  });
}
