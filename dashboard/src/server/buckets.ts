import { type Hex, lotStart } from "@bijuli/protocol";
import type { LotStatement, MeterLot } from "../ledger/index.ts";
import { Seats } from "./seats.ts";
import { type Row, type Store, stored } from "./store.ts";

const HOUR = 3_600n;
const DAY = 86_400n;
/** Seconds of a bucket; the finest is as long as a lot at least. */
export const SPANS = [HOUR, DAY] as const;

const int = (value: Row[string] | undefined): bigint => BigInt((value as bigint | string | null | undefined) ?? 0n);
const high = (a: bigint, b: bigint) => (a > b ? a : b);

/** Sums by the hour and the day: a chart of a year reads hundreds of rows and not a hundred thousand. */
export class Buckets {
  readonly #store: Store;
  readonly #seats: Seats;
  readonly #lotSeconds: number;

  constructor(store: Store, lotSeconds: number) {
    this.#store = store;
    this.#seats = new Seats(store);
    this.#lotSeconds = lotSeconds;
  }

  add(lots: readonly LotStatement[]): void {
    for (const span of SPANS) {
      const groups = new Map<bigint, LotStatement[]>();
      for (const lot of lots) {
        const start = this.#start(lot.lot, span);
        groups.set(start, [...(groups.get(start) ?? []), lot]);
      }
      for (const [start, group] of groups) this.#bucket(span, start, group);
    }
    this.#days(lots);
  }

  /** What an account used or produced in a day. */
  accountDay(account: number, lot: bigint, part: Pick<MeterLot, "energy" | "money">, lots = 1): void {
    const day = this.#start(lot, DAY);
    const old = this.#store.get("select * from account_day where account = ? and day = ?", account, day);
    this.#store.put("account_day", {
      account,
      day,
      lots: int(old?.lots) + BigInt(lots),
      energy: stored(int(old?.energy) + part.energy),
      money: stored(int(old?.money) + part.money),
    });
  }

  #start(lot: bigint, span: bigint): bigint {
    const at = lotStart(lot, this.#lotSeconds);
    return at - (at % span);
  }

  #bucket(span: bigint, start: bigint, lots: readonly LotStatement[]): void {
    const { feeder } = lots[0]!;
    const old = this.#store.get(
      "select * from bucket where feeder = ? and span = ? and start = ?",
      feeder,
      span,
      start,
    );
    const total = (of: (lot: LotStatement) => bigint) => lots.reduce((sum, lot) => sum + of(lot), 0n);
    const prices = lots.map(({ cleared }) => cleared.pricePerKWh);
    const losses = lots.map(({ cleared }) => cleared.actualLoss);
    const lowest = prices.reduce((a, b) => (a < b ? a : b));
    this.#store.put("bucket", {
      feeder,
      span,
      start,
      lots: int(old?.lots) + BigInt(lots.length),
      sent: stored(int(old?.sent) + total(({ cleared }) => cleared.sent)),
      received: stored(int(old?.received) + total(({ distributor }) => distributor.energy)),
      available: stored(int(old?.available) + total(({ cleared }) => cleared.available)),
      delivered: stored(int(old?.delivered) + total(({ cleared }) => cleared.delivered)),
      unaccounted: stored(int(old?.unaccounted) + total(({ cleared }) => cleared.unaccounted)),
      overdrawn: stored(int(old?.overdrawn) + total(({ cleared }) => cleared.overdrawn)),
      // Units · wei per kWh: the mean price is this divided by what was available.
      value: (int(old?.value) + total(({ cleared }) => cleared.available * cleared.pricePerKWh)).toString(),
      price_low: stored(old && int(old.price_low) < lowest ? int(old.price_low) : lowest),
      price_high: stored(high(int(old?.price_high), prices.reduce(high))),
      loss_high: stored(high(int(old?.loss_high), losses.reduce(high))),
      alarms: int(old?.alarms) + BigInt(lots.filter(({ cleared }) => cleared.excessLoss > 0n).length),
    });
  }

  #days(lots: readonly LotStatement[]): void {
    const sums = new Map<string, { meter: Hex; lot: bigint; energy: bigint; money: bigint; lots: number }>();
    // A clearing's lots are of one charter: whose meter it is in the first, it is in all of them.
    for (const { lot, plants, distributor, consumers } of lots) {
      for (const part of [...plants, distributor, ...consumers.flatMap(({ part }) => (part ? [part] : []))]) {
        const key = `${part.meterId}/${this.#start(lot, DAY)}`;
        const sum = sums.get(key) ?? { meter: part.meterId, lot, energy: 0n, money: 0n, lots: 0 };
        sum.energy += part.energy;
        sum.money += part.money;
        sum.lots++;
        sums.set(key, sum);
      }
    }
    for (const { meter, lot, lots, ...sum } of sums.values()) {
      const account = this.#seats.accountOf(meter, lot);
      if (account !== undefined) this.accountDay(Number(account), lot, sum, lots);
    }
  }
}
