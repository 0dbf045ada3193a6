import {
  BijuliError,
  type ClearedLot,
  clearLot,
  energyOf,
  type Hex,
  lotBefore,
  Money,
  readingFromRecord,
  type SignedReading,
} from "@bijuli/protocol";
import { Interface, type LogDescription } from "ethers";
import { EnergyMarketAbi, MeterRegistryAbi } from "../../abi/index.ts";
import { type Charter, CharterHistory, type Member, type Terms } from "./charters.ts";
import { deliveriesIn } from "./deliveries.ts";

/*
 * Rebuilds every lot from the events of market and registry and from the transactions that they came with: what
 * anyone can do who does not trust us. It reads no state of the contracts.
 */

/** A log as eth_getLogs gives it, with the input of its transaction. */
export interface ChainLog {
  address: Hex;
  topics: readonly Hex[];
  data: Hex;
  transactionHash: Hex;
  /** The transaction's input; needed for stages that were cleared, and only then asked for. */
  input: () => Promise<Hex>;
}

/** One meter's part in a lot. */
export interface MeterLot {
  meterId: Hex;
  /** Units that entered the clearing. */
  energy: bigint;
  /** wei: what this lot added to floor(Σ energy · price / 10^7). */
  money: bigint;
  /** The reading that it came with; its quality is the or of all its lots. */
  signed: SignedReading;
}

/** A cleared lot. */
export interface LotStatement {
  feeder: Hex;
  name: string;
  lot: bigint;
  /** The clearing's last lot, which names it, and how many lots it has. */
  clearing: bigint;
  lots: number;
  terms: Terms;
  cleared: ClearedLot;
  plants: MeterLot[];
  distributor: MeterLot;
  /** In the charter's order; null where a consumer's reading had not come when the clearing closed. */
  consumers: { meterId: Hex; part: MeterLot | null }[];
  transactions: { open: Hex; plant: Hex; distributor: Hex; consumers: Hex[] };
}

interface OpenClearing {
  last: bigint;
  lots: number;
  charter: Charter;
  open: Hex;
  plant: Hex;
  distributor: Hex;
  consumers: Hex[];
  plants: Map<Hex, SignedReading>;
  received: SignedReading | undefined;
}

interface FeederBook {
  name: string;
  charters: CharterHistory;
  clearings: Map<bigint, OpenClearing>;
  /** lot → price, as recomputed; what consumers that come late are charged by. */
  prices: Map<bigint, bigint>;
  /** meterId → lot → part, of consumers. */
  used: Map<Hex, Map<bigint, MeterLot>>;
  /** meterId → the last lot cleared. */
  cursors: Map<Hex, bigint>;
  money: Map<Hex, Money>;
}

interface PageKey {
  feeder: Hex;
  lot: bigint;
  stage: number;
  first: number;
}

const market = new Interface(EnergyMarketAbi);
const registry = new Interface(MeterRegistryAbi);
const STAGE = { PLANT: 0, DISTRIBUTOR: 1, CONSUMERS: 2 } as const;

export class Ledger {
  readonly #lotSeconds: number;
  readonly #feeders = new Map<Hex, FeederBook>();
  readonly #meters = new Map<number, Hex>();
  readonly #requests = new Map<Hex, PageKey>();
  readonly #capacities = new Map<Hex, { fromLot: bigint; capacity: bigint }[]>();

