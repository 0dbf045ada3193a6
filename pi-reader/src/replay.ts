import { readFileSync } from "node:fs";
import { BijuliError, lotOf, MAX_LOT_ENERGY } from "@bijuli/protocol";
import { type Course, measureLot, type Step } from "./course.ts";
import { decimalProblem, parseMicro } from "./decimal.ts";
import { FEMTOJOULES_PER_UNIT } from "./measurement.ts";

/** A recording, ready to be measured. */
export interface Replay extends Course {
  readonly path: string;
  readonly endMs: number;
  /** The commonest time between two rows, which is the longest that a row holds. */
  readonly intervalMs: number;
  /** Rows, and those of them that hold a sample. */
  readonly rows: number;
  readonly samples: number;
  /** The lots of the first and the last sample. */
  readonly firstLot: bigint;
  readonly lastLot: bigint;
  /** lastLot − firstLot + 1. */
  readonly lots: number;
}

const COLUMNS = ["time", "voltage", "current", "power"] as const;
type Column = (typeof COLUMNS)[number];
const PICO_PER_MICRO = 1_000_000n;
/** µ. Anything beyond is a slip of the pen: the largest power plants stay below 10^11 W. */
const LARGEST = 10n ** 17n;

/**
 * Reads a recording: a CSV whose first line names its columns (`time`, and `power` or both `voltage` and `current`),
 * one sample a row. A row holds until the next one's time, at most the file's commonest interval; a row without
 * power (and without voltage and current to make it from) is a gap. `power` wins over voltage × current.
 * All is parsed exactly; nothing is rounded.
 * @param path the file
 * @param lotSeconds the registry's lot length: it decides firstLot and lastLot
 * @throws BijuliError bad-recording, naming file, line and column, for: a file that cannot be read, an unknown or
 *   missing column, a time that is malformed, goes back or repeats, a number that is malformed or has more than six
 *   decimals, a negative power, and more energy in a lot than a reading can carry
 */
export function loadReplay(path: string, lotSeconds: number): Replay {
  const table = readTable(path);
  const intervalMs = commonestInterval(path, table);
  const stepAt = (index: number): Step | undefined => {
    if (!table.has(index, POWER)) return undefined;
    const fromMs = table.timeMs(index);
    const next = index + 1 < table.rows ? table.timeMs(index + 1) : Number.POSITIVE_INFINITY;
    return {
      fromMs,
      toMs: Math.min(next, fromMs + intervalMs),
      power: table.power(index),
      voltage: table.has(index, VOLTAGE) ? table.voltage(index) : undefined,
      current: table.has(index, CURRENT) ? table.current(index) : undefined,
    };
  };
  const first = stepAt(table.firstSample);
  const last = stepAt(table.lastSample);
  if (first === undefined || last === undefined) {
    throw new BijuliError("bad-recording", `${path}: no row holds a sample`);
  }
  const lotAt = (ms: number) => lotOf(BigInt(Math.floor(ms / 1000)), lotSeconds);
  const firstLot = lotAt(first.fromMs);
  if (firstLot === 0n) {
    throw new BijuliError("bad-recording", `${path}: the recording begins in lot 0, before which no lot is`);
  }
  const lastLot = lotAt(last.toMs - 1);
  const replay: Replay = {
    path,
    beginMs: first.fromMs,
    endMs: last.toMs,
    intervalMs,
    rows: table.rows,
    samples: table.samples,
    firstLot,
    lastLot,
    lots: Number(lastLot - firstLot) + 1,
    *steps(fromMs, toMs) {
      for (let index = table.rowAt(fromMs); index < table.rows && table.timeMs(index) < toMs; index++) {
        const step = stepAt(index);
        if (step !== undefined && step.toMs > fromMs) yield step;
      }
    },
  };
  // Every lot is measured only where one could be too large at all: at the highest power all the time.
  if ((table.peak * BigInt(lotSeconds) * 1000n) / FEMTOJOULES_PER_UNIT > MAX_LOT_ENERGY) {
    for (let lot = firstLot; lot <= lastLot; lot++) {
      if (measureLot(replay, lot, lotSeconds, replay.endMs).forward / FEMTOJOULES_PER_UNIT >= MAX_LOT_ENERGY) {
        throw new BijuliError("bad-recording", `${path}: lot ${lot} holds more energy than 48 bits of Units`);
      }
    }
  }
  return replay;
}

