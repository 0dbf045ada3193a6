import type { LogDescription } from "ethers";
import type { AccountsBook } from "../ledger/index.ts";
import { Seats } from "./seats.ts";
import { type Store, type StoredLog, stored } from "./store.ts";

/** What can stand on an account's statement. */
export type EntryKind =
  | "deposit"
  | "withdrawal"
  | "plant-paid"
  | "plants-due"
  | "charge"
  | "consumers-owe"
  | "unpaid"
  | "arrears"
  | "arrears-paid"
  | "collected";

const less = (amount: bigint): bigint => -amount;

/**
 * Every account's statement, from the events that moved its ether. What a distributor pays its plants, or gets from
 * its consumers, in one clearing is one line.
 */
export class Entries {
  readonly #store: Store;
  readonly #seats: Seats;
  readonly #book: () => AccountsBook;

  constructor(store: Store, book: () => AccountsBook) {
    this.#store = store;
    this.#seats = new Seats(store);
    this.#book = book;
  }

  /** After the ledger has taken the event. */
  take({ name, args }: LogDescription, log: StoredLog, place: bigint): void {
    const add = (account: bigint, kind: EntryKind, amount: bigint, other?: bigint) =>
      this.#add(account, { kind, amount, other, lot: args.lot, place }, log);
    switch (name) {
      case "Deposited":
        add(args.account, "deposit", args.amount);
        break;
      case "Withdrawn":
        add(args.account, "withdrawal", less(args.amount));
        break;
      case "PlantPaid": {
        const [plant, distributor] = [
          this.#seats.accountOf(args.meterId, args.lot),
          this.#seats.distributorOf(args.feeder, args.lot),
        ];
        if (args.paid === 0n || plant === undefined || distributor === undefined) return;
        add(plant, "plant-paid", args.paid, distributor);
        add(distributor, "plants-due", less(args.paid));
        break;
      }
      case "ConsumerCleared": {
        const [consumer, distributor] = [
          this.#seats.accountOf(args.meterId, args.lot),
          this.#seats.distributorOf(args.feeder, args.lot),
        ];
        if (args.charged === 0n || consumer === undefined || distributor === undefined) return;
        add(consumer, "charge", less(args.charged), distributor);
        add(distributor, "consumers-owe", args.charged);
        break;
      }
      case "ArrearsGrown":
        // What could not be paid comes back to the debtor's balance and is missing from the creditor's.
        add(args.debtor, "arrears", args.amount, args.creditor);
        add(args.creditor, "unpaid", less(args.amount), args.debtor);
        break;
      case "ArrearsPaid":
        this.#refreshCreditors(args.debtor);
        add(args.debtor, "arrears-paid", less(args.amount));
        break;
      case "ClaimCollected":
        this.#refresh(args.debtor);
        add(args.creditor, "collected", args.amount, args.debtor);
        break;
    }
  }

  #add(
    account: bigint,
    entry: { kind: EntryKind; amount: bigint; other: bigint | undefined; lot: bigint | undefined; place: bigint },
    log: StoredLog,
  ): void {
    const { kind, amount, other, lot, place } = entry;
    const balance = this.#refresh(account);
    const same =
      kind === "plants-due" || kind === "consumers-owe"
        ? this.#store.get(
            "select place, amount, parts from entry where account = ? and lot = ? and kind = ?",
            account,
            lot!,
            kind,
          )
        : undefined;
    this.#store.put("entry", {
      account,
      place: same?.place ?? place,
      lot: lot ?? null,
      kind,
      amount: stored(amount + BigInt((same?.amount as bigint | string | undefined) ?? 0n)),
      other: other ?? null,
      parts: Number(same?.parts ?? 0) + 1,
      balance: stored(balance),
      time: log.time,
      tx: log.tx,
    });
  }

  /** Writes down how an account stands. @returns its balance */
  #refresh(account: bigint): bigint {
    const book = this.#book();
    const balance = book.balanceOf(Number(account));
    const { owed, pot } = book.arrearsOf(Number(account));
    this.#store.run(
      `update account set balance = ?, owed = ?, pot = ?, reserve_low = case when ? > coalesce(balance, 0) then 0 else reserve_low end
       where id = ?`,
      stored(balance),
      stored(owed),
      stored(pot),
      stored(balance),
      account,
    );
    return balance;
  }

  /** A debtor's payment may go straight to its creditor, whose balance no event of its own tells. */
  #refreshCreditors(debtor: bigint): void {
    for (const { other } of this.#store.all(
      "select distinct other from entry where account = ? and kind = 'arrears'",
      debtor,
    ))
      this.#refresh(other as bigint);
  }
}
