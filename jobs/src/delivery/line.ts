import type { Job } from "../spec/job.ts";
import { FINISHED, type Run } from "../state/run.ts";

/** A run in its group's line. */
export interface Entry {
  readonly run: Run;
  readonly line: Line;
  /** Real ms before which it is not sent (again). */
  notBefore: number;
  /** How often in a row its delivery failed. */
  failures: number;
  /** Its next transaction is tried as a call first: the last one reverted, or another may have done its work. */
  rehearse: boolean;
  gasLimit: bigint | undefined;
  /** A statement or a call about it is under way. */
  busy: boolean;
  /** Delivered in this block, with more wanted on top of it. */
  maturing: { block: number; note: string | undefined } | undefined;
}

/** The requests of one group of a job, in their order. */
export interface Line {
  readonly key: string;
  readonly job: Job;
  readonly entries: Entry[];
  /** The key that sends what is in it now: one that changes would lose the order. */
  sender: string | undefined;
}

/** The market's last stage. */
const CONSUMERS = 2;

/** The runs that are not at an end, each in its line. */
export class Lines {
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #lines = new Map<string, Line>();
  readonly #entries = new Map<string, Entry>();

  constructor(jobs: ReadonlyMap<string, Job>) {
    this.#jobs = jobs;
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  lines(): IterableIterator<Line> {
    return this.#lines.values();
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  /** @returns the new entry; undefined when the run is in its line, at an end, or of a job that is not here any more */
  add(run: Run): Entry | undefined {
    const job = this.#jobs.get(run.job);
    if (job === undefined || this.#entries.has(run.id) || FINISHED.includes(run.state)) return undefined;
    const key = `${run.job} ${run.group}`;
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { key, job, entries: [], sender: undefined };
      this.#lines.set(key, line);
    }
    const entry: Entry = {
      run,
      line,
      notBefore: 0,
      failures: 0,
      rehearse: run.stage?.submit === true,
      gasLimit: undefined,
      busy: false,
      maturing: undefined,
    };
    this.#entries.set(run.id, entry);
    const after = line.entries.findLastIndex((other) => comparePlaces(other.run, run) <= 0);
    line.entries.splice(after + 1, 0, entry);
    return entry;
  }

  remove(entry: Entry): void {
    const { line } = entry;
    this.#entries.delete(entry.run.id);
    const at = line.entries.indexOf(entry);
    if (at !== -1) line.entries.splice(at, 1);
    if (line.entries.length === 0) this.#lines.delete(line.key);
  }
}

/**
 * The entries of a line that may leave now, in order.
 *
 * pipelined: as many as are built, from the front of the line, without waiting for one another.
 * strict: only the first, until it is delivered.
 *
 * One that fails is waited for up to `maxHold`; then its successors go first and it stays in the line.
 */
export function sendable(line: Line, now: number): Entry[] {
  const { mode, maxHoldMs } = line.job.ordering;
  const found: Entry[] = [];
  // Whether what the market wants first is still to come; it does not want one lot's consumers before the next lot.
  let awaited = false;
  for (const entry of line.entries) {
    const { run } = entry;
    if (entry.busy) break;
    const early = run.stage?.submit === true && awaited;
    awaited ||= run.stage === undefined || run.stage.stage !== CONSUMERS;
    if (run.state === "sent") {
      if (mode === "strict") break;
      continue;
    }
    // A submission out of turn would only cost gas: it waits, however long, until what is before it is done.
    if (run.state !== "ready" || entry.notBefore > now || early) {
      const held = run.failingSince !== undefined && now - run.failingSince > maxHoldMs;
      if (!held) break;
      continue;
    }
    found.push(entry);
    if (mode === "strict") break;
  }
  return found;
}

function comparePlaces(a: Run, b: Run): number {
  return (
    a.placeBlock - b.placeBlock || a.placeLog - b.placeLog || a.blockNumber - b.blockNumber || a.logIndex - b.logIndex
  );
}
