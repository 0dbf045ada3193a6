import { AccountsBook, originOf } from "@bijuli/dashboard/ledger";
import { energyOf, type Hex, Money } from "@bijuli/protocol";
import { type ConsumerPart, sumOf } from "./bill.ts";
import { type PricedLot, same } from "./clearings.ts";
import type { ProvenEvent } from "./evidence-events.ts";
import type { AccountStand } from "./market-state.ts";
import type { ReadingBook } from "./reading-book.ts";
import { DoesNotHold } from "./witness.ts";

/** How an account stood before the bill's transactions, and how it stands after them. */
export interface Span {
  account: number;
  before: AccountStand;
  after: AccountStand;
}

/** One consumer's lots between two stands. */
export interface ConsumerCharges {
  account: number;
  parts: Map<bigint, ConsumerPart>;
}

/**
 * Charges a consumer for the lots between two proven stands, from its readings and the lots' prices: cursor, register
 * and the part below one wei lead without a gap from the one to the other, so no lot can be missing or stand twice.
 * @param meters its meter, and those that took its place: each with the first lot that it is read for
 */
export function chargeConsumer(
  meters: ReadonlyMap<Hex, bigint>,
  { account, before, after }: Span,
  lots: ReadonlyMap<bigint, PricedLot>,
  readings: ReadingBook,
  events: readonly ProvenEvent[],
): ConsumerCharges {
  const parts = new Map<bigint, ConsumerPart>();
  const money = new Money(before.remainder);
  let { cursor, register } = before;
  let anchored = !before.fresh;
  let read: Hex | undefined;
  for (const { args, input, transaction } of events) {
    const { lot: last, meterId } = args as unknown as { lot: bigint; meterId: Hex };
    const from = meters.get(meterId);
    // a meter's lots before and behind these are those of another account, which had it or has it
    if (from === undefined || last <= before.cursor || last > after.cursor) continue;
    const other = read === undefined ? after.replacedFrom === from : read !== meterId;
    if (cursor + 1n < from || (cursor + 1n === from && other)) {
      // another meter's first reading: its register is its own, and what the old one never read is given up
      cursor = from - 1n;
      anchored = false;
    }
    read = meterId;
    const signed = readings.of(meterId, last, cursor + 1n);
    readings.delivered(signed, input, transaction.hash);
    if (anchored) readings.continues(signed, cursor, register);
    let energy = 0n;
    let charged = 0n;
    for (let lot = cursor + 1n; lot <= last; lot++) {
      const priced = lots.get(lot);
      if (!priced) throw new DoesNotHold(`lot ${lot}: the consumer ${account} is charged for it, and it is not here`);
      const used = readings.energy(signed, lot);
      const part: ConsumerPart = {
        account,
        meterId,
        energy: used,
        money: money.add(used, priced.cleared.pricePerKWh),
        quality: signed.reading.quality,
        origin: originOf(used, priced.plants),
      };
      parts.set(lot, part);
      energy += used;
      charged += part.money;
      register += energyOf(signed.reading, lot);
    }
    if (!anchored) register = signed.reading.forward;
    anchored = true;
    same(last, `the energy of meter ${meterId}`, energy, args.energy);
    same(last, `what meter ${meterId} was charged`, charged, args.charged);
    cursor = last;
  }
  same(after.cursor, `account ${account}'s last lot`, cursor, after.cursor);
  if (anchored) same(cursor, `account ${account}'s register`, register, after.register);
  same(cursor, `account ${account}'s part below one wei`, money.remainder, after.remainder);
  return { account, parts };
}

/**
 * What a plant is owed for the settled lots, from its energies and its price.
 * @param settled the lots settled between the two stands, oldest first
 * @returns lot → wei
 */
export function payPlant(
  { account, before, after }: Span,
  settled: readonly PricedLot[],
  events: readonly ProvenEvent[],
): Map<bigint, bigint> {
  const money = new Money(before.remainder);
  const paid = new Map<bigint, bigint>();
  const clearings = new Map<bigint, { meterId: Hex; due: bigint }>();
  for (const { lot, plants, clearing } of settled) {
    const plant = plants.find((one) => one.account === account);
    if (!plant) continue;
    const due = money.add(plant.energy, plant.pricePerKWh);
    paid.set(lot, due);
    const { last } = clearing.proven;
    clearings.set(last, { meterId: plant.meterId, due: (clearings.get(last)?.due ?? 0n) + due });
  }
  for (const [last, { meterId, due }] of clearings) {
    const event = events.find(({ args }) => args.lot === last && args.meterId === meterId);
    if (!event)
      throw new DoesNotHold(`the clearing that ends with lot ${last}: what plant ${meterId} was paid is missing`);
    same(last, `what plant ${meterId} was paid`, due, event.args.paid);
  }
  same(settled.at(-1)?.lot ?? 0n, `account ${account}'s part below one wei`, money.remainder, after.remainder);
  return paid;
}

/**
 * Leads the account's ether from its opening to its closing through the events between, and holds it against the
 * chain's state: no deposit, withdrawal or debt can be missing.
 * @param spans the account's own first, then those of its debtors
 */
export function balance(
  spans: readonly Span[],
  events: readonly ProvenEvent[],
  charges: readonly ConsumerCharges[],
  lots: ReadonlyMap<bigint, PricedLot>,
): { deposited: bigint; withdrawn: bigint } {
  const book = new AccountsBook();
  for (const { account, before } of spans) book.open(account, before);
  const cursors = new Map(charges.map(({ account, parts }): [number, bigint[]] => [account, [...parts.keys()]]));
  for (const { name, args } of events) {
    switch (name) {
      case "ConsumerCleared": {
        const { account, parts } = charges.find(({ parts: all }) => all.get(args.lot)?.meterId === args.meterId)!;
        const left = cursors.get(account)!;
        while (left.length > 0 && left[0]! <= args.lot) {
          const lot = left.shift()!;
          book.charge(account, lots.get(lot)!.clearing.charter.distributor.account, parts.get(lot)!.money);
        }
        break;
      }
      case "PlantPaid": {
        const { plants, clearing } = lots.get(args.lot)!;
        const { account } = plants.find(({ meterId }) => meterId === args.meterId)!;
        book.charge(clearing.charter.distributor.account, account, args.paid);
        break;
      }
      case "Deposited":
        book.deposit(Number(args.account), args.amount);
        break;
      case "Withdrawn":
        book.withdraw(Number(args.account), args.amount);
        break;
      case "ArrearsGrown":
        book.arrearsGrown(Number(args.debtor), Number(args.creditor), args.amount);
        break;
      case "ArrearsPaid":
        book.arrearsPaid(Number(args.debtor), args.amount);
        break;
      case "ClaimCollected":
        book.claimCollected(Number(args.debtor), Number(args.creditor), args.amount);
        break;
    }
  }
  spans.forEach(({ account, after }, i) => {
    const { owed, pot } = book.arrearsOf(account);
    if (i === 0) agree(account, "balance", book.balanceOf(account), after.balance);
    agree(account, "arrears", owed, after.owed);
    agree(account, "payments not yet collected", pot, after.pot);
  });
  const total = (name: string) =>
    sumOf(events.flatMap((event) => (event.name === name ? [event.args.amount as bigint] : [])));
  return { deposited: total("Deposited"), withdrawn: total("Withdrawn") };
}

function agree(account: number, what: string, ours: bigint, chains: bigint): void {
  if (ours !== chains) {
    throw new DoesNotHold(`account ${account}: its ${what} is ${chains} wei on the chain; the events make it ${ours}`);
  }
}