const POWER = 1;
const VOLTAGE = 2;
const CURRENT = 4;

/** The rows of a recording, column by column: a year of minutes takes some 25 MB this way, ten times less than as objects. */
class Table {
  rows = 0;
  samples = 0;
  firstSample = 0;
  lastSample = 0;
  /** pW. */
  peak = 0n;
  #has = new Uint8Array(1024);
  #time = new Float64Array(1024);
  /** µW, and the pW below one µW that voltage × current brings. */
  #power = new BigInt64Array(1024);
  #rest = new Int32Array(1024);
  #voltage = new BigInt64Array(1024);
  #current = new BigInt64Array(1024);

  /** @param power pW; all the others in millionths */
  add(timeMs: number, voltage: bigint | undefined, current: bigint | undefined, power: bigint | undefined): void {
    if (this.rows === this.#time.length) this.#grow();
    const index = this.rows++;
    this.#time[index] = timeMs;
    this.#has[index] =
      (power === undefined ? 0 : POWER) | (voltage === undefined ? 0 : VOLTAGE) | (current === undefined ? 0 : CURRENT);
    this.#voltage[index] = voltage ?? 0n;
    this.#current[index] = current ?? 0n;
    if (power === undefined) return;
    this.#power[index] = power / PICO_PER_MICRO;
    this.#rest[index] = Number(power % PICO_PER_MICRO);
    if (power > this.peak) this.peak = power;
    if (this.samples++ === 0) this.firstSample = index;
    this.lastSample = index;
  }

  has(index: number, what: number): boolean {
    return (this.#has[index]! & what) !== 0;
  }
  timeMs(index: number): number {
    return this.#time[index]!;
  }
  power(index: number): bigint {
    return this.#power[index]! * PICO_PER_MICRO + BigInt(this.#rest[index]!);
  }
  voltage(index: number): bigint {
    return this.#voltage[index]!;
  }
  current(index: number): bigint {
    return this.#current[index]!;
  }

  /** The last row at or before a time; the first one when there is none. */
  rowAt(ms: number): number {
    let low = 0;
    let high = this.rows;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#time[middle]! <= ms) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  }

  #grow(): void {
    const size = this.#time.length * 2;
    const floats = new Float64Array(size);
    floats.set(this.#time);
    this.#time = floats;
    const flags = new Uint8Array(size);
    flags.set(this.#has);
    this.#has = flags;
    const rest = new Int32Array(size);
    rest.set(this.#rest);
    this.#rest = rest;
    const wider = (column: BigInt64Array<ArrayBuffer>) => {
      const wide = new BigInt64Array(size);
      wide.set(column);
      return wide;
    };
    this.#power = wider(this.#power);
    this.#voltage = wider(this.#voltage);
    this.#current = wider(this.#current);
  }
}

/** The lines of a text without making an array of them, numbered from 1. */
function* linesOf(text: string): Generator<[number: number, line: string]> {
  let number = 1;
  for (let at = 0; at <= text.length; number++) {
    const end = text.indexOf("\n", at);
    const line = text.slice(at, end < 0 ? text.length : end);
    yield [number, line.endsWith("\r") ? line.slice(0, -1) : line];
    if (end < 0) return;
    at = end + 1;
  }
}

function readTable(path: string): Table {
  let text: string;
  try {
    text = readFileSync(path, "utf8").replace(/^\ufeff/, "");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "no such file" : "cannot be read";
    throw new BijuliError("bad-recording", `${path}: ${why}`, { cause });
  }
  const refuse = (line: number, column: string, why: string): never => {
    throw new BijuliError("bad-recording", `${path}:${line}:${column}: ${why}`);
  };

  const lines = linesOf(text);
  const [, head] = lines.next().value as [number, string];
  const columns = head.split(",").map((name) => name.trim());
  for (const [index, name] of columns.entries()) {
    if (!COLUMNS.includes(name as Column)) {
      refuse(1, JSON.stringify(name), `not one of the columns ${COLUMNS.join(", ")}`);
    }
    if (columns.indexOf(name) !== index) refuse(1, name, "this column stands there twice");
  }
  if (!columns.includes("time")) refuse(1, "time", "this column is missing");
  if (!columns.includes("power") && !(columns.includes("voltage") && columns.includes("current"))) {
    refuse(1, "power", "this column is missing, and so are voltage and current to make it from");
  }
  const column = Object.fromEntries(COLUMNS.map((name) => [name, columns.indexOf(name)])) as Record<Column, number>;

  const table = new Table();
  for (const [at, line] of lines) {
    if (line.trim() === "") continue;
    const cells = line.split(",").map((cell) => cell.trim());
    if (cells.length !== columns.length) {
      const name = columns[Math.min(cells.length, columns.length - 1)]!;
      refuse(at, name, `${cells.length} cells instead of ${columns.length}`);
    }
    const cell = (name: Column) => cells[column[name]] ?? "";
    const number = (name: Column): bigint | undefined => {
      const value = cell(name);
      if (value === "") return undefined;
      const problem = decimalProblem(value);
      if (problem !== undefined) refuse(at, name, problem);
      const micro = parseMicro(value);
      if (micro > LARGEST || micro < -LARGEST) refuse(at, name, `${value} is beyond anything measurable`);
      return micro;
    };

    const timeMs = parseTime(cell("time"));
    if (timeMs === undefined) {
      throw new BijuliError("bad-recording", `${path}:${at}:time: ${JSON.stringify(cell("time"))} is not a time`, {
        remedy: "ISO 8601 with Z or an offset, such as 2010-07-15T07:49:00Z",
      });
    }
    const before = table.rows === 0 ? Number.NEGATIVE_INFINITY : table.timeMs(table.rows - 1);
    if (timeMs <= before) {
      refuse(at, "time", `${cell("time")} ${timeMs === before ? "stands there twice" : "goes back in time"}`);
    }

    const [voltage, current, power] = [number("voltage"), number("current"), number("power")];
    if (power !== undefined) {
      if (power < 0n) refuse(at, "power", `${cell("power")} is negative`);
      table.add(timeMs, voltage, current, power * PICO_PER_MICRO);
    } else {
      const product = voltage !== undefined && current !== undefined ? voltage * current : undefined;
      const shown = `${cell("voltage")} V × ${cell("current")} A`;
      if (product !== undefined && product < 0n) refuse(at, "current", `${shown} is a negative power`);
      if (product !== undefined && product > LARGEST * PICO_PER_MICRO)
        refuse(at, "current", `${shown} is beyond anything measurable`);
      table.add(timeMs, voltage, current, product);
    }
  }
  if (table.rows < 2) {
    throw new BijuliError("bad-recording", `${path}: a recording needs at least two rows, this has ${table.rows}`);
  }
  return table;
}

/** Unix ms of an ISO 8601 time with its zone; undefined for anything else, such as 30 February. */
export function parseTime(text: string): number | undefined {
  const match = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (match === null) return undefined;
  const local = Date.parse(`${match[1]}T${match[2]}${match[3] ?? ":00"}Z`);
  const unixMs = Date.parse(`${match[1]}T${match[2]}${match[3] ?? ":00"}${match[4]}`);
  // Date.parse lets 30 February roll over into March.
  if (Number.isNaN(local) || !new Date(local).toISOString().startsWith(`${match[1]}T${match[2]}`)) return undefined;
  return Number.isNaN(unixMs) || unixMs < 0 ? undefined : unixMs;
}

/** The commonest time between rows; of equally common ones the shortest, which claims the least. */
function commonestInterval(path: string, table: Table): number {
  const counts = new Map<number, number>();
  for (let i = 1; i < table.rows; i++) {
    const interval = table.timeMs(i) - table.timeMs(i - 1);
    counts.set(interval, (counts.get(interval) ?? 0) + 1);
  }
  let best: [number, number] | undefined;
  for (const [interval, count] of counts) {
    if (best === undefined || count > best[1] || (count === best[1] && interval < best[0])) best = [interval, count];
  }
  if (best === undefined) throw new BijuliError("bad-recording", `${path}: no interval between rows`);
  return best[0];
}
