import { BPS, type Hex, lotEnd, lotOf, lotStart, qualityNames, WAD } from "@bijuli/protocol";
import {
  accountOf,
  bucketOf,
  clearingOf,
  entryOf,
  int,
  lotBeforeOf,
  lotBucketOf,
  lotOfRow,
  maxOf,
  maybe,
  mergeRows,
  minOf,
  momentOf,
  num,
  ROLES,
  termsOf,
  text,
} from "./rows.ts";
import { Seats } from "./seats.ts";
import type {
  AccountDetailJson,
  AccountJson,
  AlarmJson,
  BucketJson,
  ClearingJson,
  FeederJson,
  FeederSummary,
  LotDetailJson,
  LotJson,
  LotPartJson,
  MemberJson,
  MeterJson,
  Page,
  SeriesJson,
  SignedReadingJson,
} from "./shapes.ts";
import type { Row, Store } from "./store.ts";

const DAY = 86_400;
const HOUR = 3_600;
/** Pages of an account's statement, of alarms, of lots. */
export const PAGE = 50;

/** What the API answers, out of the store. Every answer is bounded: lists come in pages, series in points. */
export class Queries {
  readonly #store: Store;
  readonly #seats: Seats;
  readonly #lotSeconds: number;

  constructor(store: Store, lotSeconds: number) {
    this.#store = store;
    this.#seats = new Seats(store);
    this.#lotSeconds = lotSeconds;
  }

  feeders(): FeederSummary[] {
    return this.#store.all("select * from feeder order by number").map((row) => this.#summary(row));
  }

