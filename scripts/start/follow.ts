import { EnergyMarketAbi } from "@bijuli/contracts/abi";
import { type ChainLog, Ledger, type LotStatement, type MeterLot } from "@bijuli/dashboard/ledger";
import { BijuliError, type Hex, readingFromJson, recoverReadingSigner } from "@bijuli/protocol";
import { Interface } from "ethers";
import { type Grid, metersOf } from "./grid.ts";
import type { LotLine } from "./lot-line.ts";
import type { Network } from "./network.ts";
import { rpc } from "./rpc.ts";

const POLL_MS = 100;
/** Logs are asked for in ranges that a node answers quickly. */
const RANGE = 2_000;
const market = new Interface(EnergyMarketAbi);

export interface FollowOptions {
  /** Stop after so many lots of every feeder. */
  lots: number | undefined;
  /** The most lots that the recordings allow. */
  lastLot: number | undefined;
  onLot: (line: LotLine) => void;
}

/** Rebuilds the lots from the chain's logs as they come, holds them against the chain's state, and hands out a line each. */
export function follow(
  network: Network,
  grid: Grid,
  options: FollowOptions,
): { done: Promise<string>; stop: () => void } {
  let stopped = false;
  const run = async (): Promise<string> => {
    const book = network.book;
    const url = network.links.chain!;
    const ledger = new Ledger({ lotSeconds: grid.lotSeconds });
    const serials = new Map(
      grid.feeders.flatMap((feeder) => metersOf(grid, feeder).map(({ meterId, serial }) => [meterId, serial] as const)),
    );
    const counts = new Map(network.feeders.map(({ name }) => [name, 0]));
    const enough = () => {
      const most = options.lots ?? options.lastLot;
      return most !== undefined && [...counts.values()].every((count) => count >= most);
    };

    for (let next = 0; !stopped; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
      const head = Number(await rpc<string>(url, "eth_blockNumber"));
      while (next <= head && !stopped) {
        const to = Math.min(head, next + RANGE - 1);
        for (const lot of await ledger.apply(
          await logsBetween(url, [book.market as Hex, book.registry as Hex], next, to),
        )) {
          await agree(url, book.market as Hex, lot);
          options.onLot(await lineOf(network, lot, serials));
          counts.set(lot.name, (counts.get(lot.name) ?? 0) + 1);
        }
        next = to + 1;
        if (!enough()) continue;
        await allClosed(url, book.token as Hex);
        await allPaid(url, book.market as Hex, ledger, head);
        const sum = [...counts].map(([name, count]) => `${count} lots of ${name}`).join(", ");
        return `${sum} cleared; every price and balance agrees with the chain's, and no token is left`;
      }
    }
    return "stopped";
  };
  return {
    done: run(),
    stop: () => {
      stopped = true;
    },
  };
}

async function logsBetween(url: string, address: Hex[], from: number, to: number): Promise<ChainLog[]> {
  const range = { address, fromBlock: `0x${from.toString(16)}`, toBlock: `0x${to.toString(16)}` };
  const logs = await rpc<Omit<ChainLog, "input">[]>(url, "eth_getLogs", [range]);
  const inputs = new Map<Hex, Promise<Hex>>();
  const inputOf = (hash: Hex) => {
    const known =
      inputs.get(hash) ?? rpc<{ input: Hex }>(url, "eth_getTransactionByHash", [hash]).then(({ input }) => input);
    inputs.set(hash, known);
    return known;
  };
  return logs.map((log) => ({ ...log, input: () => inputOf(log.transactionHash) }));
}

/** The ledger recomputed the price from the records; the chain must have come to the same. */
async function agree(url: string, address: Hex, { name, feeder, lot, cleared }: LotStatement): Promise<void> {
  const data = market.encodeFunctionData("pricePerKWh", [feeder, lot]);
  const onChain = BigInt(await rpc<Hex>(url, "eth_call", [{ to: address, data }, "latest"]));
  if (onChain !== cleared.pricePerKWh) {
    throw new BijuliError(
      "ledger-disagrees",
      `feeder ${name}, lot ${lot}: the chain's price is ${onChain} wei per kWh, the readings' ${cleared.pricePerKWh}`,
    );
  }
}

