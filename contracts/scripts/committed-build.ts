import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BijuliError } from "@bijuli/protocol";

/*
 * What the compiler made of `contracts/src` is committed, so that `npm start`, a deployment and the tests need no
 * compiler. `contracts/build/release.jsonl` holds a line with the hash of the sources and settings, a line a compiler
 * run, and a line a contract. It is unpacked into `contracts/artifacts`, which is what everything reads.
 */

const contracts = join(dirname(fileURLToPath(import.meta.url)), "..");
const root = join(contracts, "..");
/** Where it is. */
export const FILE = join(contracts, "build/release.jsonl");

/** The contracts that anyone deploys, links, or reads the ABI of, below the artifacts. */
const KEPT = [
  "src/{EnergyMarket,EnergyToken,MeterRegistry,LotReadingClient}.sol",
  "src/{interfaces,examples}/*.sol",
  "src/libraries/*.sol",
  "@*/**/*.sol",
];

interface CompilerRun {
  id: string;
  solcVersion: string;
  solcLongVersion: string;
  settings: object;
  /** Source as the compiler's input names it → its file, below the repository. */
  sources: Record<string, string>;
  /** SHA-256 of the compiler's standard JSON input, put together again. */
  input: string;
}

/** A contract's runtime code is a part of its creation code: where it begins is enough. */
interface Packed extends Record<string, unknown> {
  path: string;
  bytecode: string;
  deployedAt?: number;
  deployedLength?: number;
  deployedBytecode?: string;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The hash of what the committed build was made from, or nothing where there is none. */
export function committedHash(): string | undefined {
  if (!existsSync(FILE)) return undefined;
  const text = readFileSync(FILE, "utf8");
  return JSON.parse(text.slice(0, text.indexOf("\n"))).hash;
}

/**
 * Writes the committed build's artifacts, as the compiler would have.
 * @throws BijuliError not-compiled where a package is not the one that was compiled
 */
export function unpack(artifacts: string): void {
  const [, ...lines] = readFileSync(FILE, "utf8").trimEnd().split("\n");
  for (const line of lines) {
    const entry = JSON.parse(line);
    if ("input" in entry) unpackRun(artifacts, entry as CompilerRun);
    else unpackContract(artifacts, entry as Packed);
  }
}

function unpackRun(artifacts: string, run: CompilerRun): void {
  const { id, solcVersion, solcLongVersion, settings } = run;
  const sources = Object.fromEntries(
    Object.entries(run.sources).map(([name, file]) => [name, { content: readFileSync(join(root, file), "utf8") }]),
  );
  const input = { language: "Solidity", settings, sources };
  if (sha256(JSON.stringify(input)) !== run.input) {
    throw new BijuliError("not-compiled", `the packages of contracts/ are not those that build ${id} was made with`, {
      remedy: "node scripts/install.mjs, or node contracts/scripts/build.ts --write",
    });
  }
  const info = { _format: "hh3-sol-build-info-1", id, solcVersion, solcLongVersion, input };
  put(join(artifacts, "build-info", `${id}.json`), info);
}

function unpackContract(artifacts: string, packed: Packed): void {
  const { path, deployedAt, deployedLength, ...artifact } = packed;
  if (deployedAt !== undefined) {
    artifact.deployedBytecode = `0x${artifact.bytecode.slice(deployedAt, deployedAt + deployedLength!)}`;
  }
  put(join(artifacts, path), artifact);
}

/** Whole or not at all: others may be reading. */
function put(file: string, json: object): void {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(json));
  renameSync(draft, file);
}

/** The text of the committed build, from the artifacts of a compilation. */
export function pack(artifacts: string, hash: string): string {
  const paths = KEPT.flatMap((pattern) => globSync(`${pattern}/*.json`, { cwd: artifacts })).sort();
  const contracts = paths.map((path) => packContract(path, JSON.parse(readFileSync(join(artifacts, path), "utf8"))));
  // Hardhat's number of a run depends on the folder that it ran in; what the compiler was given does not.
  const runs = new Map<string, CompilerRun>();
  for (const contract of contracts) {
    const id = contract.buildInfoId as string;
    const run = runs.get(id) ?? packRun(JSON.parse(readFileSync(join(artifacts, "build-info", `${id}.json`), "utf8")));
    runs.set(id, run);
    contract.buildInfoId = run.id;
  }
  const sorted = [...runs.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return [{ hash }, ...sorted, ...contracts].map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

function packContract(path: string, artifact: Packed): Packed {
  const { deployedBytecode, ...rest } = artifact;
  const deployedAt = artifact.bytecode.lastIndexOf(deployedBytecode!.slice(2));
  if (deployedAt < 2) return { ...artifact, path };
  return { ...rest, path, deployedAt, deployedLength: deployedBytecode!.length - 2 };
}

function packRun(
  info: Omit<CompilerRun, "input"> & { input: { settings: object; sources: Record<string, unknown> } },
): CompilerRun {
  const { solcVersion, solcLongVersion, input } = info;
  const sources = Object.fromEntries(
    Object.entries(input.sources).map(([name, source]) => [
      name,
      fileOf(name, (source as { content: string }).content),
    ]),
  );
  const { settings } = input;
  const whole = { language: "Solidity", settings, sources: input.sources };
  const given = sha256(JSON.stringify(whole));
  const id = `solc-${solcVersion.replaceAll(".", "_")}-${given.slice(0, 40)}`;
  return { id, solcVersion, solcLongVersion, settings, sources, input: given };
}

/** Which file of the repository, or of its packages, the compiler read under that name. */
function fileOf(name: string, content: string): string {
  if (name.startsWith("project/")) return `contracts/${name.slice("project/".length)}`;
  const [, scope, rest] = /^npm\/(@[^/]+\/[^@]+)@[^/]+\/(.*)$/.exec(name)!;
  const places = globSync(`{,contracts/}node_modules/{,@chainlink/contracts/node_modules/}${scope}*/${rest}`, {
    cwd: root,
  });
  const file = places.sort().find((place) => readFileSync(join(root, place), "utf8") === content);
  if (file === undefined) throw new BijuliError("not-compiled", `no package holds ${name}`);
  return file;
}
