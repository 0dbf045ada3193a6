import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode } from "@bijuli/protocol";
import { csvLines, exportLines, storedLots, storeIdentity } from "../exportFile.ts";
import { Store } from "../store.ts";
import { type Command, usageError } from "./command.ts";

/** A lot number from the command line. */
export function lotOption(name: string, text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,19}$/.test(text)) throw usageError(`${name} ${text} is not a lot number`);
  return BigInt(text);
}

export const exportLots: Command = {
  help: `export --store FILE [--format json|csv] [--from LOT] [--to LOT] [--out FILE]: writes a meter's lots

  --format json  one JSON object a line, the meter's identity first; exact, and \`audit --export\` checks it
  --format csv   a row a lot, for a spreadsheet
  --out FILE     writes there instead of stdout; a file that exists is not overwritten
A store may be in use meanwhile.
`,
  async run(args) {
    const { values } = parseArgs({
      args,
      options: {
        store: { type: "string" },
        format: { type: "string", default: "json" },
        from: { type: "string" },
        to: { type: "string" },
        out: { type: "string" },
      },
      strict: true,
    });
    if (values.store === undefined) throw usageError("export needs --store");
    const lines = { json: exportLines, csv: csvLines }[values.format];
    if (lines === undefined) throw usageError(`--format ${values.format} is neither json nor csv`);
    const from = lotOption("--from", values.from);
    const to = lotOption("--to", values.to);
    const store = Store.openReadOnly(values.store);
    try {
      const identity = storeIdentity(store);
      const out =
        values.out === undefined ? process.stdout : createWriteStream(values.out, { flags: "wx", mode: 0o600 });
      if (values.out !== undefined) {
        await once(out, "open").catch((cause) => {
          throw new BijuliError("bad-export", `${values.out} cannot be written`, { cause });
        });
      }
      for (const line of lines(identity, storedLots(store, from, to))) {
        if (!out.write(`${line}\n`)) await once(out, "drain");
      }
      if (values.out !== undefined) {
        out.end();
        await once(out, "close");
      }
    } finally {
      store.close();
    }
    return ExitCode.OK;
  },
};
