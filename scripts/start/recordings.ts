import { basename } from "node:path";
import { loadReplay, simulationOptions } from "@bijuli/pi-reader";
import { BijuliError, explain, lotOf } from "@bijuli/protocol";
import { firstProblem, type Grid, metersOf } from "./grid.ts";

/** What the grid's recordings fix before anything is started. */
export interface Span {
  /** Unix ms at which all meters have begun; undefined where every meter is simulated. */
  originMs: number | undefined;
  /** The most lots that can clear; undefined where every meter is simulated. */
  lots: number | undefined;
}

/**
 * Reads every recording that the grid names, and the options of every simulation.
 * @throws BijuliError bad-grid or bad-recording: one line that names file and field
 */
export function checkRecordings(grid: Grid): Span {
  const name = basename(grid.file);
  let span: { originMs: number; lastLot: bigint } | undefined;
  for (const meter of grid.feeders.flatMap((feeder) => metersOf(grid, feeder))) {
    if ("simulate" in meter.source) {
      const parsed = simulationOptions.safeParse(meter.source.simulate);
      if (!parsed.success)
        throw new BijuliError(
          "bad-grid",
          `${name}: ${firstProblem(parsed.error.issues, `${meter.path}.source.simulate`)}`,
        );
      continue;
    }
    let replay: ReturnType<typeof loadReplay>;
    try {
      replay = loadReplay(meter.source.replay, grid.lotSeconds);
    } catch (error) {
      const where = `${name}: ${meter.path}.source.replay`;
      throw new BijuliError("bad-recording", `${where}: ${explain(error)}`, { cause: error });
    }
    // All begin with the recording that begins last, and end with the one that ends first.
    span = {
      originMs: Math.max(span?.originMs ?? 0, replay.beginMs),
      lastLot: span && span.lastLot < replay.lastLot ? span.lastLot : replay.lastLot,
    };
  }
  if (!span) return { originMs: undefined, lots: undefined };
  const lots = Number(span.lastLot - lotOf(BigInt(Math.floor(span.originMs / 1000)), grid.lotSeconds)) + 1;
  if (lots < 1) throw new BijuliError("bad-grid", `${name}: the recordings have no lot in common`);
  return { originMs: span.originMs, lots };
}

/** @throws BijuliError bad-option where exactly so many lots cannot clear */
export function checkLots(grid: Grid, asked: number, span: Span): void {
  const name = basename(grid.file);
  if (span.lots !== undefined && asked > span.lots) {
    throw new BijuliError(
      "bad-option",
      `--lots: ${asked} lots were asked for, but the recording in ${name} has ${span.lots}`,
    );
  }
  for (const feeder of grid.feeders) {
    const least = feeder.lotsPerClearing ?? grid.lotsPerClearing;
    if (asked < least) {
      throw new BijuliError(
        "bad-option",
        `--lots: ${asked} lots were asked for, but feeder ${feeder.name} clears at least ${least} at a time (lotsPerClearing)`,
      );
    }
  }
}
