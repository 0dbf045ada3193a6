import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BijuliError } from "@bijuli/protocol";
import type { InterfaceAbi } from "ethers";

/** Source → library → where in the code its address belongs, in bytes. */
type LinkReferences = Record<string, Record<string, { start: number; length: number }[]>>;

/** What the compiler made of one contract. */
export interface Artifact {
  contractName: string;
  abi: InterfaceAbi;
  bytecode: string;
  deployedBytecode: string;
  linkReferences: LinkReferences;
  deployedLinkReferences: LinkReferences;
  /** The compiler's number of an immutable → where in the runtime code its value stands, in bytes. */
  immutableReferences: Record<string, { start: number; length: number }[]>;
  /** The source as the compiler's input names it. */
  inputSourceName: string;
  buildInfoId: string;
}

/** The compiler run that an artifact came out of. */
export interface BuildInfo {
  solcLongVersion: string;
  /** Standard JSON, as the compiler was given it. */
  input: { settings: Record<string, unknown>; sources: Record<string, { content: string }> };
}

const release = new URL("../../artifacts/release/", import.meta.url);

/** Where each deployed contract comes from, below the artifacts. */
const SOURCES = {
  AccessManager: "@openzeppelin/contracts/access/manager/AccessManager.sol",
  EnergyMarket: "src/EnergyMarket.sol",
  EnergyToken: "src/EnergyToken.sol",
  LinkToken: "@chainlink/contracts/src/v0.8/shared/token/ERC677/LinkToken.sol",
  MeterRegistry: "src/MeterRegistry.sol",
  Operator: "@chainlink/contracts/src/v0.8/operatorforwarder/Operator.sol",
} as const;

export type ContractName = keyof typeof SOURCES;

/** @throws BijuliError not-compiled when there is no such artifact */
export function loadArtifact(name: ContractName): Artifact {
  return read(`${SOURCES[name]}/${name}.json`, name) as Artifact;
}

/** The artifact of a library that another contract is linked with; `source` as link references spell it. */
export function loadLibrary(source: string, name: string): Artifact {
  return read(`${source.replace(/^project\//, "")}/${name}.json`, name) as Artifact;
}

/** The compiler's input and version, for source verification. */
export function loadBuildInfo(artifact: Artifact): BuildInfo {
  return read(`build-info/${artifact.buildInfoId}.json`, artifact.contractName) as BuildInfo;
}

/** All libraries below a contract, each after those that it is linked with itself. */
export function librariesOf(artifact: Artifact): Artifact[] {
  const found = new Map<string, Artifact>();
  const visit = (from: Artifact) => {
    for (const [source, names] of Object.entries(from.linkReferences)) {
      for (const name of Object.keys(names)) {
        if (found.has(name)) continue;
        const library = loadLibrary(source, name);
        visit(library);
        found.set(name, library);
      }
    }
  };
  visit(artifact);
  return [...found.values()];
}

const kept = new Map<string, { changed: number; json: unknown }>();

/** Parsed once, and again when it has been compiled anew: nobody changes what is read here. */
function read(path: string, name: string): unknown {
  const file = fileURLToPath(new URL(path, release));
  try {
    const changed = statSync(file).mtimeMs;
    const known = kept.get(file);
    if (known?.changed === changed) return known.json;
    const json: unknown = JSON.parse(readFileSync(file, "utf8"));
    kept.set(file, { changed, json });
    return json;
  } catch (cause) {
    throw new BijuliError("not-compiled", `${name} has not been compiled: ${file} cannot be read`, {
      cause,
      remedy: "node contracts/scripts/compile.ts",
    });
  }
}
