/*
 * What the page needs, as tables. Integers that fit 64 bits are stored as such, larger ones as decimal text; lots,
 * Units, wei and WAD never become floats. `block` says which block made a row what it is.
 */

/** Read from the chain and kept: the ledger is rebuilt from them after a start or a reorg, without asking again. */
export const SOURCES = `
create table if not exists fact (name text primary key, value text not null) without rowid;
create table if not exists checkpoint (block integer primary key, hash text not null) without rowid;
create table if not exists log (
  block integer not null, idx integer not null, time integer not null, tx text not null, address text not null,
  topics text not null, data text not null, primary key (block, idx)) without rowid;
create table if not exists input (tx text primary key, block integer not null, input text not null) without rowid;
create index if not exists input_block on input (block);
create table if not exists serial (meter text primary key, serial text not null) without rowid;
`;

/** Tables that follow from the logs. Each change of an unfinal block is noted with its inverse (see undo.ts). */
export const PROJECTED: Readonly<
  Record<string, { columns: string; key: readonly string[]; indexes?: readonly string[] }>
> = {
  feeder: {
    columns: "id text, number integer, name text, terms text, from_lot integer, lots integer, opened_lot integer",
    key: ["id"],
  },
  charter: { columns: "feeder text, from_lot integer, terms text, prices text", key: ["feeder", "from_lot"] },
  meter: {
    columns:
      "id text, number integer, from_lot integer, opening_forward, opening_reverse, capacity, suspended_from integer, equivocations integer",
    key: ["id"],
    indexes: ["create unique index if not exists meter_number on meter (number)"],
  },
  signer: { columns: "meter text, from_lot integer, signer text", key: ["meter", "from_lot"] },
  capacity: { columns: "meter text, from_lot integer, capacity", key: ["meter", "from_lot"] },
  account: {
    columns:
      "id integer, feeder text, meter text, role integer, owner text, price, listed integer, left_from integer, balance, owed, pot, reserve_low integer",
    key: ["id"],
    indexes: [
      "create index if not exists account_feeder on account (feeder, role, id)",
      "create index if not exists account_meter on account (meter)",
    ],
  },
  // Which meter is read in an account's place, from which lot on. When an account has left, another may take its meter.
  seat: {
    columns: "account integer, from_lot integer, meter text",
    key: ["account", "from_lot"],
    indexes: ["create index if not exists seat_meter on seat (meter, from_lot)"],
  },
  clearing: {
    columns:
      "feeder text, last integer, lots integer, stage integer, opened_at integer, opened_tx text, plant_at integer, plant_tx text, distributor_at integer, distributor_tx text, consumers_at integer, consumers_txs text, closed_at integer, closed_tx text, sent, received, delivered, unaccounted, overdrawn, deferred integer, refused integer, estimated integer",
    key: ["feeder", "last"],
  },
  lot: {
    columns:
      "feeder text, lot integer, clearing integer, sent, received, lost, available, actual_loss, excess_loss, factor, price, delivered, unaccounted, overdrawn, plants_paid, consumers_charged, quality integer, alarms integer",
    key: ["feeder", "lot"],
  },
  part: { columns: "meter integer, lot integer, energy, money, late integer", key: ["meter", "lot"] },
  record: {
    columns:
      "meter integer, lot integer, feeder text, stage integer, quality integer, forward, reverse, signature text, energies blob, tx text",
    key: ["meter", "lot"],
  },
  bucket: {
    columns:
      "feeder text, span integer, start integer, lots integer, sent, received, available, delivered, unaccounted, overdrawn, value, price_low, price_high, loss_high, alarms integer",
    key: ["feeder", "span", "start"],
  },
  account_day: {
    columns: "account integer, day integer, lots integer, energy, money",
    key: ["account", "day"],
  },
  entry: {
    columns:
      "account integer, place integer, lot integer, kind text, amount, other integer, parts integer, balance, time integer, tx text",
    key: ["account", "place", "kind"],
    indexes: ["create index if not exists entry_lot on entry (account, lot, kind)"],
  },
  alarm: {
    columns:
      "place integer, nth integer, feeder text, lot integer, meter text, kind text, severity integer, value, detail text, time integer, tx text",
    key: ["place", "nth"],
    indexes: ["create index if not exists alarm_feeder on alarm (feeder, place, nth)"],
  },
  request: {
    columns:
      "id text, place integer, feeder text, lot integer, stage integer, first integer, count integer, operator text, asked_at integer, asked_tx text, state text, deferrals integer, cause text, cleared_at integer, cleared_tx text",
    key: ["id"],
    indexes: [
      "create index if not exists request_place on request (place)",
      "create index if not exists request_stage on request (feeder, lot, stage)",
    ],
  },
};
