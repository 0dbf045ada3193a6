import { type Hex, lotStart, WAD } from "@bijuli/protocol";
import type {
  AccountJson,
  BucketJson,
  ClearingJson,
  EntryJson,
  LotJson,
  Moment,
  RoleName,
  TermsJson,
} from "./shapes.ts";
import type { Row } from "./store.ts";

/* Rows of the store as the API shows them. */

export const ROLES: readonly RoleName[] = ["plant", "distributor", "consumer"];

export const text = (value: Row[string] | undefined): string => String(value ?? 0n);
export const maybe = (value: Row[string] | undefined): string | null =>
  value === null || value === undefined ? null : String(value);
export const int = (value: Row[string] | undefined): bigint =>
  BigInt((value as bigint | string | null | undefined) ?? 0n);
export const num = (value: Row[string] | undefined): number => Number(value ?? 0);

export const lotBeforeOf = (record: Row): bigint =>
  int(record.lot) - BigInt((record.energies as Uint8Array).length / 6);
export const minOf = (a: bigint, b: bigint) => (a < b ? a : b);
export const maxOf = (a: bigint, b: bigint) => (a > b ? a : b);

export function termsOf(row: Row | undefined): TermsJson | null {
  const terms = JSON.parse((row?.terms as string | undefined) ?? "{}") as TermsJson;
  return terms.idealLossBps === undefined ? null : terms;
}

export function momentOf(at: Row[string] | undefined, tx: Row[string] | undefined): Moment | null {
  return at === null || at === undefined ? null : { at: num(at), tx: tx as Hex };
}

export function lotOfRow(row: Row): LotJson {
  return {
    lot: text(row.lot),
    clearing: text(row.clearing),
    sent: text(row.sent),
    received: text(row.received),
    lost: text(row.lost),
    available: text(row.available),
    actualLoss: text(row.actual_loss),
    excessLoss: text(row.excess_loss),
    factor: text(row.factor),
    price: text(row.price),
    delivered: text(row.delivered),
    unaccounted: text(row.unaccounted),
    overdrawn: text(row.overdrawn),
    plantsPaid: text(row.plants_paid),
    consumersCharged: text(row.consumers_charged),
    quality: num(row.quality),
    alarms: num(row.alarms),
  };
}

export function clearingOf(row: Row, lot: LotJson | null): ClearingJson {
  return {
    last: text(row.last),
    lots: num(row.lots),
    stage: num(row.stage),
    opened: { at: num(row.opened_at), tx: row.opened_tx as Hex },
    plant: momentOf(row.plant_at, row.plant_tx),
    distributor: momentOf(row.distributor_at, row.distributor_tx),
    consumers:
      row.consumers_at === null
        ? null
        : { at: num(row.consumers_at), txs: JSON.parse(row.consumers_txs as string) as Hex[] },
    closed: momentOf(row.closed_at, row.closed_tx),
    deferred: num(row.deferred),
    refused: num(row.refused),
    estimated: num(row.estimated) === 1,
    lot,
  };
}

export function bucketOf(row: Row, seconds: number): BucketJson {
  const [sent, received, available] = [int(row.sent), int(row.received), int(row.available)];
  const lost = sent > received ? sent - received : 0n;
  return {
    start: num(row.start),
    seconds,
    lots: num(row.lots),
    sent: text(sent),
    received: text(received),
    available: text(available),
    delivered: text(row.delivered),
    unaccounted: text(row.unaccounted),
    overdrawn: text(row.overdrawn),
    price: available === 0n ? "0" : (int(row.value) / available).toString(),
    priceLow: text(row.price_low),
    priceHigh: text(row.price_high),
    loss: sent === 0n ? "0" : ((lost * WAD) / sent).toString(),
    lossHigh: text(row.loss_high),
  };
}

const SUMMED = ["lots", "sent", "received", "available", "delivered", "unaccounted", "overdrawn", "value", "alarms"];

export function mergeRows(rows: readonly Row[]): Row {
  const merged: Row = { ...rows[0]! };
  for (const row of rows.slice(1)) {
    for (const column of SUMMED) merged[column] = int(merged[column]) + int(row[column]);
    merged.price_low = minOf(int(merged.price_low), int(row.price_low));
    merged.price_high = maxOf(int(merged.price_high), int(row.price_high));
    merged.loss_high = maxOf(int(merged.loss_high), int(row.loss_high));
  }
  return merged;
}

export function accountOf(row: Row): AccountJson {
  return {
    account: num(row.id),
    feeder: row.feeder as Hex,
    feederName: (row.name as string | null) ?? "",
    role: ROLES[num(row.role)]!,
    meter: row.meter as Hex,
    serial: row.serial as string | null,
    owner: row.owner as Hex,
    balance: text(row.balance),
    owed: text(row.owed),
    pot: text(row.pot),
    reserve: num(row.role) === 0 ? "0" : (termsOf(row)?.reserve ?? "0"),
    leftFrom: maybe(row.left_from),
  };
}

export function entryOf(row: Row): EntryJson {
  return {
    id: text(row.place),
    kind: row.kind as string,
    amount: text(row.amount),
    balance: text(row.balance),
    lot: maybe(row.lot),
    other: row.other === null ? null : num(row.other),
    parts: num(row.parts),
    at: num(row.time),
    tx: row.tx as Hex,
  };
}

/** A lot as a point of a chart. */
export function lotBucketOf(row: Row, lotSeconds: number): BucketJson {
  return {
    start: Number(lotStart(row.lot as bigint, lotSeconds)),
    seconds: lotSeconds,
    lots: 1,
    sent: text(row.sent),
    received: text(row.received),
    available: text(row.available),
    delivered: text(row.delivered),
    unaccounted: text(row.unaccounted),
    overdrawn: text(row.overdrawn),
    price: text(row.price),
    priceLow: text(row.price),
    priceHigh: text(row.price),
    loss: text(row.actual_loss),
    lossHigh: text(row.actual_loss),
  };
}
