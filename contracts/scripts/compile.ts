import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { BijuliError, ExitCode, explain } from "@bijuli/protocol";

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
  const { FileBuildResultType } = await import("hardhat/types/solidity");
  const { default: config } = await import("../hardhat.config.ts");
  const hre = await createHardhatRuntimeEnvironment(config, { config: join(root, "hardhat.config.ts") }, root);
  // What the build task does, on every core: left to itself it keeps one free, and of two that is half.
  const roots = await hre.solidity.getRootFilePaths({ scope: "contracts" });
  const results = await hre.solidity.build(roots, {
    quiet: true,
    concurrency: availableParallelism(),
    cleanupArtifacts: true,
  });
  if (
    !hre.solidity.isSuccessfulBuildResult(results) ||
    [...results.values()].some(({ type }) => type === FileBuildResultType.BUILD_FAILURE)
  ) {
    throw new BijuliError("not-compiled", "the contracts do not compile; the compiler said why above");
  }
  mkdirSync(artifacts, { recursive: true });
  writeFileSync(stamp, wanted);
  return true;
}

if (import.meta.main) {
  const started = Date.now();
  try {
    const built = await compile({ fixtures: process.argv.includes("--fixtures") });
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    process.stderr.write(built ? `contracts compiled in ${seconds} s\n` : "contracts are up to date\n");
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = ExitCode.FATAL;
  }
}
