import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";

const README = new URL("../../adapter/README.md", import.meta.url);

/** Where it was measured, for a table's introduction. */
export const machine = (): string =>
  `${os.cpus().length} cores of ${os.cpus()[0]?.model}, Node ${process.version}, load ${os.loadavg()[0]?.toFixed(1)} before`;

export const table = (rows: readonly (readonly string[])[]): string =>
  rows.map((row, i) => `| ${row.join(" | ")} |${i === 0 ? `\n|${"---|".repeat(row.length)}` : ""}`).join("\n");

/** Prints what was measured and, with --write, puts it in the adapter's README between the markers of that name. */
export function publish(name: string, markdown: string): void {
  process.stdout.write(`\n${markdown}\n`);
  if (!process.argv.includes("--write")) return;
  const text = readFileSync(README, "utf8");
  const markers = new RegExp(`<!-- ${name} -->[\\s\\S]*<!-- /${name} -->`);
  if (!markers.test(text)) throw new Error(`adapter/README.md has no place for ${name}`);
  writeFileSync(
    README,
    text.replace(markers, () => `<!-- ${name} -->\n${markdown}\n<!-- /${name} -->`),
  );
}
