import { BijuliError, energyOf, type Hex, lotBefore, Money, type SignedReading } from "@bijuli/protocol";
import type { AccountsBook } from "./accounts.ts";
import type { Capacities } from "./capacities.ts";
import { CharterHistory, type Member } from "./charters.ts";
import { Clearing, type Supply } from "./clearing.ts";
import type { LatePart, LotStatement, MeterLot } from "./statement.ts";
import { Supplies, sum } from "./supplies.ts";

/** One feeder: its charters, its open clearings, its lots' prices, and what each of its accounts was billed. */
export class FeederBook {
  readonly feeder: Hex;
  readonly name: string;
  readonly charters = new CharterHistory();
  readonly #accounts: AccountsBook;
  readonly #capacities: Capacities;
  readonly #supplies: Supplies;
  /** last lot → clearing, until it is closed. */
  readonly #open = new Map<bigint, Clearing>();
  /** The lots of open clearings. */
  readonly #openLots = new Set<bigint>();
  /** lot → price, as recomputed; what consumers that come late are charged by. */
  readonly #prices = new Map<bigint, bigint>();
  /** account → lot → part, of consumers in open clearings. */
  readonly #used = new Map<number, Map<bigint, MeterLot>>();
  /** account → the last lot that it was charged for. */
  readonly #cursors = new Map<number, bigint>();
  readonly #money = new Map<number, Money>();
  /** Clearings that are closed by a consumer whose own event comes behind: last lot → Units used, transaction. */
  readonly #closing = new Map<bigint, { used: bigint; transaction: Hex }>();
  /** account → the first lot of the consumer's meter that takes the place of another, until it is read. */
  readonly #replaced = new Map<number, bigint>();

  constructor(feeder: Hex, name: string, accounts: AccountsBook, capacities: Capacities) {
    this.feeder = feeder;
    this.name = name;
    this.#accounts = accounts;
    this.#capacities = capacities;
    this.#supplies = new Supplies(capacities);
  }

  seatSupplier(account: number, fromLot: bigint): void {
    this.#supplies.seat(account, fromLot);
  }

