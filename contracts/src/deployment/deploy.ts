import { setTimeout as sleep } from "node:timers/promises";
import { BijuliError, checkLotSeconds, type Hex } from "@bijuli/protocol";
import {
  AbiCoder,
  Contract,
  concat,
  getCreateAddress,
  Interface,
  type Provider,
  type Signer,
  type TransactionRequest,
} from "ethers";
import { type AddressBook, addressBookOf, type DeploymentRecord, type Place } from "./address-book.ts";
import { type Artifact, type ContractName, librariesOf, loadArtifact } from "./artifacts.ts";
import { ERC1820_ADDRESS, hasErc1820, placeErc1820 } from "./erc1820.ts";
import { type Hand, sendingHand } from "./hand.ts";
import { immutablesIn, isRuntimeOf, linkedBytecode } from "./runtime-code.ts";

export interface DeployOptions {
  /** The registry's lot length, fixed for ever. */
  lotSeconds: number;
  /** Addresses that may fulfil requests through the Operator: the nodes' sending keys. */
  nodes: readonly string[];
  /** A chain's own LINK; a test token is deployed where there is none. */
  link?: Hex | undefined;
  /** An Operator that is there already; one is deployed where it is left out. */
  operator?: Hex | undefined;
  /** The regulator: the AccessManager's first admin. The deploying account where it is left out. */
  admin?: Hex | undefined;
  progress?: (message: string) => void;
  /** Blocks to wait for after each transaction, 1 by default, and how long, in ms. */
  confirmations?: number | undefined;
  timeoutMs?: number | undefined;
  /** How far an earlier run came; this one goes on from there. */
  record?: DeploymentRecord | undefined;
  /** Told after, and where something is sent also before, every step. */
  save?: (record: DeploymentRecord) => void;
}

/** Contracts and their places in the address book, in the order of their deployment. */
export const PLACES = {
  accessManager: "AccessManager",
  link: "LinkToken",
  operator: "Operator",
  registry: "MeterRegistry",
  token: "EnergyToken",
  market: "EnergyMarket",
} as const satisfies Partial<Record<Place, ContractName>>;
export type DeployedPlace = keyof typeof PLACES;

/** All of a test token's supply, minted to the deployer. */
const TEST_LINK = 10n ** 27n;

/**
 * Deploys registry, token, market and, where the chain has none, LINK, Operator and the ERC-1820 registry. What the
 * record says is there is reused when its code and its facts are right. Sends nothing when nothing is missing.
 * @throws BijuliError deploy-failed, deployment-differs, no-erc1820, no-funds, not-mined, account-busy, not-compiled
 */
export async function deploy(signer: Signer, options: DeployOptions): Promise<AddressBook> {
  const provider = signer.provider;
  if (!provider) throw new BijuliError("deploy-failed", "the deploying account has no connection to a chain");
  const hand = await sendingHand(signer, options);
  return deployBy(hand, provider, options);
}

/** The same with any hand: a dry one goes through all steps and sends none. */
export async function deployBy(hand: Hand, provider: Provider, options: DeployOptions): Promise<AddressBook> {
  return new Deployment(hand, provider, options, options.record ?? (await newRecord(provider, hand, options))).run();
}

async function newRecord(provider: Provider, hand: Hand, options: DeployOptions): Promise<DeploymentRecord> {
  const [{ chainId }, blockNumber] = await Promise.all([provider.getNetwork(), provider.getBlockNumber()]);
  return {
    chainId: chainId.toString(),
    lotSeconds: options.lotSeconds,
    blockNumber,
    libraries: {},
    deployment: { complete: false, deployer: hand.address, admin: options.admin ?? hand.address },
  };
}

class Deployment {
  readonly #hand: Hand;
  readonly #provider: Provider;
  readonly #options: DeployOptions;
  readonly #record: DeploymentRecord;
  readonly #say: (message: string) => void;
  /** What this run has deployed: it need not be checked, and in a dry run it is on no chain. */
  readonly #new = new Set<string>();

  constructor(hand: Hand, provider: Provider, options: DeployOptions, record: DeploymentRecord) {
    this.#hand = hand;
    this.#provider = provider;
    this.#options = options;
    this.#record = structuredClone(record);
    this.#say = options.progress ?? (() => {});
  }