  feeder(id: Hex): FeederJson | undefined {
    const row = this.#store.get("select * from feeder where id = ?", id);
    if (row === undefined) return undefined;
    const summary = this.#summary(row);
    const day = this.#store.get(
      "select * from bucket where feeder = ? and span = ? order by start desc limit 1",
      id,
      DAY,
    );
    return {
      ...summary,
      terms: termsOf(row),
      openedLot: maybe(row.opened_lot),
      people: this.#people(id, summary.newest?.lot),
      day: day ? bucketOf(day, DAY) : null,
      alarms: this.#store
        .all(
          "select severity, count(*) as count from (select severity from alarm where feeder = ? order by place desc limit 500) group by severity",
          id,
        )
        .map((alarm) => ({ severity: num(alarm.severity), count: num(alarm.count) })),
      open: this.#store
        .all("select * from clearing where feeder = ? and stage < 3 order by last desc limit 20", id)
        .map((clearing) => clearingOf(clearing, null)),
    };
  }

  /** Newest first, from before a lot. */
  lots(feeder: Hex, before: bigint | undefined, limit: number): Page<LotJson> {
    const rows = this.#store.all(
      "select * from lot where feeder = ? and lot < ? order by lot desc limit ?",
      feeder,
      before ?? 2n ** 62n,
      limit,
    );
    return paged(rows.map(lotOfRow), limit, ({ lot }) => lot);
  }

  /** Clearings with where they stand, newest first. */
  clearings(feeder: Hex, before: bigint | undefined, limit: number): Page<ClearingJson> {
    const rows = this.#store.all(
      "select * from clearing where feeder = ? and last < ? order by last desc limit ?",
      feeder,
      before ?? 2n ** 62n,
      limit,
    );
    const items = rows.map((row) => clearingOf(row, this.#lotRow(feeder, row.last as bigint)));
    return paged(items, limit, ({ last }) => last);
  }

  /** At most `points` points: lots, or hours, days or several days where there are more of them. */
  series(feeder: Hex, from: number | undefined, to: number | undefined, points: number): SeriesJson {
    const terms = termsOf(this.#store.get("select * from feeder where id = ?", feeder));
    const ideal = terms === null ? "0" : ((BigInt(terms.idealLossBps) * WAD) / BPS).toString();
    const range = this.#store.get("select min(lot) as low, max(lot) as high from lot where feeder = ?", feeder);
    if (range?.low === null || range === undefined) return { resolution: "lot", ideal, points: [] };
    const low = maxOf(int(range.low), from === undefined ? 0n : lotOf(BigInt(from), this.#lotSeconds));
    const high = minOf(int(range.high), to === undefined ? 2n ** 62n : lotOf(BigInt(to), this.#lotSeconds));
    if (high - low < BigInt(points)) {
      const rows = this.#store.all(
        "select * from lot where feeder = ? and lot between ? and ? order by lot",
        feeder,
        low,
        high,
      );
      return { resolution: "lot", ideal, points: rows.map((row) => lotBucketOf(row, this.#lotSeconds)) };
    }
    const [first, last] = [Number(lotStart(low, this.#lotSeconds)), Number(lotEnd(high, this.#lotSeconds))];
    const span = (last - first) / HOUR <= points && this.#lotSeconds < HOUR ? HOUR : DAY;
    const rows = this.#store.all(
      "select * from bucket where feeder = ? and span = ? and start between ? and ? order by start",
      feeder,
      span,
      first - (first % span),
      last,
    );
    const group = Math.ceil(rows.length / points);
    const grouped: BucketJson[] = [];
    for (let i = 0; i < rows.length; i += group)
      grouped.push(bucketOf(mergeRows(rows.slice(i, i + group)), span * group));
    const resolution = span === HOUR ? "hour" : group === 1 ? "day" : `${group} days`;
    return { resolution, ideal, points: grouped };
  }

  lot(feeder: Hex, lot: bigint): LotDetailJson | undefined {
    const row = this.#store.get("select * from lot where feeder = ? and lot = ?", feeder, lot);
    const clearing =
      row && this.#store.get("select * from clearing where feeder = ? and last = ?", feeder, row.clearing!);
    const home = this.#store.get("select * from feeder where id = ?", feeder);
    if (row === undefined || clearing === undefined || home === undefined) return undefined;
    const members = this.#store.all(
      `select a.id as account, a.role, m.id as meter, m.number, m.from_lot, m.opening_forward, s.serial, t.from_lot as seated,
         (select capacity from capacity where meter = m.id and from_lot <= ?1 order by from_lot desc limit 1) as capacity
       from account a join seat t on t.account = a.id and t.from_lot =
         (select max(from_lot) from seat where account = a.id and from_lot <= ?1)
       join meter m on m.id = t.meter left join serial s on s.meter = m.id
       where a.feeder = ?2 and (a.left_from is null or a.left_from > ?1) order by a.role, a.id`,
      lot,
      feeder,
    );
    const charter = this.#store.get(
      "select * from charter where feeder = ? and from_lot <= ? order by from_lot desc limit 1",
      feeder,
      lot,
    );
    const prices = JSON.parse((charter?.prices as string | undefined) ?? "{}") as Record<string, string>;
    const next = (order: "asc" | "desc") =>
      maybe(
        this.#store.get(
          `select lot from lot where feeder = ? and lot ${order === "asc" ? ">" : "<"} ? order by lot ${order} limit 1`,
          feeder,
          lot,
        )?.lot,
      );
    return {
      feeder,
      name: home.name as string,
      lot: lotOfRow(row),
      clearing: clearingOf(clearing, null),
      chainPrice: null,
      terms: termsOf(charter)!,
      parts: members.flatMap((member) => this.#lotPart(member, lot, prices[text(member.account)] ?? null)),
      newer: next("asc"),
      older: next("desc"),
    };
  }

  alarms(filter: {
    feeder: Hex | undefined;
    kind: string | undefined;
    severity: number;
    before: string | undefined;
    limit: number;
  }): Page<AlarmJson> {
    const [place, nth] = (filter.before ?? `${2n ** 62n}.0`).split(".").map(BigInt);
    const rows = this.#store.all(
      `select a.*, s.serial, f.name from alarm a left join serial s on s.meter = a.meter left join feeder f on f.id = a.feeder
       where (?1 is null or a.feeder = ?1) and (?2 is null or a.kind = ?2) and a.severity >= ?3
         and (a.place, a.nth) < (?4, ?5) order by a.place desc, a.nth desc limit ?6`,
      filter.feeder ?? null,
      filter.kind ?? null,
      filter.severity,
      place!,
      nth ?? 0n,
      filter.limit,
    );
    const items = rows.map(
      (row): AlarmJson => ({
        id: `${row.place}.${row.nth}`,
        feeder: row.feeder as Hex | null,
        name: row.name as string | null,
        lot: maybe(row.lot),
        meter: row.meter as Hex | null,
        serial: row.serial as string | null,
        kind: row.kind as string,
        severity: num(row.severity),
        value: maybe(row.value),
        detail: {
          ...(JSON.parse(row.detail as string) as Record<string, string | number>),
          ...(row.kind === "quality" ? { bits: qualityNames(num(row.value)).join(", ") } : {}),
        },
        at: num(row.time),
        tx: row.tx as Hex,
      }),
    );
    return paged(items, filter.limit, ({ id }) => id);
  }

  accounts(after: number, limit: number): Page<AccountJson> {
    const rows = this.#store.all(`${ACCOUNTS} where a.id > ? order by a.id limit ?`, after, limit);
    return paged(rows.map(accountOf), limit, ({ account }) => String(account));
  }

  account(id: number, before: string | undefined, limit: number): AccountDetailJson | undefined {
    const row = this.#store.get(`${ACCOUNTS} where a.id = ?`, id);
    if (row === undefined) return undefined;
    const entries = this.#store
      .all(
        "select * from entry where account = ? and place < ? order by place desc, kind limit ?",
        id,
        before === undefined ? 2n ** 62n : BigInt(before),
        limit,
      )
      .map(entryOf);
    const days = this.#store.all("select * from account_day where account = ? order by day desc limit 400", id);
    const charged = this.#seats.cleared(id);
    return {
      ...accountOf(row),
      days: days
        .reverse()
        .map((day) => ({ day: num(day.day), lots: num(day.lots), energy: text(day.energy), money: text(day.money) })),
      entries,
      next: entries.length < limit ? null : entries.at(-1)!.id,
      firstLot: maybe(charged[0]),
      newestLot: maybe(charged.at(-1)),
    };
  }

  meters(): MeterJson[] {
    return this.#store
      .all(
        `select m.*, s.serial, a.id as account, a.feeder, a.role,
           (select signer from signer g where g.meter = m.id order by from_lot desc limit 1) as signer
         from meter m left join serial s on s.meter = m.id left join account a on a.id = coalesce(
           (select account from seat where meter = m.id order by from_lot desc limit 1),
           (select max(id) from account where meter = m.id))
         order by a.feeder, a.role, a.id limit 2000`,
      )
      .map((row) => {
        const newest = this.#store.get(
          "select lot, forward, reverse, quality from record where meter = ? order by lot desc limit 1",
          row.number as bigint,
        );
        return {
          meter: row.id as Hex,
          serial: row.serial as string | null,
          account: row.account === null ? null : num(row.account),
          feeder: row.feeder as Hex | null,
          role: row.role === null ? null : ROLES[num(row.role)]!,
          signer: row.signer as Hex,
          capacity: text(row.capacity),
          suspendedFrom: maybe(row.suspended_from),
          equivocations: num(row.equivocations),
          lot: maybe(newest?.lot),
          forward: maybe(newest?.forward),
          reverse: maybe(newest?.reverse),
          quality: newest ? num(newest.quality) : null,
          reader: null,
        };
      });
  }

  requests(before: bigint | undefined, limit: number) {
    const rows = this.#store.all(
      `select r.*, f.name from request r left join feeder f on f.id = r.feeder where r.place < ? order by r.place desc limit ?`,
      before ?? 2n ** 62n,
      limit,
    );
    const items = rows.map((row) => ({
      place: text(row.place),
      id: row.id as Hex,
      feeder: row.feeder as Hex,
      feederName: row.name as string,
      lot: text(row.lot),
      stage: num(row.stage),
      first: num(row.first),
      count: num(row.count),
      operator: row.operator as Hex,
      asked: { at: num(row.asked_at), tx: row.asked_tx as Hex },
      state: row.state as string,
      deferrals: num(row.deferrals),
      cause: maybe(row.cause),
      cleared: momentOf(row.cleared_at, row.cleared_tx),
      run: null,
    }));
    return paged(items, limit, ({ place }) => place);
  }

  /** Which serials belong to which meters, as the adapter's operator says; a serial proves itself, for its hash is the id. */
  learnSerials(serials: readonly { meterId: string; serial: string }[]): void {
    for (const { meterId, serial } of serials)
      this.#store.run("insert or ignore into serial values (?, ?)", meterId, serial);
  }

  // ------------------------------------------------------------------------------------------ rows

  #summary(row: Row): FeederSummary {
    const newest = this.#store.get("select * from lot where feeder = ? order by lot desc limit 1", row.id as string);
    const members = this.#store.get(
      "select count(*) as n from account where feeder = ? and listed = 1",
      row.id as string,
    );
    return {
      id: row.id as Hex,
      name: row.name as string,
      lots: num(row.lots),
      newest: newest ? lotOfRow(newest) : null,
      members: num(members?.n),
    };
  }

  #people(feeder: Hex, lot: string | undefined): MemberJson[] {
    return this.#store
      .all(
        `select a.*, s.serial, p.energy, p.money from account a join meter m on m.id = a.meter left join serial s on s.meter = m.id
         left join part p on p.lot = ?1 and p.meter = (select number from meter where id =
           (select meter from seat where account = a.id and from_lot <= ?1 order by from_lot desc limit 1))
         where a.feeder = ?2 and (a.listed = 1 or a.left_from > ?1) order by a.role, a.id limit 1100`,
        BigInt(lot ?? -1),
        feeder,
      )
      .map((row) => ({
        account: num(row.id),
        role: ROLES[num(row.role)]!,
        meter: row.meter as Hex,
        serial: row.serial as string | null,
        listed: num(row.listed) === 1,
        price: maybe(row.price),
        balance: text(row.balance),
        owed: text(row.owed),
        energy: maybe(row.energy),
        money: maybe(row.money),
        reserveLow: num(row.reserve_low) === 1,
      }));
  }

  #lotRow(feeder: Hex, lot: bigint): LotJson | null {
    const row = this.#store.get("select * from lot where feeder = ? and lot = ?", feeder, lot);
    return row ? lotOfRow(row) : null;
  }

  #lotPart(member: Row, lot: bigint, price: string | null): LotPartJson[] {
    const meter = member.number as bigint;
    const part = this.#store.get("select * from part where meter = ? and lot = ?", meter, lot);
    const record = this.#store.get(
      "select * from record where meter = ? and lot >= ? order by lot limit 1",
      meter,
      lot,
    );
    const signed = record && this.#signed(member.meter as Hex, record);
    const covered = signed !== undefined && lot > lotBeforeOf(record!);
    if (part === undefined && !covered) return [];
    const previous =
      record &&
      this.#store.get(
        "select * from record where meter = ? and lot < ? order by lot desc limit 1",
        meter,
        record.lot as bigint,
      );
    return [
      {
        account: num(member.account),
        role: ROLES[num(member.role)]!,
        meter: member.meter as Hex,
        serial: member.serial as string | null,
        energy: maybe(part?.energy),
        money: maybe(part?.money),
        late: num(part?.late) === 1,
        price,
        capacity: text(member.capacity),
        firstLot: text(member.seated),
        signers: this.#store
          .all("select from_lot, signer from signer where meter = ? order by from_lot", member.meter as string)
          .map((row) => ({ fromLot: text(row.from_lot), signer: row.signer as Hex })),
        signed: covered ? signed : null,
        tx: covered ? (record!.tx as Hex | null) : null,
        previous: previous
          ? {
              signed: this.#signed(member.meter as Hex, previous),
              lot: text(previous.lot),
              forward: text(previous.forward),
            }
          : { signed: null, lot: (int(member.from_lot) - 1n).toString(), forward: text(member.opening_forward) },
      },
    ];
  }

  #signed(meterId: Hex, row: Row): SignedReadingJson {
    return {
      reading: {
        meterId,
        lot: text(row.lot),
        lotSeconds: this.#lotSeconds,
        forward: text(row.forward),
        reverse: text(row.reverse),
        quality: num(row.quality),
        energies: `0x${Buffer.from(row.energies as Uint8Array).toString("hex")}`,
      },
      signature: row.signature as Hex,
    };
  }
}

const ACCOUNTS = `select a.*, s.serial, f.name, f.terms from account a left join serial s on s.meter = a.meter
  left join feeder f on f.id = a.feeder`;

function paged<T>(items: T[], limit: number, cursor: (item: T) => string): Page<T> {
  return { items, next: items.length < limit ? null : cursor(items.at(-1)!) };
}
