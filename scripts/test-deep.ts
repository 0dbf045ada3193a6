// `npm run test:deep`: every test again at its deep setting, where it has one: it finds BIJULI_DEEP=1 in its environment and
// then draws more, proves more, or stops skipping what takes minutes. `npm run test:deep -- PATTERN …` runs only the test
// files whose path holds one of the patterns.
import { spawnSync } from "node:child_process";
import { compileContracts, root, runTests, testFiles } from "./run-tests.ts";

const patterns = process.argv.slice(2);
const began = performance.now();

if (patterns.includes("--help")) {
  process.stdout.write("npm run test:deep [-- PATTERN …]   all tests, deeper, or those whose path holds a PATTERN\n");
  process.exit(0);
}

process.chdir(root);
process.env.BIJULI_DEEP = "1"; // each test file is a process of its own and inherits it
// Power cuts need a machine of their own; it says why where there can be none.
if (patterns.length === 0) {
  const { status } = spawnSync(process.execPath, ["pi-reader/vm/run.ts"], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
await compileContracts();
runTests(testFiles(patterns), { timeout: 3_600_000, began });
