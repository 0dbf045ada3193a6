// `npm test`: format, lint, types, then every test that needs no hardware and no Debian package, and the count of all.
// `npm test -- PATTERN …` runs only the test files whose path holds one of the patterns, and no other check.
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Transform } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const patterns = process.argv.slice(2);
const began = performance.now();

if (process.argv.includes("--help")) {
  process.stdout.write(
    "npm test [-- PATTERN …]   all checks and tests, or the test files whose path holds a PATTERN\n",
  );
  process.exit(0);
}

/** A check that is one command: silent when it passes. */
function check(name: string, command: string, args: readonly string[]): void {
  const at = performance.now();
  const { status, stdout, stderr, error } = spawnSync(`${root}node_modules/.bin/${command}`, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  const seconds = ((performance.now() - at) / 1000).toFixed(1);
  if (status === 0) {
    process.stdout.write(`✔ ${name} (${seconds} s)\n`);
    return;
  }
  process.stdout.write(`✖ ${name} (${seconds} s)\n${stdout ?? ""}${stderr ?? ""}${error ? `${error.message}\n` : ""}`);
  process.exit(1);
}

const solidity = globSync("contracts/{src,test}/**/*.sol");
if (patterns.length === 0) {
  check("format and lint (biome)", "biome", ["check", "--error-on-warnings"]);
  check("format (prettier, Solidity)", "prettier", ["--check", "--log-level", "warn", ...solidity]);
  check("lint (solhint)", "solhint", ["--max-warnings", "0", "--config", "contracts/.solhint.json", ...solidity]);
  check("types (tsc --strict)", "tsc", ["-p", "tsconfig.json"]);
}
check("contracts compile", "node", ["contracts/scripts/compile.ts", "--fixtures"]);

const files = globSync("{protocol,contracts,pi-reader,adapter,jobs,test}/**/*.test.ts", {
  exclude: (path) => path.includes("node_modules"),
})
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  .sort();

const count = { passed: 0, failed: 0, skipped: 0 };
const stream = run({ files, concurrency: Math.max(1, availableParallelism()), timeout: 240_000 });
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
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    if (count.passed === 0) count.failed++;
    process.stdout.write(
      `\n${files.length} files, ${seconds} s\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    );
    process.exitCode = count.failed === 0 ? 0 : 1;
  }),
);
