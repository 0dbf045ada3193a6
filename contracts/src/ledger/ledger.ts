import {
  BijuliError,
  BPS,
  type ClearedLot,
  clearLot,
  decodeEnergies,
  energyOf,
  type Hex,
  lotBefore,
  Money,
  readingFromRecord,
  type SignedReading,
} from "@bijuli/protocol";
import { Interface, type LogDescription } from "ethers";
import { EnergyMarketAbi, MeterRegistryAbi } from "../../abi/index.ts";
import { AccountsBook } from "./accounts.ts";
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
  /** The reading that it came with; its quality is the or of all its lots. Undefined: estimated, or gone on without. */
  signed: SignedReading | undefined;
}

/** What a plant or the distributor brought into a clearing. */
interface Supply {
  signed: SignedReading | undefined;
  /** Units, lot by lot: cut to capacity, corrected by what earlier estimates got wrong; undefined until it is known. */
  energies: bigint[] | undefined;
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
  plants: Map<Hex, Supply>;
  received: Supply | undefined;
  /** An estimate took part: no penalty in any lot. */
  estimated: boolean;
  /** So many of its first lots carry a correction: no penalty there. */
  corrected: number;
}

interface FeederBook {
  name: string;
  charters: CharterHistory;
  clearings: Map<bigint, OpenClearing>;
  /** lot → price, as recomputed; what consumers that come late are charged by. */
  prices: Map<bigint, bigint>;
  /** lot → the account that consumers of that lot pay. */
  payees: Map<bigint, number>;
  /** account → lot → part, of consumers. */
  used: Map<number, Map<bigint, MeterLot>>;
  /** account → the last lot cleared. */
  cursors: Map<number, bigint>;
  /** account → Units that a late reading, less what was estimated, leaves to be added to its next lots. */
  carried: Map<number, bigint>;
  money: Map<number, Money>;
}

interface PageKey {
  feeder: Hex;
  lot: bigint;
  stage: number;
  first: number;
}

const market = new Interface(EnergyMarketAbi);
const registry = new Interface(MeterRegistryAbi);
/** An energy takes six bytes. */
const MAX_ENERGY = 2n ** 48n - 1n;
const STAGE = { PLANT: 0, DISTRIBUTOR: 1, CONSUMERS: 2 } as const;

