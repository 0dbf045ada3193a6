// Writes what the code says of itself into pi-reader's README: the settings and the accuracy of the integration rule.
// `node pi-reader/test/write-readme.ts`; readme.test.ts holds the README to it.
import { readFileSync, writeFileSync } from "node:fs";
import { settingsTable } from "@bijuli/protocol";
import { readerSettings } from "../src/settings.ts";
import { accuracyTable } from "./waveforms.ts";

const README = new URL("../README.md", import.meta.url);

/** The README with tables as they should be. */
export function renewed(text: string): string {
  return [settingsTable(readerSettings), accuracyTable()].reduce((whole, table) => {
    const from = whole.indexOf(table.split("\n")[0]!);
    if (from < 0) throw new Error(`the README has no table ${table.split("\n")[0]}`);
    return whole.slice(0, from) + table + whole.slice(whole.indexOf("\n\n", from));
  }, text);
}

if (import.meta.main) writeFileSync(README, renewed(readFileSync(README, "utf8")));