  async run(): Promise<AddressBook> {
    const { nodes, lotSeconds } = this.#options;
    const record = this.#record;
    checkLotSeconds(lotSeconds);
    if (record.lotSeconds !== lotSeconds) {
      throw this.#differs(`its lots are ${record.lotSeconds} s long and not ${lotSeconds} s, which never changes`);
    }
    await this.#settle();

    if (!(await hasErc1820(this.#provider))) {
      this.#say("placing the ERC-1820 registry by its keyless transaction");
      await placeErc1820(
        this.#provider,
        (transaction) => this.#send("ether for the ERC-1820 registry's keyless transaction", transaction),
        this.#hand.dry,
      );
    }
    record.erc1820 = ERC1820_ADDRESS;

    await this.#place("accessManager", [record.deployment.admin]);
    await this.#link();
    await this.#operator(nodes);
    for (const library of librariesOf(loadArtifact("EnergyMarket"))) await this.#library(library);
    await this.#market();

    record.deployment.complete = true;
    this.#save();
    return addressBookOf(record);
  }

  // ------------------------------------------------------------------------------------------ steps

  async #link(): Promise<void> {
    const { link } = this.#options;
    if (link) return this.#given("link", link);
    await this.#place("link", []);
    const at = this.#record.link!;
    const owner = this.#hand.address;
    if (this.#record.deployment.complete) return;
    if (!(await this.#read<boolean>(at, "LinkToken", "isMinter", [owner], false))) {
      await this.#call(at, "LinkToken", "grantMintRole", [owner]);
    }
    if ((await this.#read<bigint>(at, "LinkToken", "totalSupply", [], 0n)) === 0n) {
      await this.#call(at, "LinkToken", "mint", [owner, TEST_LINK]);
    }
  }

  async #operator(nodes: readonly string[]): Promise<void> {
    const { operator } = this.#options;
    if (operator) await this.#given("operator", operator);
    else await this.#place("operator", [this.#record.link, this.#hand.address]);
    const at = this.#record.operator!;
    const senders = [...(await this.#read<readonly string[]>(at, "Operator", "getAuthorizedSenders", [], []))];
    const known = new Set(senders.map((sender) => sender.toLowerCase()));
    const missing = nodes.filter((node) => !known.has(node.toLowerCase()));
    // The call replaces the list: what is in it already stays.
    if (missing.length > 0) await this.#call(at, "Operator", "setAuthorizedSenders", [[...senders, ...missing]]);
  }

  /**
   * Token and registry name the market, and the market names them: its address is known before it is there, by the
   * deploying account's nonce. If that account has sent something else since, registry and token are deployed again.
   */
  async #market(): Promise<void> {
    const record = this.#record;
    for (const place of ["market", "registry", "token"] as const) await this.#keep(place);
    if (!record.registry || !record.token) delete record.market;
    let market: string | undefined = record.market;
    if (market === undefined) {
      const missing = (record.registry ? 0 : 1) + (record.token ? 0 : 1);
      const next = await this.#hand.nonce();
      market = getCreateAddress({ from: this.#hand.address, nonce: next + missing });
      const expected = [
        record.registry && (await this.#read<string>(record.registry, "MeterRegistry", "market", [], market)),
        record.token && (await this.#read<string>(record.token, "EnergyToken", "market", [], market)),
      ];
      if (expected.some((address) => address && address !== market)) {
        this.#say(
          "the market can no longer get the address that registry and token name, for the account has sent something else since: these two are deployed again",
        );
        delete record.registry;
        delete record.token;
        market = getCreateAddress({ from: this.#hand.address, nonce: next + 2 });
      }
    }
    await this.#place("registry", [record.accessManager, record.lotSeconds, market]);
    await this.#place("token", [market]);
    await this.#place("market", [record.accessManager, record.registry, record.token, record.link]);
    if (record.market !== market) {
      throw new BijuliError(
        "deploy-failed",
        `the market is at ${record.market}, but its token expects it at ${market}`,
        { remedy: "deploy again, with nothing else sending from the deploying account meanwhile" },
      );
    }
  }

  /** A contract that somebody else has deployed. */
  async #given(place: "link" | "operator", address: Hex): Promise<void> {
    const earlier = this.#record[place];
    if (earlier && earlier.toLowerCase() !== address.toLowerCase()) {
      throw this.#differs(`its ${PLACES[place]} is ${earlier} and not ${address}`);
    }
    await checkGiven(this.#provider, place, address, this.#record.link);
    this.#record[place] = address;
    this.#save();
  }

  async #place(place: DeployedPlace, args: readonly unknown[]): Promise<void> {
    const name = PLACES[place];
    await this.#keep(place);
    if (this.#record[place]) return;
    const artifact = loadArtifact(name);
    this.#record[place] = await this.#create(place, artifact, args);
    this.#done(name, this.#record[place]);
  }

  async #library(artifact: Artifact): Promise<void> {
    const name = artifact.contractName;
    const libraries = this.#record.libraries;
    const known = libraries[name];
    if (known && (await this.#isThere(name, artifact, known))) return;
    delete libraries[name];
    libraries[name] = await this.#create(`libraries.${name}`, artifact, []);
    this.#done(name, libraries[name]);
  }

  /**
   * Keeps what the record names if it is there and made for the rest; forgets it otherwise, unless the deployment was
   * complete: then what is wrong is the record or the chain, and deploying around it would hide that.
   */
  async #keep(place: DeployedPlace): Promise<void> {
    const address = this.#record[place];
    const name = PLACES[place];
    if (!address || this.#new.has(address)) return;
    if (!(await this.#isThere(name, loadArtifact(name), address))) {
      delete this.#record[place];
      return;
    }
    const problem = await misfit(this.#provider, this.#record, place);
    if (!problem) return;
    if (this.#record.deployment.complete) throw this.#differs(problem);
    this.#say(`${problem}: it is deployed again`);
    delete this.#record[place];
  }

  async #isThere(name: string, artifact: Artifact, address: Hex): Promise<boolean> {
    if (this.#new.has(address)) return true;
    const code = await this.#provider.getCode(address);
    if (code === "0x") {
      if (this.#record.deployment.complete) throw this.#differs(`there is no ${name} at ${address} on this chain`);
      this.#say(`${name} is not at ${address}: it is deployed again`);
      return false;
    }
    if (!isRuntimeOf(artifact, code, this.#record.libraries)) {
      throw this.#differs(`the code at ${address} is not that of ${name} as it is compiled here`);
    }
    return true;
  }

  // ------------------------------------------------------------------------------------------ sending

  /** An earlier run was interrupted between sending and knowing: what became of that transaction? */
  async #settle(): Promise<void> {
    const { pending, deployer } = this.#record.deployment;
    if (!pending || this.#hand.dry) return;
    const deadline = Date.now() + (this.#options.timeoutMs ?? 600_000);
    let told = false;
    for (;;) {
      if ((await this.#provider.getTransactionCount(deployer, "latest")) > pending.nonce) break;
      if ((await this.#provider.getTransactionCount(deployer, "pending")) <= pending.nonce) {
        delete this.#record.deployment.pending;
        return this.#save();
      }
      if (Date.now() > deadline) {
        throw new BijuliError("not-mined", `${pending.step}: its transaction has not been mined yet`, {
          remedy: "run again: it goes on from there",
        });
      }
      if (!told) this.#say(`waiting for what an earlier run has sent: ${pending.step}`);
      told = true;
      await sleep(500);
    }
    if (pending.address) await this.#adopt(pending.step, pending.address);
    delete this.#record.deployment.pending;
    this.#save();
  }

  async #adopt(step: string, address: Hex): Promise<void> {
    const code = await this.#provider.getCode(address);
    if (code === "0x") return;
    const library = /^libraries\.(.*)$/.exec(step)?.[1];
    const artifact = library
      ? librariesOf(loadArtifact("EnergyMarket")).find(({ contractName }) => contractName === library)
      : loadArtifact(PLACES[step as DeployedPlace]);
    if (!artifact || !isRuntimeOf(artifact, code, this.#record.libraries)) return;
    if (library) this.#record.libraries[library] = address;
    else this.#record[step as DeployedPlace] = address;
    this.#say(`${artifact.contractName} is at ${address}, sent by an earlier run`);
  }

  async #create(step: string, artifact: Artifact, args: readonly unknown[]): Promise<Hex> {
    const data = concat([linkedBytecode(artifact, this.#record.libraries), constructorArguments(artifact, args)]);
    const { address } = await this.#send(step, { data });
    if (!this.#hand.dry && !isRuntimeOf(artifact, await this.#provider.getCode(address!), this.#record.libraries)) {
      throw new BijuliError("deploy-failed", `${artifact.contractName} did not leave its code at ${address}`);
    }
    this.#new.add(address!);
    return address!;
  }

  async #call(to: Hex, name: ContractName, method: string, args: readonly unknown[]): Promise<void> {
    const data = new Interface(loadArtifact(name).abi).encodeFunctionData(method, args);
    await this.#send(`${name}.${method}`, { to, data });
    this.#say(`${name}.${method} is done`);
  }

  async #send(step: string, transaction: TransactionRequest) {
    const sent = await this.#hand.send(step, transaction, (sending) => {
      this.#record.deployment.pending = sending;
      this.#save();
      this.#say(`sending ${step}`);
    });
    delete this.#record.deployment.pending;
    return sent;
  }

  #done(name: string, address: Hex): void {
    this.#save();
    this.#say(`${name} is at ${address}`);
  }

  #save(): void {
    this.#options.save?.(structuredClone(this.#record));
  }

  async #read<T>(at: Hex, name: ContractName, method: string, args: readonly unknown[], ifNew: T): Promise<T> {
    if (this.#hand.dry && this.#new.has(at)) return ifNew;
    return (await new Contract(at, loadArtifact(name).abi, this.#provider).getFunction(method)(...args)) as T;
  }

  #differs(why: string): BijuliError {
    return new BijuliError("deployment-differs", `the address book does not fit: ${why}`, {
      remedy: "check out what was deployed, name the right network, or begin a new deployment with --fresh",
    });
  }
}

/** A constructor's arguments as they stand behind the creation code. */
export function constructorArguments(artifact: Artifact, args: readonly unknown[]): string {
  const inputs = new Interface(artifact.abi).deploy.inputs;
  return AbiCoder.defaultAbiCoder().encode(inputs, args);
}

/** What a contract says of the others, where it is not what the book says; undefined when all is right. */
export async function misfit(
  provider: Provider,
  book: { [K in Place]?: Hex | undefined } & { lotSeconds: number },
  place: DeployedPlace,
): Promise<string | undefined> {
  const name = PLACES[place];
  const address = book[place]!;
  const contract = new Contract(address, loadArtifact(name).abi, provider);
  const says: Record<DeployedPlace, [string, unknown][]> = {
    accessManager: [],
    link: [],
    operator: [["getChainlinkToken", book.link]],
    registry: [
      ["authority", book.accessManager],
      ["lotSeconds", book.lotSeconds],
      ["market", book.market],
    ],
    token: [["market", book.market]],
    market: [
      ["authority", book.accessManager],
      ["registry", book.registry],
      ["token", book.token],
    ],
  };
  const answers = says[place]
    .filter(([, expected]) => expected !== undefined)
    .map(async ([method, expected]) => {
      const found = String(await contract.getFunction(method)());
      if (found.toLowerCase() === String(expected).toLowerCase()) return undefined;
      return `${name} ${address} names ${found} as its ${method}, not ${expected}`;
    });
  const problem = (await Promise.all(answers)).find((answer) => answer !== undefined);
  if (problem || place !== "market" || !book.link) return problem;
  // The market keeps its LINK among its immutables and has no function that tells it.
  const word = `0x${book.link.slice(2).toLowerCase().padStart(64, "0")}` as Hex;
  const words = immutablesIn(loadArtifact(name), await provider.getCode(address));
  return words.includes(word) ? undefined : `${name} ${address} was not made for the LINK token ${book.link}`;
}

/** @throws BijuliError bad-contract when what stands there is no LINK token, or no Operator for it */
export async function checkGiven(
  provider: Provider,
  place: "link" | "operator",
  address: Hex,
  link: Hex | undefined,
): Promise<void> {
  const contract = new Contract(address, loadArtifact(PLACES[place]).abi, provider);
  const bad = (why: string) => new BijuliError("bad-contract", `${address} is no ${PLACES[place]} to use: ${why}`);
  if ((await provider.getCode(address)) === "0x") throw bad("there is no contract");
  try {
    if (place === "link") {
      const symbol: string = await contract.getFunction("symbol")();
      if (symbol !== "LINK") throw bad(`its symbol is ${JSON.stringify(symbol)}`);
    } else {
      const pays: string = await contract.getFunction("getChainlinkToken")();
      if (pays.toLowerCase() !== link?.toLowerCase()) throw bad(`it is paid in ${pays}, not in ${link}`);
    }
  } catch (error) {
    throw error instanceof BijuliError ? error : bad("it does not answer as one");
  }
}
