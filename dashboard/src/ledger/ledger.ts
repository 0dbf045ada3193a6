import { EnergyMarketAbi, MeterRegistryAbi } from "@bijuli/contracts/abi";
import { BijuliError, type Hex, type SignedReading } from "@bijuli/protocol";
import { Interface, type LogDescription } from "ethers";
import { AccountsBook } from "./accounts.ts";
import { Capacities } from "./capacities.ts";
import type { Charter, Member } from "./charters.ts";
import { FeederBook } from "./feeder-book.ts";
import { feederName } from "./feeder-name.ts";
import { Pages, STAGE } from "./pages.ts";
import type { ChainLog, LatePart, LotStatement } from "./statement.ts";

/*
 * Rebuilds every lot from the events of market and registry and from the transactions that they came with: what
 * anyone can do who does not trust us. It reads no state of the contracts.
 */

export interface LedgerOptions {
  lotSeconds: number;
  /** Told of consumers that came after their clearing was closed. */
  onLate?: (late: LatePart) => void;
}

const market = new Interface(EnergyMarketAbi);
const registry = new Interface(MeterRegistryAbi);

export class Ledger {
  /** Everybody's ether, from the events alone. */
  readonly accounts = new AccountsBook();
  readonly #feeders = new Map<Hex, FeederBook>();
  /** account → its meter. */
  readonly #meters = new Map<number, Hex>();
  /** account → its feeder. */
  readonly #places = new Map<number, Hex>();
  readonly #capacities = new Capacities();
  readonly #pages: Pages;
  readonly #onLate: (late: LatePart) => void;

  constructor({ lotSeconds, onLate = () => {} }: LedgerOptions) {
    this.#pages = new Pages(lotSeconds);
    this.#onLate = onLate;
  }

  /**
   * Takes the next logs of market and registry, in the chain's order.
   * @returns the lots that they closed, oldest first
   * @throws BijuliError ledger-disagrees where the chain's events say other than the records do
   */
  async apply(logs: readonly ChainLog[]): Promise<LotStatement[]> {
    const closed: LotStatement[] = [];
    for (const log of logs) {
      const topics = [...log.topics];
      const event = market.parseLog({ topics, data: log.data }) ?? registry.parseLog({ topics, data: log.data });
      if (event) closed.push(...(await this.#take(event, log)));
    }
    return closed;
  }

  /** What holds for a feeder in a lot; undefined where nothing does yet. */
  charter(feeder: Hex, lot: bigint): Charter | undefined {
    return this.#feeders.get(feeder)?.charters.at(lot);
  }

  async #take({ name, args }: LogDescription, log: ChainLog): Promise<LotStatement[]> {
    const transaction = log.transactionHash;
    switch (name) {
      case "MeterRegistered":
      case "CapacitySet":
        this.#capacities.set(args.meterId, args.fromLot, args.capacity);
        break;
      case "FeederCreated":
        this.#feeders.set(
          args.feeder,
          new FeederBook(args.feeder, feederName({ args }), this.accounts, this.#capacities),
        );
        break;
      case "Joined":
        this.#meters.set(Number(args.account), args.meterId);
        this.#places.set(Number(args.account), args.feeder);
        break;
      case "MeterReplaced":
        this.#meters.set(Number(args.account), args.meterId);
        this.#feeders
          .get(this.#places.get(Number(args.account))!)!
          .replaceMeter(Number(args.account), args.meterId, args.fromLot);
        break;
      case "ConsumersListed": {
        const book = this.#book(args.feeder);
        book.charters.listConsumers(args.accounts.map((account: bigint) => this.#member(account)));
        for (const account of args.accounts) book.seatConsumer(Number(account), args.fromLot);
        break;
      }
      case "ConsumersDelisted":
        this.#book(args.feeder).charters.delistConsumers(args.accounts.map(Number));
        break;
      case "Chartered":
        this.#charter(args);
        break;
      case "LotsOpened":
        this.#book(args.feeder).open(args.lot, Number(args.lots), transaction);
        break;
      case "StageRequested":
        this.#pages.requested(args.requestId, {
          feeder: args.feeder,
          lot: args.lot,
          stage: Number(args.stage),
          first: Number(args.first),
        });
        break;
      case "Estimated":
        this.#book(args.feeder).estimate(args.lot, args.meterId, args.energies);
        break;
      case "PlantCleared":
        await this.#book(args.feeder).plantCleared(
          args.lot,
          args.meterId,
          args.energy,
          () => this.#signed(STAGE.PLANT, args, log),
          transaction,
        );
        break;
      case "DistributorCleared":
        await this.#book(args.feeder).distributorCleared(
          args.lot,
          args.received,
          () => this.#signed(STAGE.DISTRIBUTOR, args, log),
          transaction,
        );
        break;
      case "PlantPaid":
        this.#book(args.feeder).plantPaid(args.lot, args.meterId, args.paid);
        break;
      case "ConsumerCleared": {
        const signed = await this.#signed(STAGE.CONSUMERS, args, log);
        const book = this.#book(args.feeder);
        const { late, closed } = book.consumerCleared(args.lot, args.meterId, args.charged, signed, transaction);
        for (const part of late) this.#onLate(part);
        return closed;
      }
      case "ClearingClosed":
        return this.#book(args.feeder).close(args.lot, args.delivered + args.overdrawn, transaction);
      case "Deposited":
        this.accounts.deposit(Number(args.account), args.amount);
        break;
      case "Withdrawn":
        this.accounts.withdraw(Number(args.account), args.amount);
        break;
      case "ArrearsGrown":
        this.accounts.arrearsGrown(Number(args.debtor), Number(args.creditor), args.amount);
        break;
      case "ArrearsPaid":
        this.accounts.arrearsPaid(Number(args.debtor), args.amount);
        break;
      case "ClaimCollected":
        this.accounts.claimCollected(Number(args.debtor), Number(args.creditor), args.amount);
        break;
    }
    return [];
  }

