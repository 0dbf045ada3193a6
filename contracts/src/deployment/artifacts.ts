import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BijuliError } from "@bijuli/protocol";
import type { InterfaceAbi } from "ethers";

/** What the compiler made of one contract. */
export interface Artifact {
  contractName: string;
  abi: InterfaceAbi;
  bytecode: string;
  /** Source → library → where in the bytecode its address belongs, in bytes. */
  linkReferences: Record<string, Record<string, { start: number; length: number }[]>>;
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
  return readArtifact(SOURCES[name], name);
}

/** The artifact of a library that another contract is linked with; `source` as link references spell it. */
export function loadLibrary(source: string, name: string): Artifact {
  return readArtifact(source.replace(/^project\//, ""), name);
}

function readArtifact(source: string, name: string): Artifact {
  const file = new URL(`${source}/${name}.json`, release);
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new BijuliError("not-compiled", `${name} has not been compiled: ${fileURLToPath(file)} cannot be read`, {
      cause,
      remedy: "node contracts/scripts/compile.ts",
    });
  }
}
