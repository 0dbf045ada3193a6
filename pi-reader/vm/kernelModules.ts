import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Modules are named with either sign. */
const plain = (name: string) => name.replaceAll("-", "_");

/**
 * The module files that `names` need, each after those that it depends on: the order for insmod.
 * @param folder lib/modules/VERSION
 */
export function inLoadingOrder(folder: string, names: readonly string[]): string[] {
  const files = new Map(
    globSync("kernel/**/*.ko", { cwd: folder }).map((file) => [plain(basename(file, ".ko")), join(folder, file)]),
  );
  const ordered: string[] = [];
  const seen = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(plain(name))) return;
    seen.add(plain(name));
    const file = files.get(plain(name));
    // What is no module is built in.
    if (file === undefined) return;
    for (const other of dependenciesOf(file)) visit(other);
    ordered.push(file);
  };
  for (const name of names) visit(name);
  return ordered;
}

/** The section .modinfo is a list of NUL-ended texts, one of them depends=a,b. */
function dependenciesOf(file: string): string[] {
  const bytes = readFileSync(file);
  const at = bytes.indexOf("\0depends=");
  if (at < 0) return [];
  const begin = at + "\0depends=".length;
  const list = bytes.toString("latin1", begin, bytes.indexOf(0, begin));
  return list === "" ? [] : list.split(",");
}
