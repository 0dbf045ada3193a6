import { BijuliError, ExitCode, type Hex, isHex } from "@bijuli/protocol";
import {
  Contract,
  type ContractTransactionReceipt,
  type EventLog,
  type InterfaceAbi,
  id,
  type JsonRpcProvider,
  type Wallet,
} from "ethers";
import { AccessManagerAbi, EnergyMarketAbi, LinkTokenAbi, MeterRegistryAbi } from "../../abi/index.ts";
import type { AddressBook } from "../deployment/address-book.ts";
import { say } from "./command.ts";
import { refusal } from "./revert.ts";

export interface Joined {
  account: bigint;
  meterId: Hex;
  role: number;
  owner: Hex;
  priceLimit: bigint;
}

/** Where someone sits who acts on a deployment: the regulator, or a participant. Without a key it only reads. */
export class Desk {
  readonly book: AddressBook;
  readonly provider: JsonRpcProvider;
  readonly market: Contract;
  readonly registry: Contract;
  readonly link: Contract;
  readonly #wallet: Wallet | undefined;
  readonly #confirmations: number;

  constructor(book: AddressBook, provider: JsonRpcProvider, wallet: Wallet | undefined, confirmations: number) {
    this.book = book;
    this.provider = provider;
    this.#wallet = wallet?.connect(provider);
    this.#confirmations = confirmations;
    this.market = this.#contract(book.market, EnergyMarketAbi);
    this.registry = this.#contract(book.registry, MeterRegistryAbi);
    this.link = this.#contract(book.link, LinkTokenAbi);
  }

  get wallet(): Wallet {
    if (!this.#wallet) throw new BijuliError("bad-key", "there is no key to send with");
    return this.#wallet;
  }

  #contract(address: string, abi: InterfaceAbi): Contract {
    return new Contract(address, abi, this.#wallet ?? this.provider);
  }

  /** The chain's own time, in unix seconds. */
  async now(): Promise<number> {
    return (await this.provider.getBlock("latest"))!.timestamp;
  }

  /**
   * Tries a call first, then sends it and waits. A regulator's call that the AccessManager delays is scheduled instead,
   * and done when the same command runs again after the delay.
   * @throws BijuliError refused, in words; scheduled
   */
  async act(
    what: string,
    contract: Contract,
    method: string,
    args: readonly unknown[],
    options: { restricted?: boolean; value?: bigint } = {},
  ): Promise<ContractTransactionReceipt> {
    const call = contract.getFunction(method);
    const overrides = options.value === undefined ? {} : { value: options.value };
    if (options.restricted) await this.#schedule(what, contract, method, args);
    try {
      await call.staticCall(...args, overrides);
      const gas = await call.estimateGas(...args, overrides);
      const sent = await call(...args, { ...overrides, gasLimit: gas + gas / 5n });
      return (await sent.wait(this.#confirmations))!;
    } catch (error) {
      throw refusal(what, error);
    }
  }

  async #schedule(what: string, contract: Contract, method: string, args: readonly unknown[]): Promise<void> {
    const manager = this.#contract(this.book.accessManager, AccessManagerAbi);
    const data = contract.interface.encodeFunctionData(method, args);
    const caller = this.wallet.address;
    const [immediate, delay] = await manager.getFunction("canCall")(caller, contract.target, data.slice(0, 10));
    if (immediate || delay === 0n) return;
    const operation = await manager.getFunction("hashOperation")(caller, contract.target, data);
    let at: bigint = await manager.getFunction("getSchedule")(operation);
    if (at === 0n) {
      await this.act(`scheduling: ${what}`, manager, "schedule", [contract.target, data, 0]);
      at = await manager.getFunction("getSchedule")(operation);
    }
    if (at <= BigInt(await this.now())) return;
    throw new BijuliError("scheduled", `${what}: scheduled, for the regulator's acts are delayed`, {
      remedy: `run the very same command again after ${new Date(Number(at) * 1000).toISOString()}`,
    });
  }

  /** All events of one kind since the deployment, in order; in portions where an RPC limits them. */
  async events(contract: Contract, name: string, ...topics: unknown[]): Promise<EventLog[]> {
    const filter = contract.filters[name]!(...topics);
    const within = async (from: number, to: number): Promise<EventLog[]> => {
      try {
        return (await contract.queryFilter(filter, from, to)) as EventLog[];
      } catch (error) {
        if (to - from < 100) throw error;
        const middle = from + Math.floor((to - from) / 2);
        return [...(await within(from, middle)), ...(await within(middle + 1, to))];
      }
    };
    return within(this.book.blockNumber, await this.provider.getBlockNumber());
  }

  /** The feeder's accounts, in the order in which they joined. */
  async joined(feeder: Hex, meterId: Hex | null = null): Promise<Joined[]> {
    const events = await this.events(this.market, "Joined", null, feeder, meterId);
    return events.map(({ args }) => ({
      account: args.account,
      meterId: args.meterId,
      role: Number(args.role),
      owner: args.owner,
      priceLimit: args.priceLimit,
    }));
  }

  /**
   * The newest account that joined a feeder with a meter in a role and has not left.
   * @throws BijuliError unknown, saying who must do what
   */
  async accountFor(
    feeder: Hex,
    meter: { serial: string; meterId: Hex; account?: string | undefined },
    role: number,
  ): Promise<{ account: bigint; firstLot: bigint }> {
    const own = (await this.joined(feeder, meter.meterId)).filter((one) => one.role === role).reverse();
    for (const { account, owner } of own) {
      if (meter.account && meter.account.toLowerCase() !== owner.toLowerCase()) continue;
      const { firstLot, endLot } = await this.market.getFunction("accountOf")(account);
      if (endLot === 0n) return { account, firstLot };
    }
    // or one whose meter this one has replaced
    const seat: bigint = await this.market.getFunction("seatOf")(meter.meterId);
    if (seat !== 0n) {
      const now = await this.market.getFunction("accountOf")(seat);
      const theirs = !meter.account || meter.account.toLowerCase() === now.owner.toLowerCase();
      const same = now.feeder === feeder && now.meterId === meter.meterId && Number(now.role) === role;
      if (same && theirs && now.endLot === 0n) return { account: seat, firstLot: now.firstLot };
    }
    const whose = meter.account ? ` by ${meter.account}` : "";
    throw new BijuliError("unknown", `nobody has joined as ${ROLES[role]} with meter ${meter.serial}${whose}`, {
      remedy: "its owner runs bijuli feeder join",
    });
  }

  /** What a sent transaction's own events say. */
  found(receipt: ContractTransactionReceipt, contract: Contract, name: string) {
    const parsed = receipt.logs.map((log) => contract.interface.parseLog(log));
    return parsed.find((event) => event?.name === name)?.args;
  }
}

export const ROLES = ["plant", "distributor", "consumer"] as const;

/** A feeder by its name, or by its id: keccak256 of the name. */
export function feederId(name: string): Hex {
  return isHex(name, 32) ? name : (id(name) as Hex);
}

export function done(message: string): number {
  say(message);
  return ExitCode.OK;
}
