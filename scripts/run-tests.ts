// What `npm test` and `npm run test:deep` share: checks that are one command each, and the test files with their count.
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Transform } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

// Tests start hundreds of processes: what was compiled once is kept, which halves the time that each takes to load.
process.env.NODE_COMPILE_CACHE ??= `${root}.bijuli/compile-cache`;

/** A check that is one command: silent when it passes. */
export type Check = readonly [name: string, command: string, ...args: string[]];

/** Runs checks side by side, prints each as it ends, and exits with 1 when one failed. */
export async function runChecks(checks: readonly Check[]): Promise<void> {
  const passed = await Promise.all(checks.map(runCheck));
  if (passed.includes(false)) process.exit(1);
}

async function runCheck([name, command, ...args]: Check): Promise<boolean> {
  const at = performance.now();
  const child = spawn(`${root}node_modules/.bin/${command}`, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  const ended = await new Promise<number | string | null>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", resolve);
  });
  const seconds = ((performance.now() - at) / 1000).toFixed(1);
  if (typeof ended === "string") said += `${ended}\n`;
  process.stdout.write(ended === 0 ? `✔ ${name} (${seconds} s)\n` : `✖ ${name} (${seconds} s)\n${said}`);
  return ended === 0;
}

/** What is deployed, and what the contracts' tests need besides: here and not in the tests, which would race for it. */
export async function compileContracts(): Promise<void> {
  await runChecks([["contracts compile", "node", "contracts/scripts/compile.ts"]]);
  await runChecks([["contracts compile, with the tests' own", "node", "contracts/scripts/compile.ts", "--fixtures"]]);
}

/** What crosses the parts waits for a network's clock: begun first, it does not have the others wait for it at the end. */
const crossing = (file: string): boolean => file.startsWith("test/");

/** The test files of all parts, or those whose path holds one of the patterns. */
export function testFiles(patterns: readonly string[]): string[] {
  return globSync("{protocol,contracts,pi-reader,adapter,jobs,dashboard,test}/**/*.test.ts", {
    cwd: root,
    exclude: (path) => path.includes("node_modules"),
  })
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort((a, b) => Number(crossing(b)) - Number(crossing(a)) || (a < b ? -1 : 1));
}

/**
 * Runs test files, prints them as they go and the count of all at the end, and sets the exit code.
 * @param options.timeout ms that one file may take
 * @param options.began when the whole began, by `performance.now()`
 */
export function runTests(files: string[], options: { timeout: number; began: number }): void {
  const count = { passed: 0, failed: 0, skipped: 0 };
  // Half of the tests wait for clocks and processes most of the time: one more than there are cores keeps these busy.
  const stream = run({ files, concurrency: availableParallelism() + 1, timeout: options.timeout });
  stream.on("test:pass", (event) => {
    if (event.details.type === "suite") return;
    // A file without tests of its own is reported as one that passed; it is none.
    if (event.skip !== undefined || event.todo !== undefined) count.skipped++;
    else count.passed++;
  });
  stream.on("test:fail", (event) => {
    if (event.details.type !== "suite") count.failed++;
  });
  stream
    .compose(new spec())
    .compose(new Transform({ transform: (chunk, _, done) => done(null, chunk) }))
    .pipe(process.stdout);
  stream.once("end", () =>
    setImmediate(() => {
      const seconds = ((performance.now() - options.began) / 1000).toFixed(0);
      if (count.passed === 0) count.failed++;
      process.stdout.write(
        `\n${files.length} files, ${seconds} s\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
      );
      process.exitCode = count.failed === 0 ? 0 : 1;
    }),
  );
}