  #charter(args: LogDescription["args"]): void {
    const { terms, fromLot } = args;
    const book = this.#book(args.feeder);
    book.charters.charter({
      fromLot,
      terms: {
        idealLossBps: Number(terms.idealLossBps),
        serviceBps: Number(terms.serviceBps),
        penaltyBps: Number(terms.penaltyBps),
        toleranceBps: Number(terms.toleranceBps),
        maxPricePerKWh: terms.maxPricePerKWh,
        reserve: terms.reserve,
        graceSeconds: Number(terms.graceSeconds),
        lotsPerClearing: Number(terms.lotsPerClearing),
        tokensPerConsumer: terms.tokensPerConsumer,
      },
      distributor: args.distributor === 0n ? undefined : this.#member(args.distributor),
      plants: args.plants.map((seat: { account: bigint; pricePerKWh: bigint }) => ({
        ...this.#member(seat.account),
        pricePerKWh: seat.pricePerKWh,
      })),
    });
    if (args.distributor !== 0n) book.seatSupplier(Number(args.distributor), fromLot);
    for (const { account } of args.plants) book.seatSupplier(Number(account), fromLot);
  }

  #signed(stage: number, args: LogDescription["args"], log: ChainLog): Promise<SignedReading> {
    const { feeder, lot, meterId } = args;
    return this.#pages.readingIn(log, this.#book(feeder).charters.at(lot)!, { feeder, lot, stage, meterId });
  }

  #member(account: bigint): Member {
    const meterId = this.#meters.get(Number(account));
    if (meterId === undefined) throw disagrees(`account ${account} was listed before it joined`);
    return { account: Number(account), meterId };
  }

  #book(feeder: Hex): FeederBook {
    const book = this.#feeders.get(feeder);
    if (!book) throw disagrees(`feeder ${feeder} was never created`);
    return book;
  }
}

const disagrees = (message: string) => new BijuliError("ledger-disagrees", message);
