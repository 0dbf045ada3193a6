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
  const rows = readRows(path);
  const intervalMs = commonestInterval(path, rows);
  const steps: Step[] = [];
  for (const [index, row] of rows.entries()) {
    const power = row.power ?? row.product;
    if (power === undefined) continue;
    const next = rows[index + 1]?.timeMs ?? Number.POSITIVE_INFINITY;
    steps.push({
      fromMs: row.timeMs,
      toMs: Math.min(next, row.timeMs + intervalMs),
      power,
      voltage: row.voltage,
      current: row.current,
    });
  }
  const first = steps[0];
  const last = steps.at(-1);
  if (first === undefined || last === undefined) {
    throw new BijuliError("bad-recording", `${path}: no row holds a sample`);
  }
  const lotAt = (ms: number) => lotOf(BigInt(Math.floor(ms / 1000)), lotSeconds);
  const firstLot = lotAt(first.fromMs);
  if (firstLot === 0n)
    throw new BijuliError("bad-recording", `${path}: the recording begins in lot 0, before which no lot is`);
  const lastLot = lotAt(last.toMs - 1);
  const replay: Replay = {
    path,
    beginMs: first.fromMs,
    endMs: last.toMs,
    intervalMs,
    rows: rows.length,
    samples: steps.length,
    firstLot,
    lastLot,
    lots: Number(lastLot - firstLot) + 1,
    steps: (fromMs, toMs) => stepsWithin(steps, fromMs, toMs),
  };
  // A year of minutes is 105,120 lots: too many to measure at every start, so only the largest power is tried.
  const peak = steps.reduce((largest, step) => (step.power > largest ? step.power : largest), 0n);
  if ((peak * BigInt(lotSeconds) * 1000n) / FEMTOJOULES_PER_UNIT > MAX_LOT_ENERGY) {
    for (let lot = firstLot; lot <= lastLot; lot++) {
      if (measureLot(replay, lot, lotSeconds, replay.endMs).forward / FEMTOJOULES_PER_UNIT >= MAX_LOT_ENERGY) {
        throw new BijuliError("bad-recording", `${path}: lot ${lot} holds more energy than 48 bits of Units`);
      }
    }
  }
  return replay;
}

interface Row {
  timeMs: number;
  voltage?: bigint;
  current?: bigint;
  /** pW, as given. */
  power?: bigint;
  /** pW, from voltage × current. */
  product?: bigint;
}

function readRows(path: string): Row[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "no such file" : "cannot be read";
    throw new BijuliError("bad-recording", `${path}: ${why}`, { cause });
  }
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
  const refuse = (line: number, column: string, why: string): never => {
    throw new BijuliError("bad-recording", `${path}:${line}:${column}: ${why}`);
  };

  const columns = (lines[0] ?? "").split(",").map((name) => name.trim());
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

  const rows: Row[] = [];
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index]!;
    if (line.trim() === "") continue;
    const at = index + 1;
    const cells = line.split(",").map((cell) => cell.trim());
    if (cells.length !== columns.length) {
      refuse(
        at,
        columns[Math.min(cells.length, columns.length - 1)]!,
        `${cells.length} cells instead of ${columns.length}`,
      );
    }
    const cell = (name: Column) => cells[columns.indexOf(name)] ?? "";
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
    const before = rows.at(-1);
    if (before !== undefined && timeMs <= before.timeMs) {
      refuse(at, "time", `${cell("time")} ${timeMs === before.timeMs ? "stands there twice" : "goes back in time"}`);
    }

    const row: Row = { timeMs };
    const [voltage, current, power] = [number("voltage"), number("current"), number("power")];
    if (voltage !== undefined) row.voltage = voltage;
    if (current !== undefined) row.current = current;
    if (voltage !== undefined && current !== undefined) row.product = voltage * current;
    if (power !== undefined) row.power = power * PICO_PER_MICRO;
    if (row.power !== undefined && row.power < 0n) refuse(at, "power", `${cell("power")} is negative`);
    if (row.power === undefined && row.product !== undefined && row.product < 0n) {
      refuse(at, "current", `${cell("voltage")} V × ${cell("current")} A is a negative power`);
    }
    rows.push(row);
  }
  if (rows.length < 2)
    throw new BijuliError("bad-recording", `${path}: a recording needs at least two rows, this has ${rows.length}`);
  return rows;
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
function commonestInterval(path: string, rows: readonly Row[]): number {
  const counts = new Map<number, number>();
  for (let i = 1; i < rows.length; i++) {
    const interval = rows[i]!.timeMs - rows[i - 1]!.timeMs;
    counts.set(interval, (counts.get(interval) ?? 0) + 1);
  }
  let best: [number, number] | undefined;
  for (const [interval, count] of counts) {
    if (best === undefined || count > best[1] || (count === best[1] && interval < best[0])) best = [interval, count];
  }
  if (best === undefined) throw new BijuliError("bad-recording", `${path}: no interval between rows`);
  return best[0];
}

function* stepsWithin(steps: readonly Step[], fromMs: number, toMs: number): Generator<Step> {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (steps[middle]!.toMs <= fromMs) low = middle + 1;
    else high = middle;
  }
  for (let i = low; i < steps.length && steps[i]!.fromMs < toMs; i++) yield steps[i]!;
}