export class Ledger {
  readonly #lotSeconds: number;
  readonly #feeders = new Map<Hex, FeederBook>();
  readonly #meters = new Map<number, Hex>();
  readonly #requests = new Map<Hex, PageKey>();
  /** Everybody's ether, from the events alone. */
  readonly accounts = new AccountsBook();
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
      case "Estimated":
        this.#estimate(args.feeder, args.lot, args.meterId, args.energies);
        break;
      case "PlantCleared": {
        const clearing = this.#clearing(args.feeder, args.lot);
        const supply =
          clearing.plants.get(args.meterId) ??
          this.#supply(
            args.feeder,
            clearing,
            await this.#signed(STAGE.PLANT, args.feeder, args.lot, args.meterId, log),
          );
        clearing.plants.set(args.meterId, supply);
        clearing.plant = log.transactionHash;
        this.#expect(args.feeder, args.lot, `plant ${args.meterId} sent`, sum(supply.energies!), args.energy);
        break;
      }
      case "DistributorCleared": {
        const clearing = this.#clearing(args.feeder, args.lot);
        clearing.received ??= this.#supply(
          args.feeder,
          clearing,
          await this.#signed(STAGE.DISTRIBUTOR, args.feeder, args.lot, args.meterId, log),
        );
        clearing.distributor = log.transactionHash;
        this.#price(args.feeder, clearing);
        this.#expect(
          args.feeder,
          args.lot,
          "the distributor received",
          sum(clearing.received.energies!),
          args.received,
        );
        break;
      }
      case "PlantPaid": {
        const { charter } = this.#clearing(args.feeder, args.lot);
        const plant = charter.plants.find(({ meterId }) => meterId === args.meterId)!;
        this.accounts.charge(charter.distributor!.account, plant.account, args.paid);
        break;
      }
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
    if (!cursors.has(Number(account))) cursors.set(Number(account), fromLot - 1n);
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
      estimated: false,
      corrected: 0,
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

  /**
   * A plant's or the distributor's lots: each cut to capacity; what the reading says about lots that were closed
   * without it, less what was estimated, goes into the first open lot, and what does not fit there into the next.
   */
  #supply(feeder: Hex, clearing: OpenClearing, signed: SignedReading): Supply {
    const book = this.#book(feeder);
    const account = supplierOf(clearing.charter, signed.reading.meterId);
    const lots = lotsOf(clearing);
    let carried = book.carried.get(account) ?? 0n;
    for (let lot = book.cursors.get(account)! + 1n; lot < lots[0]!; lot++) carried += this.#energy(signed, lot);
    const energies = lots.map((lot, i) => {
      const measured = this.#energy(signed, lot);
      if (carried === 0n) return measured;
      const wanted = measured + carried;
      const energy = wanted < 0n ? 0n : wanted > MAX_ENERGY ? MAX_ENERGY : wanted;
      carried = wanted - energy;
      clearing.corrected = Math.max(clearing.corrected, i + 1);
      return energy;
    });
    book.carried.set(account, carried);
    book.cursors.set(account, clearing.last);
    return { signed, energies };
  }

  /** A silent meter's energies, as the regulator estimates them; empty where it was gone on without. */
  #estimate(feeder: Hex, last: bigint, meterId: Hex, bytes: Hex): void {
    const clearing = this.#clearing(feeder, last);
    clearing.estimated = true;
    const isDistributor = clearing.charter.distributor?.meterId === meterId;
    let energies: bigint[] | undefined;
    if (bytes !== "0x") energies = decodeEnergies(bytes);
    else if (!isDistributor) energies = lotsOf(clearing).map(() => 0n);
    const supply = { signed: undefined, energies };
    if (isDistributor) clearing.received = supply;
    else clearing.plants.set(meterId, supply);
    if (energies) this.#carry(feeder, clearing, meterId, -sum(energies));
  }

  #carry(feeder: Hex, { charter }: OpenClearing, meterId: Hex, energy: bigint): void {
    const { carried } = this.#book(feeder);
    const account = supplierOf(charter, meterId);
    carried.set(account, (carried.get(account) ?? 0n) + energy);
  }

  /** Prices each lot of a clearing once the distributor's energies are known. */
  #price(feeder: Hex, clearing: OpenClearing): void {
    const book = this.#book(feeder);
    const { received, charter } = clearing;
    if (received && !received.energies) {
      const kept = BPS - BigInt(charter.terms.idealLossBps);
      received.energies = lotsOf(clearing).map((_, i) => {
        const sent = sum(charter.plants.map(({ meterId }) => clearing.plants.get(meterId)!.energies![i]!));
        const ideal = (sent * kept) / BPS;
        return ideal > MAX_ENERGY ? MAX_ENERGY : ideal;
      });
      this.#carry(feeder, clearing, charter.distributor!.meterId, -sum(received.energies));
    }
    for (const [i, lot] of lotsOf(clearing).entries()) {
      book.prices.set(lot, this.#clear(clearing, i, []).pricePerKWh);
      book.payees.set(lot, charter.distributor!.account);
    }
  }

  #clear(
    { charter, plants, received, estimated, corrected }: OpenClearing,
    i: number,
    used: readonly bigint[],
  ): ClearedLot {
    return clearLot({
      plants: charter.plants.map(({ meterId, pricePerKWh }) => ({
        energy: plants.get(meterId)!.energies![i]!,
        pricePerKWh,
      })),
      received: received!.energies![i]!,
      used,
      terms: { ...charter.terms, penaltyWaived: estimated || i < corrected },
    });
  }

  #charge(feeder: Hex, meterId: Hex, lot: bigint, signed: SignedReading, charged: bigint): void {
    const book = this.#book(feeder);
    const account = this.#clearing(feeder, lot).charter.consumers.find((member) => member.meterId === meterId)!.account;
    const money = moneyOf(book, account);
    const parts = book.used.get(account) ?? new Map<bigint, MeterLot>();
    book.used.set(account, parts);
    let total = 0n;
    for (let at = (book.cursors.get(account) ?? lotBefore(signed.reading)) + 1n; at <= lot; at++) {
      const energy = this.#energy(signed, at);
      const part = { meterId, energy, money: money.add(energy, book.prices.get(at) ?? 0n), signed };
      parts.set(at, part);
      total += part.money;
      this.accounts.charge(account, book.payees.get(at)!, part.money);
    }
    this.#expect(feeder, lot, `meter ${meterId} was charged`, total, charged);
    book.cursors.set(account, lot);
  }

  #expect(feeder: Hex, lot: bigint, what: string, ours: bigint, chains: bigint): void {
    if (ours !== chains)
      throw disagrees(
        `feeder ${this.#book(feeder).name}, lot ${lot}: ${what} ${chains} says the chain; the records make it ${ours}`,
      );
  }

  #close(feeder: Hex, last: bigint): LotStatement[] {
    const book = this.#book(feeder);
    const clearing = this.#clearing(feeder, last);
    const { charter, plants, received, open, plant, distributor, consumers: transactions } = clearing;
    const part = (member: Member, supply: Supply, i: number, pricePerKWh: bigint): MeterLot => {
      const energy = supply.energies![i]!;
      const money = moneyOf(book, member.account).add(energy, pricePerKWh);
      return { meterId: member.meterId, energy, money, signed: supply.signed };
    };
    const statements = lotsOf(clearing).map((lot, i): LotStatement => {
      const consumers = charter.consumers.map(({ meterId, account }) => ({
        meterId,
        part: book.used.get(account)?.get(lot) ?? null,
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
          i,
          consumers.map((consumer) => consumer.part?.energy ?? 0n),
        ),
        plants: charter.plants.map((member) => part(member, plants.get(member.meterId)!, i, member.pricePerKWh)),
        distributor: part(charter.distributor!, received!, i, 0n),
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
    payees: new Map(),
    used: new Map(),
    cursors: new Map(),
    carried: new Map(),
    money: new Map(),
  };
}

function moneyOf(book: FeederBook, account: number): Money {
  const money = book.money.get(account) ?? new Money();
  book.money.set(account, money);
  return money;
}

function supplierOf({ distributor, plants }: Charter, meterId: Hex): number {
  if (distributor?.meterId === meterId) return distributor.account;
  return plants.find((plant) => plant.meterId === meterId)!.account;
}

const sum = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);

function lotsOf({ last, lots }: OpenClearing): bigint[] {
  return Array.from({ length: lots }, (_, i) => last - BigInt(lots - 1 - i));
}

const disagrees = (message: string) => new BijuliError("ledger-disagrees", message);
