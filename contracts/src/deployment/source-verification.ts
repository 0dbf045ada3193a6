import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Hex } from "@bijuli/protocol";
import type { AddressBook } from "./address-book.ts";
import { type Artifact, type BuildInfo, librariesOf, loadArtifact, loadBuildInfo } from "./artifacts.ts";
import { constructorArguments, type DeployedPlace, PLACES } from "./deploy.ts";

/**
 * Keeps, for each contract, what a block explorer asks for to verify its source: `<Contract>.input.json` (the compiler's
 * standard JSON input) and `<Contract>.json` (address, full name, compiler, constructor arguments, libraries).
 * @param folder where to
 * @param admin the AccessManager's first admin
 * @param deployer the Operator's owner
 * @param given contracts that others have deployed: nothing is kept for them
 * @returns how many contracts
 */
export function keepCompilerInput(
  folder: string,
  book: AddressBook,
  by: { admin: Hex; deployer: Hex },
  given: { link?: Hex | undefined; operator?: Hex | undefined },
): number {
  const constructors: Record<DeployedPlace, unknown[]> = {
    accessManager: [by.admin],
    link: [],
    operator: [book.link, by.deployer],
    registry: [book.accessManager, book.lotSeconds, book.market],
    token: [book.market],
    market: [book.accessManager, book.registry, book.token, book.link],
  };
  const contracts: { artifact: Artifact; address: Hex; args: unknown[] }[] = [];
  for (const place of Object.keys(PLACES) as DeployedPlace[]) {
    if ((place === "link" || place === "operator") && given[place]) continue;
    contracts.push({ artifact: loadArtifact(PLACES[place]), address: book[place], args: constructors[place] });
  }
  for (const artifact of librariesOf(loadArtifact("EnergyMarket"))) {
    contracts.push({ artifact, address: book.libraries[artifact.contractName]!, args: [] });
  }
  mkdirSync(folder, { recursive: true });
  const builds = new Map<string, BuildInfo>();
  for (const { artifact, address, args } of contracts) {
    const build = builds.get(artifact.buildInfoId) ?? loadBuildInfo(artifact);
    builds.set(artifact.buildInfoId, build);
    const name = artifact.contractName;
    const libraries = Object.entries(artifact.linkReferences).flatMap(([source, names]) =>
      Object.keys(names).map((library) => [`${source}:${library}`, book.libraries[library]]),
    );
    keep(join(folder, `${name}.input.json`), `${JSON.stringify(build.input)}\n`);
    const facts = {
      address,
      chainId: book.chainId,
      contract: `${artifact.inputSourceName}:${name}`,
      compiler: `v${build.solcLongVersion}`,
      constructorArguments: constructorArguments(artifact, args),
      libraries: Object.fromEntries(libraries),
      input: `${name}.input.json`,
    };
    keep(join(folder, `${name}.json`), `${JSON.stringify(facts, null, 2)}\n`);
  }
  return contracts.length;
}

/** A second run changes no file, not even its time. */
function keep(path: string, text: string): void {
  try {
    if (readFileSync(path, "utf8") === text) return;
  } catch {
    // It is not there yet.
  }
  writeFileSync(path, text);
}