/** When all clearings are closed, all tokens are burned. */
async function allClosed(url: string, token: Hex): Promise<void> {
  const supply = BigInt(await rpc<Hex>(url, "eth_call", [{ to: token, data: "0x18160ddd" }, "latest"]));
  if (supply !== 0n)
    throw new BijuliError("ledger-disagrees", `all lots are closed, yet ${supply} token parts are left`);
}

/** Every account's ether, rebuilt from events and records, is what the market holds for it. */
async function allPaid(url: string, address: Hex, { accounts }: Ledger, block: number): Promise<void> {
  for (const account of accounts.accounts()) {
    const data = market.encodeFunctionData("balanceOf", [account]);
    const onChain = BigInt(await rpc<Hex>(url, "eth_call", [{ to: address, data }, `0x${block.toString(16)}`]));
    if (onChain !== accounts.balanceOf(account)) {
      throw new BijuliError(
        "ledger-disagrees",
        `account ${account} holds ${onChain} wei on chain; its events make ${accounts.balanceOf(account)}`,
      );
    }
  }
}

async function lineOf(network: Network, lot: LotStatement, serials: ReadonlyMap<Hex, string>): Promise<LotLine> {
  const { cleared, plants, distributor, consumers, transactions } = lot;
  const parts = [...plants, distributor, ...consumers.flatMap(({ part }) => (part ? [part] : []))];
  const qualities = await Promise.all(parts.map((part) => qualityIn(network, lot, part, serials.get(part.meterId)!)));
  const serial = (meterId: Hex) => serials.get(meterId) ?? meterId;
  return {
    feeder: lot.name,
    lot: `${lot.lot}`,
    sent: `${cleared.sent}`,
    received: `${distributor.energy}`,
    lost: `${cleared.lost}`,
    available: `${cleared.available}`,
    actualLoss: `${cleared.actualLoss}`,
    excessLoss: `${cleared.excessLoss}`,
    factor: `${cleared.factor}`,
    pricePerKWh: `${cleared.pricePerKWh}`,
    plants: plants.map((part) => ({ serial: serial(part.meterId), energy: `${part.energy}`, paid: `${part.money}` })),
    distributor: { serial: serial(distributor.meterId), energy: `${distributor.energy}` },
    consumers: consumers.map(({ meterId, part }) => ({
      serial: serial(meterId),
      energy: part ? `${part.energy}` : null,
      charged: part ? `${part.money}` : null,
    })),
    delivered: `${cleared.delivered}`,
    unaccounted: `${cleared.unaccounted}`,
    overdrawn: `${cleared.overdrawn}`,
    quality: qualities.reduce((bits, quality) => bits | quality, 0),
    transactions,
  };
}

/**
 * A meter's quality in one lot. A record of one lot says it; one of several says only the or of all, so the meter is
 * asked for its signed reading of that lot alone.
 */
async function qualityIn(network: Network, lot: LotStatement, { signed }: MeterLot, serial: string): Promise<number> {
  if (!signed) return 0; // estimated: there is no reading
  const { reading, signature } = signed;
  if (reading.energies.length === 1 || reading.quality === 0) return reading.quality;
  // A reader that somebody has stopped answers nothing: then the or of all lots has to do.
  const response = await fetch(new URL(`/readings/${lot.lot}`, network.readers.get(serial)), {
    signal: AbortSignal.timeout(10_000),
  }).catch(() => undefined);
  if (!response?.ok) return reading.quality;
  const alone = (await response.json()) as { reading: unknown; signature: Hex };
  const single = readingFromJson(alone.reading);
  const sameSigner =
    recoverReadingSigner(network.domain, single, alone.signature) ===
    recoverReadingSigner(network.domain, reading, signature);
  return sameSigner ? single.quality : reading.quality;
}
