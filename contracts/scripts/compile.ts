import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { BijuliError, ExitCode, explain } from "@bijuli/protocol";
import { committedHash, unpack } from "./committed-build.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** What is built: what a deployment needs, the tests' own contracts, or the former once more, to be compared. */
export type BuildName = "release" | "fixtures" | "check";

/** Every Solidity file below `folder`, sorted, so that a hash over them is stable. */
function solidityFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".sol"))
    .map((name) => join(folder, name))
    .sort();
}

/** A hash of the sources, the settings, and the compilers' and packages' versions. */
export function sourcesHash(options: { fixtures?: boolean } = {}): string {
  const sources = [
    ...solidityFiles(join(root, "src")),
    ...(options.fixtures ? solidityFiles(join(root, "test/fixtures")) : []),
    join(root, "hardhat.config.ts"),
  ];
  const hash = createHash("sha256");
  for (const file of sources) hash.update(relative(root, file)).update("\0").update(readFileSync(file)).update("\0");
  hash.update(JSON.stringify(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies));
  return hash.digest("hex");
}

/**
 * Makes `contracts/artifacts` what the sources, the settings and the compilers are: from the committed build where that is
 * of them, and otherwise by compiling, which is done when, and only when, one of them changed since the last time.
 * @param options.fixtures the tests' harnesses and attackers (kept in a folder of their own)
 * @returns what had to be done
 */
export async function compile(options: { fixtures?: boolean } = {}): Promise<"nothing" | "unpacked" | "compiled"> {
  const fixtures = options.fixtures ?? false;
  const name = fixtures ? "fixtures" : "release";
  const artifacts = join(root, "artifacts", name);
  const wanted = sourcesHash({ fixtures });
  const stamp = join(artifacts, ".sources-hash");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return "nothing";
  if (!fixtures && committedHash() === wanted) {
    unpack(artifacts);
    writeFileSync(stamp, wanted);
    return "unpacked";
  }
  await compileAnew(name);
  mkdirSync(artifacts, { recursive: true });
  writeFileSync(stamp, wanted);
  return "compiled";
}

/** @throws BijuliError not-compiled; what the compiler said is on stderr */
export async function compileAnew(name: BuildName): Promise<void> {
  process.env.BIJULI_CONTRACTS_BUILD = name;
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
}

if (import.meta.main) {
  const started = Date.now();
  try {
    const done = await compile({ fixtures: process.argv.includes("--fixtures") });
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    const said = {
      nothing: "up to date",
      unpacked: "taken from contracts/build",
      compiled: `compiled in ${seconds} s`,
    };
    process.stderr.write(`contracts ${done === "nothing" ? "are " : ""}${said[done]}\n`);
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = ExitCode.FATAL;
  }
}