  /** A consumer's cursor begins at the lot before its first. */
  seatConsumer(account: number, fromLot: bigint): void {
    if (!this.#cursors.has(account)) this.#cursors.set(account, fromLot - 1n);
  }

  /** From a lot on, another meter is read in an account's place; a consumer's lots that the old one never read are lost. */
  replaceMeter(account: number, meterId: Hex, fromLot: bigint): void {
    this.charters.replaceConsumer(account, meterId);
    this.#supplies.replace(account, fromLot);
    this.#replaced.set(account, fromLot);
  }

  open(last: bigint, lots: number, transaction: Hex): void {
    const charter = this.charters.at(last);
    if (!charter) throw this.#disagrees(`lot ${last} was opened before any charter held`);
    const clearing = new Clearing(charter, last, lots, transaction);
    this.#open.set(last, clearing);
    for (const lot of clearing.lots) this.#openLots.add(lot);
  }

  clearing(last: bigint): Clearing {
    const clearing = this.#open.get(last);
    if (!clearing) throw this.#disagrees(`no clearing that ends with lot ${last} is open`);
    return clearing;
  }

  estimate(last: bigint, meterId: Hex, energies: Hex): void {
    this.#supplies.estimate(this.clearing(last), meterId, energies);
  }

  /** @param signed finds the plant's record; not asked when it was estimated */
  async plantCleared(
    last: bigint,
    meterId: Hex,
    energy: bigint,
    signed: () => Promise<SignedReading>,
    transaction: Hex,
  ): Promise<void> {
    const clearing = this.clearing(last);
    const supply = clearing.plants.get(meterId) ?? this.#supplies.measured(clearing, await signed());
    clearing.plants.set(meterId, supply);
    clearing.transactions.plant = transaction;
    this.#expect(last, `plant ${meterId} sent`, sum(supply.energies!), energy);
  }

  /** Prices each lot of the clearing. @param signed finds the distributor's record; not asked when it was estimated */
  async distributorCleared(
    last: bigint,
    received: bigint,
    signed: () => Promise<SignedReading>,
    transaction: Hex,
  ): Promise<void> {
    const clearing = this.clearing(last);
    clearing.received ??= this.#supplies.measured(clearing, await signed());
    clearing.transactions.distributor = transaction;
    this.#supplies.assumeIdeal(clearing);
    clearing.lots.forEach((lot, i) => {
      this.#prices.set(lot, clearing.clear(i, []).pricePerKWh);
    });
    this.#expect(last, "the distributor received", sum(clearing.received.energies!), received);
  }

  plantPaid(last: bigint, meterId: Hex, paid: bigint): void {
    const clearing = this.clearing(last);
    this.#accounts.charge(clearing.charter.distributor!.account, clearing.supplier(meterId), paid);
  }

  /**
   * @returns late: the parts of lots whose clearings had been closed without this consumer; closed: the lots of those that
   * it closes itself
   */
  consumerCleared(
    last: bigint,
    meterId: Hex,
    charged: bigint,
    { reading, signature }: SignedReading,
    transaction: Hex,
  ): { late: LatePart[]; closed: LotStatement[] } {
    const member = this.charters.at(last)?.consumers.find((consumer) => consumer.meterId === meterId);
    if (!member) throw this.#disagrees(`meter ${meterId} was cleared in lot ${last}, where it is no consumer`);
    const { account } = member;
    const money = this.#moneyOf(account);
    const parts = this.#used.get(account) ?? new Map<bigint, MeterLot>();
    this.#used.set(account, parts);
    const replacedFrom = this.#replaced.get(account);
    if (replacedFrom !== undefined && last >= replacedFrom) {
      this.#replaced.delete(account);
      this.#cursors.set(account, replacedFrom - 1n);
    }
    const late: LatePart[] = [];
    let total = 0n;
    for (let lot = (this.#cursors.get(account) ?? lotBefore(reading)) + 1n; lot <= last; lot++) {
      const energy = this.#capacities.cut(meterId, lot, energyOf(reading, lot));
      const part: MeterLot = {
        meterId,
        energy,
        money: money.add(energy, this.#prices.get(lot) ?? 0n),
        signed: { reading, signature },
      };
      if (this.#openLots.has(lot)) parts.set(lot, part);
      else late.push({ feeder: this.feeder, name: this.name, lot, account, part, transaction });
      total += part.money;
      this.#accounts.charge(account, this.charters.at(lot)!.distributor!.account, part.money);
    }
    this.#expect(last, `meter ${meterId} was charged`, total, charged);
    this.#cursors.set(account, last);
    const transactions = this.#open.get(last)?.transactions.consumers;
    if (transactions && transactions.at(-1) !== transaction) transactions.push(transaction);
    const closed = [...this.#closing].flatMap(([lot, { used }]) => this.close(lot, used, transaction));
    return { late, closed };
  }

  /**
   * A consumer that catches up closes earlier clearings before the event that tells what it used: then the lots come with
   * that event.
   * @param used what all consumers used, in Units, as the chain counts it
   * @returns the clearing's lots, oldest first
   */
  close(last: bigint, used: bigint, transaction: Hex): LotStatement[] {
    const clearing = this.clearing(last);
    let known = 0n;
    for (const parts of this.#used.values()) for (const lot of clearing.lots) known += parts.get(lot)?.energy ?? 0n;
    if (known !== used) {
      const waits = this.#closing.get(last);
      if (waits && waits.transaction !== transaction) this.#expect(last, "the consumers used", known, used);
      this.#closing.set(last, { used, transaction });
      return [];
    }
    this.#closing.delete(last);
    const { charter, plants, received, transactions, lots } = clearing;
    const part = (member: Member, supply: Supply, i: number, pricePerKWh: bigint): MeterLot => {
      const energy = supply.energies![i]!;
      const money = this.#moneyOf(member.account).add(energy, pricePerKWh);
      return { meterId: member.meterId, energy, money, signed: supply.signed };
    };
    const statements = lots.map((lot, i): LotStatement => {
      const consumers = charter.consumers.map(({ meterId, account }) => ({
        meterId,
        part: this.#used.get(account)?.get(lot) ?? null,
      }));
      return {
        feeder: this.feeder,
        name: this.name,
        lot,
        clearing: last,
        lots: lots.length,
        terms: charter.terms,
        cleared: clearing.clear(
          i,
          consumers.map((consumer) => consumer.part?.energy ?? 0n),
        ),
        plants: charter.plants.map((member) => part(member, plants.get(member.meterId)!, i, member.pricePerKWh)),
        distributor: part(charter.distributor!, received!, i, 0n),
        consumers,
        transactions,
      };
    });
    // What is closed is kept by whoever wants it: the ledger itself needs its prices only, for those who come late.
    this.#open.delete(last);
    for (const lot of lots) {
      this.#openLots.delete(lot);
      for (const parts of this.#used.values()) parts.delete(lot);
    }
    return statements;
  }

  #moneyOf(account: number): Money {
    const money = this.#money.get(account) ?? new Money();
    this.#money.set(account, money);
    return money;
  }

  #expect(lot: bigint, what: string, ours: bigint, chains: bigint): void {
    if (ours !== chains) {
      throw this.#disagrees(`lot ${lot}: ${what} ${chains} says the chain; the records make it ${ours}`);
    }
  }

  #disagrees(message: string): BijuliError {
    return new BijuliError("ledger-disagrees", `feeder ${this.name}: ${message}`);
  }
}
