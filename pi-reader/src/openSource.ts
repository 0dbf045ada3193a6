import { basename } from "node:path";
import { BijuliError, type Clock } from "@bijuli/protocol";
import { CourseSource } from "./course.ts";
import { loadReplay } from "./replay.ts";
import { parseSimulation, Simulation } from "./simulation.ts";
import type { Source } from "./source.ts";

/**
 * Opens what READER_SOURCE names: `replay:FILE` or `simulate:{…}`.
 * @param began unix ms at which a simulated meter was first started: it has measured nothing before
 */
export function openSource(text: string, clock: Clock, lotSeconds: number, began: number): Source {
  const colon = text.indexOf(":");
  const kind = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? "" : text.slice(colon + 1);
  if (kind === "replay") {
    return new CourseSource(loadReplay(rest, lotSeconds), { kind, file: basename(rest) }, clock, lotSeconds);
  }
  if (kind === "simulate") {
    const options = parseSimulation(rest === "" ? "{}" : rest);
    // Where the switches lie is nobody's business but this machine's.
    const { switches: _, ...shown } = options;
    return new CourseSource(new Simulation(options, began), { kind, ...shown }, clock, lotSeconds);
  }
  throw new BijuliError("bad-source", `READER_SOURCE=${JSON.stringify(text)} names no source`, {
    remedy: "ina219:{…}, ina226:{…}, ina228:{…}, ads1115:{…}, modbus:{…}, replay:FILE.csv or simulate:{…}",
  });
}
