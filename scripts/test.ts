// `npm test`: format, lint, types, then every test that needs no hardware and no Debian package, and the count of all.
// `npm test -- PATTERN …` runs only the test files whose path holds one of the patterns, and no other check.
import { globSync } from "node:fs";
import { type Check, compileContracts, root, runChecks, runTests, testFiles } from "./run-tests.ts";

process.chdir(root);
const patterns = process.argv.slice(2);
const began = performance.now();

if (process.argv.includes("--help")) {
  process.stdout.write(
    "npm test [-- PATTERN …]   all checks and tests, or the test files whose path holds a PATTERN\n",
  );
  process.exit(0);
}

const solidity = globSync("contracts/{src,test}/**/*.sol");
const checks: Check[] = [
  ["format and lint (biome)", "biome", "check", "--error-on-warnings"],
  ["format (prettier, Solidity)", "prettier", "--check", "--log-level", "warn", ...solidity],
  ["lint (solhint)", "solhint", "--max-warnings", "0", "--config", "contracts/.solhint.json", ...solidity],
  ["types (tsc --strict)", "tsc", "-p", "tsconfig.json"],
];
// Each is one thread or little more: side by side they take as long as the compiler does.
await Promise.all([compileContracts(), runChecks(patterns.length === 0 ? checks : [])]);

runTests(testFiles(patterns), { timeout: 240_000, began });
