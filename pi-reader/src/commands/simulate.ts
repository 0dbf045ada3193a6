import { parseArgs } from "node:util";
import { ExitCode } from "@bijuli/protocol";
import { formatMicro } from "../decimal.ts";
import { parseTime } from "../replay.ts";
import { parseSimulation, Simulation } from "../simulation.ts";
import { type Command, usageError } from "./command.ts";
import { writeLines } from "./lines.ts";

export const simulate: Command = {
  help: `simulate [OPTIONS-JSON] [--from TIME] [--hours N]: prints what a simulated meter would measure, as a CSV that replay takes

  OPTIONS-JSON  as in READER_SOURCE=simulate:{…}; a load of 400 W unless told
  --from TIME   ISO 8601 with Z or an offset [2026-01-01T00:00:00Z]
  --hours N     how long [24]
`,
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      options: { from: { type: "string", default: "2026-01-01T00:00:00Z" }, hours: { type: "string", default: "24" } },
      allowPositionals: true,
      strict: true,
    });
    if (positionals.length > 1) throw usageError("simulate takes its options as one JSON argument");
    const fromMs = parseTime(values.from);
    if (fromMs === undefined) throw usageError(`--from ${values.from} is not an ISO 8601 time with Z or an offset`);
    const hours = Number(values.hours);
    if (!(hours > 0 && hours <= 100_000)) throw usageError(`--hours ${values.hours} is not a number from 0 to 100000`);
    const simulation = new Simulation(parseSimulation(positionals[0] ?? "{}"), fromMs);
    await writeLines(csvLines(simulation, fromMs, fromMs + Math.round(hours * 3_600_000)));
    return ExitCode.OK;
  },
};

function* csvLines(simulation: Simulation, fromMs: number, toMs: number): Generator<string> {
  yield "time,voltage,current,power";
  for (const step of simulation.steps(fromMs, toMs)) {
    const cells = [step.voltage!, step.current!, step.power / 1_000_000n].map(formatMicro);
    yield [new Date(step.fromMs).toISOString().replace(".000Z", "Z"), ...cells].join(",");
  }
}
