import type { Hex } from "@bijuli/protocol";
import type { Store } from "./store.ts";

/** Behind every lot. */
const NEVER = 2n ** 62n;

/**
 * Which meter is read in whose place, in which lots. A meter is in one place at a time; when an account has left, another
 * may bring the same meter, before the last lots of the one that was are cleared.
 */
export class Seats {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** From a lot on an account takes part, with the meter that it has. */
  take(account: bigint, fromLot: bigint): void {
    const known = this.#store.get("select meter, listed from account where id = ?", account);
    if (known === undefined || known.listed === 1n) return;
    this.#store.run("update account set listed = 1 where id = ?", account);
    this.#store.put("seat", { account, from_lot: fromLot, meter: known.meter as string });
  }

  /** From a lot on another meter is read in an account's place. */
  replace(account: bigint, meter: Hex, fromLot: bigint): void {
    this.#store.put("seat", { account, from_lot: fromLot, meter });
    this.#store.run("update account set meter = ? where id = ?", meter, account);
  }

  leave(account: bigint, fromLot: bigint): void {
    this.#store.run("update account set listed = 0, left_from = ? where id = ?", fromLot, account);
  }

  /** Whose meter is read in a lot. */
  accountOf(meter: Hex, lot: bigint): bigint | undefined {
    const sql = "select account from seat where meter = ? and from_lot <= ? order by from_lot desc limit 1";
    return this.#store.get(sql, meter, lot)?.account as bigint | undefined;
  }

  /** Who is a feeder's distributor in a lot: the next one may be named already. */
  distributorOf(feeder: Hex, lot: bigint): bigint | undefined {
    return this.#store.get(
      `select a.id from account a join seat t on t.account = a.id
       where a.feeder = ?1 and a.role = 1 and t.from_lot <= ?2 and (a.left_from is null or a.left_from > ?2) limit 1`,
      feeder,
      lot,
    )?.id as bigint | undefined;
  }

  /** The feeder in which a meter was read last. */
  feederOf(meter: Hex): Hex | undefined {
    const account = this.accountOf(meter, NEVER);
    if (account === undefined) return undefined;
    return this.#store.get("select feeder from account where id = ?", account)?.feeder as Hex | undefined;
  }

  /** The first and the last cleared lot of each of an account's meters while it was its own, in their order. */
  cleared(account: number): bigint[] {
    const seats = this.#store.all(
      `select m.number, t.from_lot, coalesce(
           (select min(from_lot) from seat where account = t.account and from_lot > t.from_lot), a.left_from, ?) as until
       from seat t join account a on a.id = t.account join meter m on m.id = t.meter
       where t.account = ? order by t.from_lot`,
      NEVER,
      account,
    );
    return seats.flatMap(({ number, from_lot, until }) =>
      ["min", "max"].flatMap((end) => {
        const sql = `select ${end}(lot) as lot from part where meter = ? and lot >= ? and lot < ?`;
        return (this.#store.get(sql, number!, from_lot!, until!)?.lot as bigint | null) ?? [];
      }),
    );
  }
}
