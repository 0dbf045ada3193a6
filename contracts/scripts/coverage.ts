import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { NOTES } from "./coverage-notes.ts";
import { type Branch, PROBE, withProbes } from "./probes.ts";

/*
 * `node contracts/scripts/coverage.ts [--write]`: both outcomes of every condition of the contracts, and which of them no
 * test reaches. It works on a copy, so that nothing with probes can ever be deployed; the chain there lifts its limits of
 * size and gas, for probes cost both. `--write` renews COVERAGE.md; without it, it fails where that is not what it found.
 */

const contracts = join(dirname(fileURLToPath(import.meta.url)), "..");
const OUT = join(contracts, "COVERAGE.md");
/** The tests that run the contracts inside this process; those of deployment and commands reach nothing more of them. */
const TESTS = [
  "equivalence",
  "clearing",
  "money",
  "members",
  "delivery",
  "silence",
  "replacement",
  "registry",
  "requests",
  "seats",
  "attackers",
  "attackers-aliases",
  "refusals",
  "bad-input",
  "vectors",
  "bounty",
  "large",
  "lanes",
  "words",
  "lot-prices",
  "readings",
  "invariants",
].filter((name) => existsSync(join(contracts, `test/${name}.test.ts`)));

const write = process.argv.includes("--write");
const place = mkdtempSync(join(tmpdir(), "bijuli-coverage-"));
const copy = join(place, "contracts");
try {
  for (const name of ["node_modules", "protocol"]) symlinkSync(join(contracts, "..", name), join(place, name));
  for (const name of ["src", "test", "abi", "scripts", "package.json", "hardhat.config.ts"]) {
    cpSync(join(contracts, name), join(copy, name), { recursive: true });
  }
  const branches = probe();
  const lifted = "allowUnlimitedContractSize: true, blockGasLimit: 1_000_000_000, transactionGasCap: 1_000_000_000,";
  replace("hardhat.config.ts", "chainId: 31337,", `chainId: 31337, ${lifted}`);
  replace("test/support/chain.ts", "  await compile();\n", "");
  for (const file of ["test/support/chain.ts", "test/support/solidity.ts"]) {
    replace(file, /const hre = await createHardhatRuntimeEnvironment[^;]*;/, "const { hre } = globalThis as any;");
  }
  // probes make functions warn that they could be pure
  replace(
    "test/support/solidity.ts",
    "(output.errors ?? [])",
    '(output.errors ?? []).filter((e: any) => e.severity === "error")',
  );
  writeFileSync(join(copy, "covered.test.ts"), covered());
  const stream = run({ files: [join(copy, "covered.test.ts")], cwd: copy, timeout: 1_800_000 });
  stream.on("test:fail", () => {
    process.exitCode = 1;
  });
  stream.compose(spec).pipe(process.stderr);
  await new Promise((resolve) => stream.on("end", resolve));
  const hits = new Set<string>(JSON.parse(readFileSync(join(copy, "hits.json"), "utf8")));
  finish(report(branches, hits));
} finally {
  rmSync(place, { recursive: true, force: true });
}

/** Puts the probes into the copy. Interfaces have no code; the token is OpenZeppelin's but for a dozen lines. */
function probe(): Branch[] {
  const files = globSync("**/*.sol", { cwd: join(contracts, "src") }).filter((file) => file !== "EnergyToken.sol");
  const sources = Object.fromEntries(
    files.sort().map((file) => [file, readFileSync(join(contracts, "src", file), "utf8")]),
  );
  const { sources: probed, branches } = withProbes(sources, (path) => {
    const file = [join(contracts, path), join(contracts, "../node_modules", path)].find(existsSync);
    return file === undefined ? { error: `no ${path}` } : { contents: readFileSync(file, "utf8") };
  });
  for (const [file, text] of Object.entries(probed)) writeFileSync(join(copy, "src", file), text);
  writeFileSync(join(copy, "src/Probe.sol"), PROBE);
  for (const file of globSync("test/harnesses/*.sol", { cwd: copy })) {
    const path = join(copy, file);
    writeFileSync(path, readFileSync(path, "utf8").replace(/\bpure\b/g, "view"));
  }
  return branches;
}

