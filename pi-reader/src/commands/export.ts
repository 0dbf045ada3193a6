import { parseArgs } from "node:util";
import { BijuliError, ExitCode, loadSettings } from "@bijuli/protocol";
import type { AuditIdentity } from "../audit.ts";
import { csvLines, exportLines, storedLots, storeIdentity } from "../exportFile.ts";
import { readKey } from "../keyFile.ts";
import { readerSettings } from "../settings.ts";
import { keySigner } from "../signer.ts";
import { type ClosedLot, Store } from "../store.ts";
import { type Command, usageError } from "./command.ts";
import { writeLines } from "./lines.ts";

/** A lot number from the command line. */
export function lotOption(name: string, text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  // A store's lots are SQLite's integers.
  if (!/^[0-9]{1,19}$/.test(text) || BigInt(text) >= 2n ** 63n) throw usageError(`${name} ${text} is not a lot number`);
  return BigInt(text);
}

export const exportLots: Command = {
  help: `export --store FILE [--format json|csv|ocmf] [--from LOT] [--to LOT] [--out FILE]: writes a meter's lots

  --format json  one JSON object a line, the meter's identity first; exact, and \`audit --export\` checks it
  --format csv   a row a lot, for a spreadsheet
  --format ocmf  a record a lot in the Open Charge Metering Format 1.2 (fiscal context); each is signed with
                 READER_KEY or READER_KEY_FILE, which must be the meter's own; --current AC|DC says what is measured
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
        current: { type: "string" },
      },
      strict: true,
    });
    if (values.store === undefined) throw usageError("export needs --store");
    const { format, current } = values;
    if (!["json", "csv", "ocmf"].includes(format)) throw usageError(`--format ${format} is none of json, csv and ocmf`);
    if (current !== undefined && ((current !== "AC" && current !== "DC") || format !== "ocmf")) {
      throw usageError("--current is AC or DC, for --format ocmf");
    }
    const from = lotOption("--from", values.from);
    const to = lotOption("--to", values.to);
    const store = Store.openReadOnly(values.store);
    try {
      const identity = storeIdentity(store);
      const lines = format === "ocmf" ? await ocmfLines(identity, current) : format === "csv" ? csvLines : exportLines;
      await writeLines(lines(identity, storedLots(store, from, to)), values.out);
    } finally {
      store.close();
    }
    return ExitCode.OK;
  },
};

/** Records signed with the meter's key. */
async function ocmfLines(identity: AuditIdentity, current: "AC" | "DC" | undefined) {
  const { READER_KEY, READER_KEY_FILE, READER_KEY_PASSWORD_FILE } = readerSettings;
  const settings = loadSettings({ READER_KEY, READER_KEY_FILE, READER_KEY_PASSWORD_FILE });
  const key = await readKey({
    key: settings.READER_KEY,
    file: settings.READER_KEY_FILE,
    passwordFile: settings.READER_KEY_PASSWORD_FILE,
    credentials: process.env.CREDENTIALS_DIRECTORY,
  });
  const { address } = keySigner(key);
  if (!identity.signers.some((one) => one.address === address)) {
    throw new BijuliError("bad-key", `the key of ${address} is none of ${identity.serial}'s`);
  }
  const { ocmfRecords } = await import("../ocmf.ts");
  return (_: AuditIdentity, lots: Iterable<ClosedLot>) => ocmfRecords(identity, lots, key, current);
}
