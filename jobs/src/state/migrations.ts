import type { Database } from "./database.ts";

/** Each runs once, in this order; a released one is never changed. */
const MIGRATIONS: readonly string[] = [
  `create table bijuli.run (
     id text primary key,
     chain_id numeric not null,
     operator text not null,
     block_number bigint not null,
     block_hash text not null,
     log_index integer not null,
     tx_hash text not null,
     log jsonb not null,
     job text not null,
     request_id text not null,
     requester text not null,
     grp text not null,
     state text not null,
     cause text,
     causes jsonb not null default '[]',
     attempts integer not null default 0,
     failing_since bigint,
     call jsonb,
     stage jsonb,
     tasks jsonb,
     created_at bigint not null,
     updated_at bigint not null,
     finished_at bigint,
     place_block bigint not null,
     place_log integer not null,
     unique (chain_id, operator, block_hash, log_index)
   );
   create index run_open on bijuli.run (chain_id, block_number, log_index) where finished_at is null;
   create index run_by_request on bijuli.run (request_id);
   create index run_by_block on bijuli.run (chain_id, block_number);
   create index run_by_time on bijuli.run (created_at);
   create table bijuli.tx (
     id bigint generated always as identity primary key,
     chain_id numeric not null,
     sender text not null,
     nonce bigint not null,
     purpose text not null,
     run_id text references bijuli.run (id) on delete set null,
     state text not null,
     detail jsonb,
     created_at bigint not null,
     block_number bigint,
     block_hash text,
     tx_hash text,
     outcome jsonb
   );
   create unique index tx_nonce on bijuli.tx (chain_id, sender, nonce) where state <> 'lost';
   create index tx_open on bijuli.tx (chain_id, sender, nonce) where state in ('unconfirmed', 'confirmed');
   create index tx_by_run on bijuli.tx (run_id);
   create table bijuli.attempt (
     hash text primary key,
     tx_id bigint not null references bijuli.tx (id) on delete cascade,
     raw text not null,
     max_fee numeric not null,
     tip numeric not null,
     created_at bigint not null
   );
   create index attempt_by_tx on bijuli.attempt (tx_id);
   create table bijuli.position (
     chain_id numeric primary key,
     block_number bigint not null,
     block_hash text not null
   );`,
  `create table bijuli.awaited (
     id text primary key,
     run_id text not null references bijuli.run (id) on delete cascade,
     task text not null,
     pending boolean not null default false,
     answer jsonb,
     unique (run_id, task)
   );`,
];

/** Brings the schema up to date. */
export async function migrate(database: Database): Promise<void> {
  await database.query("create schema if not exists bijuli");
  await database.query(
    "create table if not exists bijuli.migration (number integer primary key, applied_at timestamptz not null default now())",
  );
  for (const [index, sql] of MIGRATIONS.entries()) {
    const number = index + 1;
    if ((await doneMigrations(database)) >= number) continue;
    try {
      // One script, so that a change and its record are one transaction.
      await database.query(
        `begin; lock table bijuli.migration in exclusive mode; insert into bijuli.migration (number) values (${number}); ${sql} commit`,
      );
    } catch (error) {
      await database.query("rollback").catch(() => {});
      // Another process that started at the same time was first.
      if ((await doneMigrations(database)) < number) throw error;
    }
  }
}

async function doneMigrations(database: Database): Promise<number> {
  const [row] = await database.query<{ done: number }>(
    "select coalesce(max(number), 0)::int as done from bijuli.migration",
  );
  return row?.done ?? 0;
}
