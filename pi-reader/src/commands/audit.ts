import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, formatKWh } from "@bijuli/protocol";
import { audit as auditLots } from "../audit.ts";
import { parseExport, storedLots, storeIdentity } from "../exportFile.ts";
import { Store } from "../store.ts";
import { type Command, usageError } from "./command.ts";
import { lotOption } from "./export.ts";

export const audit: Command = {
  help: `audit (--store FILE | --export FILE) [--from LOT] [--to LOT]: checks a meter's lots offline

Every lot is there, registers grow by each lot's energy and never go back, every reading is the meter's own. A store may
be in use meanwhile. Prints a report as JSON; exits 1 when anything is wrong. Takes about 2 ms a lot.
`,
  async run(args) {
    const { values } = parseArgs({
      args,
      options: {
        store: { type: "string" },
        export: { type: "string" },
        from: { type: "string" },
        to: { type: "string" },
      },
      strict: true,
    });
    if ((values.store === undefined) === (values.export === undefined)) {
      throw usageError("audit needs either --store or --export");
    }
    const from = lotOption("--from", values.from);
    const to = lotOption("--to", values.to);
    const report = values.store !== undefined ? ofStore(values.store) : ofExport(values.export!);
    const { first, newest, forward, reverse, ...rest } = report;
    console.log(
      JSON.stringify({
        ...rest,
        first: first?.toString() ?? null,
        newest: newest?.toString() ?? null,
        forward: forward.toString(),
        reverse: reverse.toString(),
        forwardKWh: formatKWh(forward),
        ok: report.problemCount === 0,
      }),
    );
    return report.problemCount === 0 ? ExitCode.OK : ExitCode.FATAL;

    function ofStore(path: string) {
      const store = Store.openReadOnly(path);
      try {
        const damage = store.damage();
        if (damage.length > 0) throw new BijuliError("audit-failed", `the store ${path} is damaged: ${damage[0]}`);
        return auditLots(storeIdentity(store), storedLots(store, from, to));
      } finally {
        store.close();
      }
    }

    function ofExport(path: string) {
      let text: string;
      try {
        text = readFileSync(path, "utf8");
      } catch (cause) {
        throw new BijuliError("bad-export", `${path} cannot be read`, { cause });
      }
      const { identity, lots } = parseExport(path, text);
      return auditLots(
        identity,
        lots.filter(({ lot }) => (from === undefined || lot >= from) && (to === undefined || lot <= to)),
      );
    }
  },
};
