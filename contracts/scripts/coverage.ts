import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

/*
 * `node contracts/scripts/coverage.ts`: which statements of the contracts no test reaches, and so which branches.
 * It works on a copy, so that nothing instrumented can ever be deployed: Hardhat instruments each statement, via-IR
 * makes room for that on the stack, and the chain lifts its limits of size and gas. The example is left out (the
 * instrumented one does not compile), and so are the libraries of pure arithmetic, which have twins or proofs.
 */

const contracts = join(dirname(fileURLToPath(import.meta.url)), "..");
/** The tests that run the market; those of libraries, deployment and commands reach nothing more of it. */
const TESTS = [
  "equivalence",
  "clearing",
  "money",
  "members",
  "delivery",
  "silence",
  "registry",
  "requests",
  "attackers",
  "attackers-aliases",
  "refusals",
  "bad-input",
  "invariants",
].filter((name) => existsSync(join(contracts, `test/${name}.test.ts`)));
const APART = [
  "LotRecord",
  "LotLanes",
  "EnergyShelf",
  "PriceList",
  "CodeStore",
  "ClearingMath",
  "ReadingHash",
  "Charter",
  "AccountWord",
  "MeterKey",
  "MeterSignature",
  "Purpose",
];

const place = mkdtempSync(join(tmpdir(), "bijuli-coverage-"));
const copy = join(place, "contracts");
try {
  for (const name of ["node_modules", "protocol"]) symlinkSync(join(contracts, "..", name), join(place, name));
  for (const name of ["src", "test", "abi", "scripts", "package.json", "hardhat.config.ts"]) {
    cpSync(join(contracts, name), join(copy, name), { recursive: true });
  }
  rmSync(join(copy, "src/examples"), { recursive: true });
  replace("hardhat.config.ts", "runs: 800 }", "runs: 1 }, viaIR: true");
  const skipped = ["src/EnergyToken.sol", ...APART.map((name) => `src/libraries/${name}.sol`)];
  replace(
    "hardhat.config.ts",
    "  solidity: {",
    `  coverage: { skipFiles: ${JSON.stringify(skipped)} },\n  solidity: {`,
  );
  const lifted = "allowUnlimitedContractSize: true, blockGasLimit: 1_000_000_000, transactionGasCap: 1_000_000_000,";
  replace("hardhat.config.ts", "chainId: 31337,", `chainId: 31337, ${lifted}`);
  replace("test/support/chain.ts", "  await compile();\n", "");
  replace(
    "test/support/chain.ts",
    /const hre = await createHardhatRuntimeEnvironment[^;]*;/,
    "const { hre } = globalThis as any;",
  );
  writeFileSync(join(copy, "covered.test.ts"), covered());
  const files = [join(copy, "covered.test.ts")];
  const stream = run({ files, cwd: copy, timeout: 900_000 });
  stream.on("test:fail", () => {
    process.exitCode = 1;
  });
  stream.compose(spec).pipe(process.stdout);
  await new Promise((resolve) => stream.on("end", resolve));
  print(readFileSync(join(copy, "lcov.info"), "utf8"));
} finally {
  rmSync(place, { recursive: true, force: true });
}

function replace(file: string, what: string | RegExp, by: string): void {
  const path = join(copy, file);
  const before = readFileSync(path, "utf8");
  const after = before.replace(what, by);
  if (after === before) throw new Error(`${file} does not hold ${what}`);
  writeFileSync(path, after);
}

/** One process builds, runs all tests and reports: what was instrumented is known only where it was built. */
function covered(): string {
  return `import { writeFileSync } from "node:fs";
import { after } from "node:test";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import config from "./hardhat.config.ts";
const root = import.meta.dirname;
const hre: any = await createHardhatRuntimeEnvironment(config, { config: root + "/hardhat.config.ts", coverage: true } as any, root);
await hre.solidity.build(await hre.solidity.getRootFilePaths({ scope: "contracts" }), { quiet: true, force: true });
(globalThis as any).hre = hre;
for (const name of ${JSON.stringify(TESTS)}) await import("./test/" + name + ".test.ts");
after(async () => writeFileSync(root + "/lcov.info", hre._coverage.formatLcovReport(await hre._coverage.getReport())));
`;
}

function print(lcov: string): void {
  let file = "";
  let lines: string[] = [];
  const totals: string[] = [];
  let [hit, all] = [0, 0];
  for (const line of lcov.split("\n")) {
    if (line.startsWith("SF:")) {
      file = line.slice(3);
      lines = readFileSync(join(contracts, file), "utf8").split("\n");
      [hit, all] = [0, 0];
    } else if (line.startsWith("DA:")) {
      const [at, count] = line.slice(3).split(",").map(Number);
      all++;
      if (count! > 0) hit++;
      else process.stdout.write(`${file}:${at}: ${lines[at! - 1]!.trim()}\n`);
    } else if (line === "end_of_record") {
      totals.push(`| ${file} | ${hit} of ${all} | ${((100 * hit) / all).toFixed(1)} % |`);
    }
  }
  process.stdout.write(`\n${totals.join("\n")}\n`);
}
