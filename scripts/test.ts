// `npm test`: format, lint, types, then every test that needs no hardware and no Debian package, and the count of all.
// `npm test -- PATTERN …` runs only the test files whose path holds one of the patterns, and no other check.
import { globSync } from "node:fs";
import { check, compileContracts, root, runTests, testFiles } from "./run-tests.ts";

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
if (patterns.length === 0) {
  check("format and lint (biome)", "biome", ["check", "--error-on-warnings"]);
  check("format (prettier, Solidity)", "prettier", ["--check", "--log-level", "warn", ...solidity]);
  check("lint (solhint)", "solhint", ["--max-warnings", "0", "--config", "contracts/.solhint.json", ...solidity]);
  check("types (tsc --strict)", "tsc", ["-p", "tsconfig.json"]);
}
compileContracts();

runTests(testFiles(patterns), { timeout: 240_000, began });
