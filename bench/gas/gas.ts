// What everything costs in gas: `node bench/gas/gas.ts` measures and prints; `--write` writes gas.json and README.md;
// `--check` fails where anything differs from what is committed. `--quick` measures the small clearings only.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readme } from "./readme.ts";
import { differences, measure, type Table } from "./table.ts";

const TABLE = fileURLToPath(new URL("gas.json", import.meta.url));
const README = fileURLToPath(new URL("README.md", import.meta.url));
const USAGE = "node bench/gas/gas.ts [--check | --write] [--quick]\n";

/** The table as it is committed. */
export function committedTable(): Table {
  return JSON.parse(readFileSync(TABLE, "utf8"));
}

/** Whether the README is what its table makes. */
export function readmeIsOfItsTable(): boolean {
  return readFileSync(README, "utf8") === readme(committedTable());
}

async function main(args: readonly string[]): Promise<number> {
  const known = ["--check", "--write", "--quick"];
  const [check, write, quick] = known.map((flag) => args.includes(flag)) as [boolean, boolean, boolean];
  if (args.some((arg) => !known.includes(arg)) || (write && (check || quick))) {
    process.stderr.write(USAGE);
    return 2;
  }
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(0)} s`;
  const table = await measure({ quick, progress: (what) => process.stderr.write(`${seconds()}: ${what}\n`) });
  if (write) {
    writeFileSync(TABLE, `${JSON.stringify(table, null, 2)}\n`);
    writeFileSync(README, readme(table));
    return 0;
  }
  if (!check) {
    process.stdout.write(quick ? `${JSON.stringify(table, null, 2)}\n` : readme(table));
    return 0;
  }
  const lines = differences(committedTable(), table);
  if (!readmeIsOfItsTable()) lines.push("README.md is not what gas.json makes");
  for (const line of lines) process.stderr.write(`${line}\n`);
  if (lines.length > 0) process.stderr.write("If that is meant: node bench/gas/gas.ts --write\n");
  else process.stderr.write(`${table.rows.length} clearings cost exactly what the table says (${seconds()})\n`);
  return lines.length > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