  constructor(options: { lotSeconds: number }) {
    this.#lotSeconds = options.lotSeconds;
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

  async #take({ name, args }: LogDescription, log: ChainLog): Promise<LotStatement[]> {
    switch (name) {
      case "MeterRegistered":
      case "CapacitySet":
        this.#setCapacity(args.meterId, args.fromLot, args.capacity);
        break;
      case "FeederCreated":
        this.#feeders.set(args.feeder, newBook(args.name));
        break;
      case "Joined":
        this.#meters.set(Number(args.account), args.meterId);
        break;
      case "ConsumersListed":
        this.#book(args.feeder).charters.listConsumers(args.accounts.map((account: bigint) => this.#member(account)));
        for (const account of args.accounts) this.#seat(args.feeder, account, args.fromLot);
        break;
      case "ConsumersDelisted":
        this.#book(args.feeder).charters.delistConsumers(args.accounts.map(Number));
        break;
      case "Chartered":
        this.#charter(args);
        break;
      case "LotsOpened":
        this.#open(args.feeder, args.lot, Number(args.lots), log.transactionHash);
        break;
      case "StageRequested":
        this.#requests.set(args.requestId, {
          feeder: args.feeder,
          lot: args.lot,
          stage: Number(args.stage),
          first: Number(args.first),
        });
        break;
      case "PlantCleared": {
        const clearing = this.#clearing(args.feeder, args.lot);
        clearing.plants.set(args.meterId, await this.#signed(STAGE.PLANT, args.feeder, args.lot, args.meterId, log));
        clearing.plant = log.transactionHash;
        break;
      }
      case "DistributorCleared": {
        const clearing = this.#clearing(args.feeder, args.lot);
        clearing.received = await this.#signed(STAGE.DISTRIBUTOR, args.feeder, args.lot, args.meterId, log);
        clearing.distributor = log.transactionHash;
        this.#price(args.feeder, clearing);
        break;
      }
      case "ConsumerCleared": {
        const signed = await this.#signed(STAGE.CONSUMERS, args.feeder, args.lot, args.meterId, log);
        this.#charge(args.feeder, args.meterId, args.lot, signed, args.charged);
        const { consumers } = this.#clearing(args.feeder, args.lot);
        if (consumers.at(-1) !== log.transactionHash) consumers.push(log.transactionHash);
        break;
      }
      case "ClearingClosed":
        return this.#close(args.feeder, args.lot);
    }
    return [];
  }

  // ------------------------------------------------------------------------------------------ set-up

  #charter(args: LogDescription["args"]): void {
    const { terms } = args;
    const book = this.#book(args.feeder);
    book.charters.charter({
      fromLot: args.fromLot,
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
    if (args.distributor !== 0n) this.#seat(args.feeder, args.distributor, args.fromLot);
    for (const { account } of args.plants) this.#seat(args.feeder, account, args.fromLot);
  }

  /** A member's cursor begins at the lot before its first. */
  #seat(feeder: Hex, account: bigint, fromLot: bigint): void {
    const { cursors } = this.#book(feeder);
    const { meterId } = this.#member(account);
    if (!cursors.has(meterId)) cursors.set(meterId, fromLot - 1n);
  }

  #member(account: bigint): Member {
    const meterId = this.#meters.get(Number(account));
    if (meterId === undefined) throw disagrees(`account ${account} was listed before it joined`);
    return { account: Number(account), meterId };
  }

  #setCapacity(meterId: Hex, fromLot: bigint, capacity: bigint): void {
    const history = this.#capacities.get(meterId) ?? [];
    history.push({ fromLot, capacity });
    this.#capacities.set(meterId, history);
  }

  // ------------------------------------------------------------------------------------------ clearing

  #open(feeder: Hex, last: bigint, lots: number, open: Hex): void {
    const book = this.#book(feeder);
    const charter = book.charters.at(last);
    if (!charter) throw disagrees(`feeder ${book.name}: lot ${last} was opened before any charter held`);
    book.clearings.set(last, {
      last,
      lots,
      charter,
      open,
      plant: "0x",
      distributor: "0x",
      consumers: [],
      plants: new Map(),
      received: undefined,
    });
  }

  /** Finds the record that a stage's event speaks of, in the input of the event's own transaction. */
  async #signed(stage: number, feeder: Hex, lot: bigint, meterId: Hex, log: ChainLog): Promise<SignedReading> {
    const { charter } = this.#clearing(feeder, lot);
    const members =
      stage === STAGE.PLANT ? charter.plants : stage === STAGE.DISTRIBUTOR ? [charter.distributor!] : charter.consumers;
    for (const { requestId, page, records } of deliveriesIn(await log.input())) {
      const key = page ?? this.#requests.get(requestId!);
      if (key === undefined || key.feeder !== feeder || key.lot !== lot || key.stage !== stage) continue;
      const index = members.findIndex((member, i) => i >= key.first && member.meterId === meterId) - key.first;
      const record = index >= 0 ? records[index] : undefined;
      if (record) return readingFromRecord(record, { meterId, lot, lotSeconds: this.#lotSeconds });
    }
    throw disagrees(`transaction ${log.transactionHash} clears meter ${meterId} but carries no record of it`);
  }

  #energy(signed: SignedReading, lot: bigint): bigint {
    const energy = energyOf(signed.reading, lot);
    const capacity = this.#capacities.get(signed.reading.meterId)?.findLast(({ fromLot }) => fromLot <= lot)?.capacity;
    return capacity !== undefined && energy > capacity ? capacity : energy;
  }

  /** Prices each lot of a clearing once the distributor's reading is in. */
  #price(feeder: Hex, clearing: OpenClearing): void {
    const book = this.#book(feeder);
    for (const lot of lotsOf(clearing)) book.prices.set(lot, this.#clear(clearing, lot, []).pricePerKWh);
  }

  #clear({ charter, plants, received }: OpenClearing, lot: bigint, used: readonly bigint[]): ClearedLot {
    return clearLot({
      plants: charter.plants.map(({ meterId, pricePerKWh }) => ({
        energy: this.#energy(plants.get(meterId)!, lot),
        pricePerKWh,
      })),
      received: this.#energy(received!, lot),
      used,
      terms: { ...charter.terms, penaltyWaived: false },
    });
  }

  #charge(feeder: Hex, meterId: Hex, lot: bigint, signed: SignedReading, charged: bigint): void {
    const book = this.#book(feeder);
    const money = moneyOf(book, meterId);
    const parts = book.used.get(meterId) ?? new Map<bigint, MeterLot>();
    book.used.set(meterId, parts);
    let sum = 0n;
    for (let at = (book.cursors.get(meterId) ?? lotBefore(signed.reading)) + 1n; at <= lot; at++) {
      const energy = this.#energy(signed, at);
      const part = { meterId, energy, money: money.add(energy, book.prices.get(at) ?? 0n), signed };
      parts.set(at, part);
      sum += part.money;
    }
    if (sum !== charged)
      throw disagrees(
        `feeder ${book.name}, lot ${lot}: meter ${meterId} was charged ${charged} wei; its record and the prices make ${sum}`,
      );
    book.cursors.set(meterId, lot);
  }

  #close(feeder: Hex, last: bigint): LotStatement[] {
    const book = this.#book(feeder);
    const clearing = this.#clearing(feeder, last);
    const { charter, plants, received, open, plant, distributor, consumers: transactions } = clearing;
    const part = (meterId: Hex, signed: SignedReading, lot: bigint, pricePerKWh: bigint): MeterLot => {
      const energy = this.#energy(signed, lot);
      return { meterId, energy, money: moneyOf(book, meterId).add(energy, pricePerKWh), signed };
    };
    const statements = lotsOf(clearing).map((lot): LotStatement => {
      const consumers = charter.consumers.map(({ meterId }) => ({
        meterId,
        part: book.used.get(meterId)?.get(lot) ?? null,
      }));
      return {
        feeder,
        name: book.name,
        lot,
        clearing: last,
        lots: clearing.lots,
        terms: charter.terms,
        cleared: this.#clear(
          clearing,
          lot,
          consumers.map((consumer) => consumer.part?.energy ?? 0n),
        ),
        plants: charter.plants.map(({ meterId, pricePerKWh }) => part(meterId, plants.get(meterId)!, lot, pricePerKWh)),
        distributor: part(charter.distributor!.meterId, received!, lot, 0n),
        consumers,
        transactions: { open, plant, distributor, consumers: transactions },
      };
    });
    for (const lot of lotsOf(clearing)) for (const parts of book.used.values()) parts.delete(lot);
    return statements;
  }

  #book(feeder: Hex): FeederBook {
    const book = this.#feeders.get(feeder);
    if (!book) throw disagrees(`feeder ${feeder} was never created`);
    return book;
  }

  #clearing(feeder: Hex, lot: bigint): OpenClearing {
    const clearing = this.#book(feeder).clearings.get(lot);
    if (!clearing) throw disagrees(`feeder ${feeder}: no clearing that ends with lot ${lot} is open`);
    return clearing;
  }
}

function newBook(name: string): FeederBook {
  return {
    name,
    charters: new CharterHistory(),
    clearings: new Map(),
    prices: new Map(),
    used: new Map(),
    cursors: new Map(),
    money: new Map(),
  };
}

function moneyOf(book: FeederBook, meterId: Hex): Money {
  const money = book.money.get(meterId) ?? new Money();
  book.money.set(meterId, money);
  return money;
}

function lotsOf({ last, lots }: OpenClearing): bigint[] {
  return Array.from({ length: lots }, (_, i) => last - BigInt(lots - 1 - i));
}

const disagrees = (message: string) => new BijuliError("ledger-disagrees", message);
