import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, formatKWh } from "@bijuli/protocol";
import { type AuditIdentity, audit as auditLots } from "../audit.ts";
import { parseExport, storedLots, storeIdentity } from "../exportFile.ts";
import { storedFindings } from "../findings.ts";
import { type ClosedLot, Store } from "../store.ts";
import { type Command, usageError } from "./command.ts";
import { lotOption } from "./export.ts";

export const audit: Command = {
  help: `audit [--export FILE]… [--store FILE] [--from LOT] [--to LOT]: checks a meter's lots offline

Every lot is there, registers grow by each lot's energy and never go back, every reading is the meter's own. Exports, an
archive's files among them, are taken in the order given, then the store, as one run of lots; of the store, also what the sensor's own counter told. A store may be in use meanwhile. Prints a report as JSON; exits 1 when anything is wrong. Takes about 2 ms a lot.
`,
  async run(args) {
    const { values } = parseArgs({
      args,
      options: {
        store: { type: "string" },
        export: { type: "string", multiple: true },
        from: { type: "string" },
        to: { type: "string" },
      },
      strict: true,
    });
    const { store, export: exports = [] } = values;
    if (store === undefined && exports.length === 0) throw usageError("audit needs --store or --export");
    const from = lotOption("--from", values.from);
    const to = lotOption("--to", values.to);
    const parts = [...exports.map(exported), ...(store === undefined ? [] : [stored(store)])];
    const [begin, last] = [parts[0]!.identity, parts.at(-1)!.identity];
    for (const { identity } of parts) {
      if (identity.serial !== last.serial || identity.firstLot !== last.firstLot) {
        throw new BijuliError("bad-export", `${identity.serial} and ${last.serial} are not one meter's`);
      }
    }
    // The newest part knows all keys; where the run begins, the oldest one does.
    const report = auditLots(
      { ...last, before: begin.before },
      allLots(),
      // What an export leaves out it may have been told to; a store has all lots since its first or the last archived.
      exports.length === 0 && from === undefined,
    );
    const findings = store === undefined ? [] : findingsOf(store);
    const { first, newest, forward, reverse, ...rest } = report;
    console.log(
      JSON.stringify({
        ...rest,
        first: first?.toString() ?? null,
        newest: newest?.toString() ?? null,
        forward: forward.toString(),
        reverse: reverse.toString(),
        forwardKWh: formatKWh(forward),
        ...(findings.length === 0 ? {} : { findings }),
        ok: report.problemCount === 0,
      }),
    );
    return report.problemCount === 0 ? ExitCode.OK : ExitCode.FATAL;

    function* allLots() {
      for (const { lots } of parts) {
        for (const lot of lots) {
          if ((from === undefined || lot.lot >= from) && (to === undefined || lot.lot <= to)) yield lot;
        }
      }
    }

    /** They are no problems: registers are what was measured. They say what a gap has missed. */
    function findingsOf(path: string) {
      const opened = Store.openReadOnly(path);
      try {
        return storedFindings(opened);
      } finally {
        opened.close();
      }
    }

    function stored(path: string): { identity: AuditIdentity; lots: Iterable<ClosedLot> } {
      const opened = Store.openReadOnly(path);
      try {
        const damage = opened.damage();
        if (damage.length > 0) throw new BijuliError("audit-failed", `the store ${path} is damaged: ${damage[0]}`);
        return { identity: storeIdentity(opened), lots: lotsOf(path) };
      } finally {
        opened.close();
      }
    }

    function* lotsOf(path: string) {
      const opened = Store.openReadOnly(path);
      try {
        yield* storedLots(opened, from, to);
      } finally {
        opened.close();
      }
    }

    function exported(path: string) {
      let text: string;
      try {
        text = readFileSync(path, "utf8");
      } catch (cause) {
        throw new BijuliError("bad-export", `${path} cannot be read`, { cause });
      }
      return parseExport(path, text);
    }
  },
};
