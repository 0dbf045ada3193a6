import { EnergyMarketAbi, MeterRegistryAbi } from "@bijuli/contracts/abi";
import { BijuliError, type Hex } from "@bijuli/protocol";
import { Interface, type LogDescription, type Result, toBeHex } from "ethers";
import { LogSpan } from "./log-span.ts";
import type { Rpc } from "./rpc-supplier.ts";

const market = new Interface(EnergyMarketAbi);
const registry = new Interface(MeterRegistryAbi);

/** An event that a node told, and where it stands. Nothing of it is believed: it only says where to look. */
export interface FoundEvent {
  name: string;
  args: LogDescription["args"];
  block: number;
  index: number;
  logIndex: number;
  transaction: Hex;
}

/** What an event's indexed fields must be: undefined for any, an array for one of several. */
export type Wanted = readonly (Hex | bigint | readonly (Hex | bigint)[] | undefined)[];

/** Looks for the market's events in ranges of blocks. */
export class LogSearch {
  readonly #rpc: Rpc;
  readonly #market: Hex;
  readonly #since: number;
  readonly #span = new LogSpan();

  /** @param since the block of the deployment: there is nothing before it */
  constructor(rpc: Rpc, address: Hex, since: number) {
    this.#rpc = rpc;
    this.#market = address;
    this.#since = since;
  }

  /** @returns the events in the chain's order */
  async find(names: readonly string[], indexed: Wanted, [from, to]: readonly [number, number]): Promise<FoundEvent[]> {
    const topics = [
      names.flatMap((name) => market.getEvent(name)?.topicHash ?? []),
      ...indexed.map((want) =>
        want === undefined ? null : Array.isArray(want) ? want.map(topic) : topic(want as bigint),
      ),
    ];
    const events: FoundEvent[] = [];
    for (let at = Math.max(from, this.#since); at <= to; ) {
      const end = this.#span.end(at, to);
      const logs = await this.#range(topics, at, end);
      if (!logs) continue;
      events.push(...logs.map(found));
      at = end + 1;
    }
    return events;
  }

  /** @returns undefined when a shorter one is worth a try */
  async #range(topics: unknown[], from: number, to: number): Promise<Record<string, unknown>[] | undefined> {
    try {
      const range = { fromBlock: hexNumber(from), toBlock: hexNumber(to) };
      return await this.#rpc("eth_getLogs", [{ address: this.#market, topics, ...range }]);
    } catch (error) {
      if ((error as { code?: unknown }).code === "rpc-unreachable" || !this.#span.shorter(from, to)) throw error;
      return undefined;
    }
  }
}

function found(log: Record<string, unknown>): FoundEvent {
  const { name, args } = market.parseLog({ topics: log.topics as Hex[], data: log.data as Hex })!;
  return {
    name,
    args,
    block: Number(log.blockNumber),
    index: Number(log.transactionIndex),
    logIndex: Number(log.logIndex),
    transaction: log.transactionHash as Hex,
  };
}

/** An account's meter, and those that took its place, in their order. */
export async function metersOf(search: LogSearch, account: number, head: number): Promise<Hex[]> {
  const named = await search.find(["Joined", "MeterReplaced"], [BigInt(account)], [0, head]);
  return named.map(({ args }) => args.meterId);
}

/** What a registry answers, as its node says: a hint where to look. @throws BijuliError no-registry when there is none */
export async function registryView(rpc: Rpc, address: Hex, name: string, args: readonly unknown[]): Promise<Result> {
  const data = registry.encodeFunctionData(name, args);
  try {
    return registry.decodeFunctionResult(name, await rpc("eth_call", [{ to: address, data }, "latest"]));
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "rpc-unreachable") throw cause;
    throw new BijuliError("no-registry", `at ${address} there is no MeterRegistry on this chain`, { cause });
  }
}

const topic = (value: Hex | bigint): Hex => (typeof value === "bigint" ? (toBeHex(value, 32) as Hex) : value);
const hexNumber = (value: number): Hex => `0x${value.toString(16)}`;
