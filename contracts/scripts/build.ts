// What the compiler made of `contracts/src`, committed: `node contracts/scripts/build.ts --write` renews it, `--check`
// compiles everything anew and fails where a byte differs.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { FILE, pack } from "./committed-build.ts";
import { compile, compileAnew, sourcesHash } from "./compile.ts";

/**
 * What the compiler makes of everything at once. What is compiled while working comes in several runs, each of what had
 * changed: the code is the same, but not the runs that source verification is shown.
 */
async function compiled(): Promise<string> {
  for (const folder of ["artifacts", "cache"]) {
    rmSync(new URL(`../${folder}/check`, import.meta.url), { recursive: true, force: true });
  }
  await compileAnew("check");
  return pack(fileURLToPath(new URL("../artifacts/check", import.meta.url)), sourcesHash());
}

/** Whether the compiler, run anew, makes exactly what is committed. */
export async function isWhatTheCompilerMakes(): Promise<boolean> {
  return (await compiled()) === readFileSync(FILE, "utf8");
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length === 1 && args[0] === "--write") {
    mkdirSync(dirname(FILE), { recursive: true });
    writeFileSync(FILE, await compiled());
    await compile();
    process.stderr.write(`wrote ${FILE}\n`);
    return 0;
  }
  if (args.length === 1 && args[0] === "--check") {
    const same = await isWhatTheCompilerMakes();
    process.stderr.write(
      same ? "the compiler makes exactly what is committed\n" : "node contracts/scripts/build.ts --write\n",
    );
    return same ? 0 : 1;
  }
  process.stderr.write("node contracts/scripts/build.ts --write | --check\n");
  return 2;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