function replace(file: string, what: string | RegExp, by: string): void {
  const path = join(copy, file);
  const before = readFileSync(path, "utf8");
  const after = before.replace(what, by);
  if (after === before) throw new Error(`${file} does not hold ${what}`);
  writeFileSync(path, after);
}

/** One process builds, runs all tests and listens to the probes. */
function covered(): string {
  return `import { writeFileSync } from "node:fs";
import { after } from "node:test";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import config from "./hardhat.config.ts";
const root = import.meta.dirname;
const hre: any = await createHardhatRuntimeEnvironment(config, { config: root + "/hardhat.config.ts" }, root);
const built = await hre.solidity.build(await hre.solidity.getRootFilePaths({ scope: "contracts" }), { quiet: true, force: true });
if (!hre.solidity.isSuccessfulBuildResult(built)) throw new Error("the probed contracts do not compile");
const hits = new Set<string>();
hre.hooks.registerHandlers("network", {
  onCoverageData: async (_context: unknown, tags: string[]) => {
    for (const tag of tags) hits.add(BigInt("0x" + tag).toString());
  },
});
(globalThis as any).hre = hre;
for (const name of ${JSON.stringify(TESTS)}) await import("./test/" + name + ".test.ts");
after(() => writeFileSync(root + "/hits.json", JSON.stringify([...hits])));
`;
}

interface Missed extends Branch {
  outcome: "true" | "false" | "either";
}

function report(branches: readonly Branch[], hits: ReadonlySet<string>): { text: string; complaints: string[] } {
  const files = [...new Set(branches.map(({ file }) => file))].sort();
  const missed: Missed[] = [];
  const rows: string[] = [];
  let [all, reached] = [0, 0];
  for (const file of files) {
    let [own, hit] = [0, 0];
    branches.forEach((branch, id) => {
      if (branch.file !== file) return;
      const [no, yes] = [0, 1].map((outcome) => hits.has(String(2 * id + outcome)));
      own += 2;
      hit += Number(no) + Number(yes);
      if (!no || !yes) missed.push({ ...branch, outcome: no ? "true" : yes ? "false" : "either" });
    });
    rows.push(`| ${file} | ${hit} of ${own} |`);
    all += own;
    reached += hit;
  }
  const complaints: string[] = [];
  const unused = new Set(NOTES);
  const lines = missed.map(({ file, line, condition, outcome }) => {
    const note = NOTES.find((one) => one.file === file && one.condition === condition && one.outcome === outcome);
    if (note) unused.delete(note);
    else complaints.push(`${file}:${line}: never ${outcome}: ${condition}`);
    return `| ${file} | \`${condition.replaceAll("|", "\\|")}\` | ${outcome} | ${note?.why ?? "**not explained**"} |`;
  });
  for (const { file, condition, outcome } of unused)
    complaints.push(`reached by now: ${file}: ${outcome}: ${condition}`);
  const share = ((100 * reached) / all).toFixed(1);
  const text = `# Coverage

Made by \`node contracts/scripts/coverage.ts --write\` (some minutes): every condition that the contracts branch on, in
inline assembly too, is given a probe that says how it came out, \`if\`, \`for\`, \`while\`, \`? :\`, each side of \`&&\` and \`||\`, and
Yul's \`if\`, \`for\` and \`switch\`; then the contracts' tests run. Reached are **${reached} of ${all}** outcomes, ${share} %. What is not
reached is listed below with the reason; the command fails where one has none (\`contracts/scripts/coverage-notes.ts\`).
The token is not measured: all but a dozen lines of it are OpenZeppelin's.

| source | outcomes reached |
|---|---:|
${rows.join("\n")}

## What no test reaches, and why

| source | condition | never | why |
|---|---|---|---|
${lines.join("\n")}
`;
  return { text, complaints };
}

function finish({ text, complaints }: { text: string; complaints: string[] }): void {
  for (const complaint of complaints) process.stdout.write(`${complaint}\n`);
  if (complaints.length > 0) process.exitCode = 1;
  if (write) writeFileSync(OUT, text);
  else if (text !== readFileSync(OUT, "utf8")) {
    process.stdout.write("COVERAGE.md is not what was found: node contracts/scripts/coverage.ts --write\n");
    process.exitCode = 1;
  }
}
