import type { Hex } from "@bijuli/protocol";
import { Contract, type Provider } from "ethers";
import type { AddressBook } from "./address-book.ts";
import { librariesOf, loadArtifact } from "./artifacts.ts";
import { checkGiven, type DeployedPlace, misfit, PLACES } from "./deploy.ts";
import { hasErc1820 } from "./erc1820.ts";
import { isRuntimeOf } from "./runtime-code.ts";

/** Something that was compared with the chain. */
export interface Check {
  what: string;
  /** Why it does not hold. */
  problem?: string;
}

/** What the deployment was asked for, beyond its address book. */
export interface Expectations {
  admin: Hex;
  nodes: readonly string[];
  /** LINK and Operator as they were given: somebody else compiled them. */
  link?: Hex | undefined;
  operator?: Hex | undefined;
}

const ADMIN_ROLE = 0n;

/** Compares a deployment with its chain, fact by fact; sends nothing. */
export async function verifyDeployment(
  provider: Provider,
  book: AddressBook,
  expected: Expectations,
): Promise<Check[]> {
  const given = (place: DeployedPlace) => (place === "link" || place === "operator" ? expected[place] : undefined);
  const checks: Promise<Check>[] = [];
  const check = (what: string, test: () => Promise<string | undefined>) => {
    const made = test().catch((error: Error) => `it could not be read: ${error.message}`);
    checks.push(made.then((problem) => (problem === undefined ? { what } : { what, problem })));
  };
  const call = (address: Hex, place: DeployedPlace, method: string, ...args: unknown[]) =>
    new Contract(address, loadArtifact(PLACES[place]).abi, provider).getFunction(method)(...args);

  for (const [place, name] of Object.entries(PLACES) as [DeployedPlace, (typeof PLACES)[DeployedPlace]][]) {
    const address = book[place];
    if (given(place)) {
      check(`${name} ${address} is one`, async () => {
        await checkGiven(provider, place as "link" | "operator", address, book.link);
        return undefined;
      });
    } else {
      check(`${name} ${address} has the code that was compiled`, async () => {
        const same = isRuntimeOf(loadArtifact(name), await provider.getCode(address), book.libraries);
        return same ? undefined : "the code on chain is another";
      });
    }
    check(`${name} names what the address book names`, () => misfit(provider, book, place));
  }
  for (const library of librariesOf(loadArtifact("EnergyMarket"))) {
    const address = book.libraries[library.contractName];
    check(`${library.contractName} ${address} has the code that was compiled`, async () => {
      if (address && isRuntimeOf(library, await provider.getCode(address), book.libraries)) return undefined;
      return "the code on chain is another";
    });
  }
  check("meters sign under the registry's domain", async () => {
    const [, name, version, chainId, verifyingContract] = await call(book.registry, "registry", "eip712Domain");
    const found = `${name} ${version} ${chainId} ${verifyingContract}`;
    const wanted = `Bijuli 1 ${book.chainId} ${book.registry}`;
    return found.toLowerCase() === wanted.toLowerCase() ? undefined : `${found} is not ${wanted}`;
  });
  check(`${expected.admin} is the AccessManager's admin`, async () => {
    const [isMember] = await call(book.accessManager, "accessManager", "hasRole", ADMIN_ROLE, expected.admin);
    return isMember ? undefined : "it is not";
  });
  check("the nodes may fulfil through the Operator", async () => {
    const senders: string[] = [...(await call(book.operator, "operator", "getAuthorizedSenders"))];
    const missing = expected.nodes.filter((node) => !senders.some((one) => one.toLowerCase() === node.toLowerCase()));
    return missing.length === 0 ? undefined : `${missing.join(", ")} may not`;
  });
  check("the ERC-1820 registry is there", async () => ((await hasErc1820(provider)) ? undefined : "it is not"));
  return Promise.all(checks);
}
