import { BijuliError, checkLotSeconds, type Hex } from "@bijuli/protocol";
import { Contract, ContractFactory, getCreateAddress, type Provider, type Signer } from "ethers";
import type { AddressBook } from "./address-book.ts";
import { type Artifact, type ContractName, loadArtifact, loadLibrary } from "./artifacts.ts";
import { ensureErc1820 } from "./erc1820.ts";

export interface DeployOptions {
  /** The registry's lot length, fixed for ever. */
  lotSeconds: number;
  /** Addresses that may fulfil requests through the Operator: the nodes' sending keys. */
  nodes: readonly string[];
  /** A chain's own LINK; a test token is deployed where there is none. */
  link?: Hex;
  /** An Operator that is there already; one is deployed where it is left out. */
  operator?: Hex;
  progress?: (message: string) => void;
}

/**
 * Deploys registry, token, market and, where the chain has none, LINK, Operator and the ERC-1820 registry. The signer
 * becomes the regulator: the AccessManager's admin.
 * @throws BijuliError deploy-failed, no-erc1820 or not-compiled
 */
export async function deploy(signer: Signer, options: DeployOptions): Promise<AddressBook> {
  const provider = signer.provider;
  if (!provider) throw new BijuliError("deploy-failed", "the deploying account has no connection to a chain");
  const regulator = await signer.getAddress();
  const blockNumber = await provider.getBlockNumber();
  const deployer = new Deployer(signer, provider, options.progress ?? (() => {}));

  const erc1820 = await ensureErc1820(signer, provider);
  const accessManager = await deployer.contract("AccessManager", [regulator]);
  const link = options.link ?? (await deployer.contract("LinkToken", []));
  if (!options.link) await deployer.call(link, "LinkToken", "grantMintRole", [regulator]);
  if (!options.link) await deployer.call(link, "LinkToken", "mint", [regulator, 10n ** 27n]);
  const operator = options.operator ?? (await deployer.contract("Operator", [link, regulator]));
  if (options.nodes.length > 0) await deployer.call(operator, "Operator", "setAuthorizedSenders", [options.nodes]);

  // Token and registry name the market, and the market names them: its address is known before it is there.
  await deployer.libraries("EnergyMarket");
  const market = getCreateAddress({ from: regulator, nonce: (await provider.getTransactionCount(regulator)) + 2 });
  const registry = await deployer.contract("MeterRegistry", [
    accessManager,
    checkLotSeconds(options.lotSeconds),
    market,
  ]);
  const token = await deployer.contract("EnergyToken", [market]);
  const placed = await deployer.contract("EnergyMarket", [accessManager, registry, token, link]);
  if (placed !== market) {
    throw new BijuliError("deploy-failed", `the market is at ${placed}, but its token expects it at ${market}`, {
      remedy: "deploy again, with nothing else sending from the deploying account meanwhile",
    });
  }
  const { chainId } = await provider.getNetwork();
  return {
    chainId: chainId.toString(),
    lotSeconds: options.lotSeconds,
    accessManager,
    registry,
    token,
    market,
    link,
    operator,
    erc1820,
    libraries: deployer.linked,
    blockNumber,
  };
}

/** Deploys one contract after the other, libraries before what they are linked into. */
class Deployer {
  readonly #signer: Signer;
  readonly #provider: Provider;
  readonly #progress: (message: string) => void;
  /** Library → address. */
  readonly linked: Record<string, Hex> = {};

  constructor(signer: Signer, provider: Provider, progress: (message: string) => void) {
    this.#signer = signer;
    this.#provider = provider;
    this.#progress = progress;
  }

  async contract(name: ContractName, args: readonly unknown[]): Promise<Hex> {
    return this.#place(loadArtifact(name), args);
  }

  /** Deploys the libraries that a contract is linked with, and theirs. */
  async libraries(name: ContractName): Promise<void> {
    await this.#link(loadArtifact(name));
  }

  async call(address: Hex, name: ContractName, method: string, args: readonly unknown[]): Promise<void> {
    const contract = new Contract(address, loadArtifact(name).abi, this.#signer);
    await (await contract.getFunction(method)(...args)).wait();
  }

  async #place(artifact: Artifact, args: readonly unknown[]): Promise<Hex> {
    const bytecode = await this.#link(artifact);
    const factory = new ContractFactory(artifact.abi, bytecode, this.#signer);
    let address: string;
    try {
      const contract = await factory.deploy(...args);
      await contract.waitForDeployment();
      address = await contract.getAddress();
    } catch (cause) {
      throw new BijuliError("deploy-failed", `${artifact.contractName} could not be deployed`, { cause });
    }
    if ((await this.#provider.getCode(address)) === "0x") {
      throw new BijuliError("deploy-failed", `${artifact.contractName} left no code at ${address}`);
    }
    this.#progress(`${artifact.contractName} is at ${address}`);
    return address as Hex;
  }

  async #link(artifact: Artifact): Promise<string> {
    let bytecode = artifact.bytecode;
    for (const [source, names] of Object.entries(artifact.linkReferences)) {
      for (const [name, places] of Object.entries(names)) {
        this.linked[name] ??= await this.#place(loadLibrary(source, name), []);
        for (const { start, length } of places) {
          const at = 2 + 2 * start;
          bytecode = bytecode.slice(0, at) + this.linked[name].slice(2).toLowerCase() + bytecode.slice(at + 2 * length);
        }
      }
    }
    return bytecode;
  }
}
