import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Every Solidity file below `folder`, sorted, so that a hash over them is stable. */
function solidityFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".sol"))
    .map((name) => join(folder, name))
    .sort();
}

/**
 * Compiles the contracts when, and only when, a source, the configuration or a compiler's version changed since the
 * last time; what was built stays in `contracts/artifacts`.
 * @param options.fixtures also the tests' harnesses and attackers (kept in a folder of their own)
 * @returns whether anything had to be compiled
 */
export async function compile(options: { fixtures?: boolean } = {}): Promise<boolean> {
  const fixtures = options.fixtures ?? false;
  const artifacts = join(root, "artifacts", fixtures ? "fixtures" : "release");
  const sources = [
    ...solidityFiles(join(root, "src")),
    ...(fixtures ? solidityFiles(join(root, "test/fixtures")) : []),
  ];
  const hash = createHash("sha256");
  for (const file of [...sources, join(root, "hardhat.config.ts"), join(root, "package.json")]) {
    hash.update(relative(root, file)).update("\0").update(readFileSync(file)).update("\0");
  }
  const wanted = hash.digest("hex");
  const stamp = join(artifacts, ".sources-hash");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return false;

  process.env.BIJULI_CONTRACTS_FIXTURES = fixtures ? "1" : "0";
  process.env.HARDHAT_DISABLE_TELEMETRY_PROMPT = "true";
  const { createHardhatRuntimeEnvironment } = await import("hardhat/hre");
  const { default: config } = await import("../hardhat.config.ts");
  const hre = await createHardhatRuntimeEnvironment(config, { config: join(root, "hardhat.config.ts") }, root);
  await hre.tasks.getTask("build").run({ noTests: true, quiet: true });
  mkdirSync(artifacts, { recursive: true });
  writeFileSync(stamp, wanted);
  return true;
}

if (import.meta.main) {
  const started = Date.now();
  const built = await compile({ fixtures: process.argv.includes("--fixtures") });
  process.stderr.write(
    built ? `contracts compiled in ${((Date.now() - started) / 1000).toFixed(1)} s\n` : "contracts are up to date\n",
  );
}
