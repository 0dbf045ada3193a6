import type { Database } from "./database.ts";
import { jsonb } from "./jsonb.ts";

export interface StoredAttempt {
  hash: string;
  raw: string;
  maxFee: bigint;
  tip: bigint;
}

export interface NewTransaction extends StoredAttempt {
  sender: string;
  nonce: number;
  purpose: string;
  runId: string | undefined;
  detail: unknown;
}

export interface StoredTransaction {
  id: string;
  sender: string;
  nonce: number;
  purpose: string;
  runId: string | undefined;
  state: "unconfirmed" | "confirmed";
  detail: unknown;
  blockNumber: number | undefined;
  blockHash: string | undefined;
  attempts: StoredAttempt[];
}

/** What became of a transaction. */
export interface Settlement {
  id: string;
  state: "confirmed" | "unconfirmed" | "lost";
  blockNumber?: number;
  blockHash?: string;
  hash?: string;
  outcome?: unknown;
}

/** Transactions and their attempts, in SQL. Each method is one statement and so one atomic step. */
export class TransactionStore {
  readonly #database: Database;
  readonly #chainId: string;

  constructor(database: Database, chainId: string) {
    this.#database = database;
    this.#chainId = chainId;
  }

  /**
   * Stores transactions with their first attempt, and that their runs are sent. Only then may they be broadcast. All of them or,
   * when one of their runs is not ready any more, none.
   * @returns their ids by hash
   */
  async insert(transactions: readonly NewTransaction[]): Promise<Map<string, string>> {
    const rows = transactions.map((one) => ({
      ...one,
      runId: one.runId ?? null,
      maxFee: one.maxFee.toString(),
      tip: one.tip.toString(),
    }));
    const inserted = await this.#database.query<{ id: string; hash: string }>(
      `with asked as (
         select * from jsonb_to_recordset($1::jsonb) as x(sender text, nonce bigint, purpose text, "runId" text,
           hash text, raw text, "maxFee" numeric, tip numeric, detail jsonb)
       ), new as (
         select * from asked where not exists (
           select from asked a left join bijuli.run r on r.id = a."runId"
           where a."runId" is not null and r.state is distinct from 'ready')
       ), stored as (
         insert into bijuli.tx (chain_id, sender, nonce, purpose, run_id, state, detail, created_at)
         select $3::numeric, sender, nonce, purpose, "runId", 'unconfirmed', detail, $2 from new returning id, sender, nonce
       ), attempts as (
         insert into bijuli.attempt (hash, tx_id, raw, max_fee, tip, created_at)
         select new.hash, stored.id, new.raw, new."maxFee", new.tip, $2 from new join stored using (sender, nonce)
         returning tx_id, hash
       ), runs as (
         update bijuli.run r set state = 'sent', updated_at = $2 from new where r.id = new."runId"
       )
       select tx_id::text as id, hash from attempts`,
      [jsonb(rows), Date.now(), this.#chainId],
    );
    return new Map(inserted.map((row) => [row.hash, row.id]));
  }

  async insertAttempt(transactionId: string, attempt: StoredAttempt): Promise<void> {
    await this.#database.query(
      `insert into bijuli.attempt (hash, tx_id, raw, max_fee, tip, created_at)
       values ($1, $2::bigint, $3, $4::numeric, $5::numeric, $6) on conflict do nothing`,
      [attempt.hash, transactionId, attempt.raw, attempt.maxFee.toString(), attempt.tip.toString(), Date.now()],
    );
  }

  /** Transactions that may still change: unconfirmed ones and confirmed ones that a reorg could take back. */
  async open(): Promise<StoredTransaction[]> {
    const rows = await this.#database.query<{
      id: string;
      sender: string;
      nonce: string;
      purpose: string;
      run_id: string | null;
      state: "unconfirmed" | "confirmed";
      detail: unknown;
      block_number: string | null;
      block_hash: string | null;
      attempts: { hash: string; raw: string; maxFee: string; tip: string }[];
    }>(
      `select t.id::text, t.sender, t.nonce::text, t.purpose, t.run_id, t.state, t.detail, t.block_number::text, t.block_hash,
         (select jsonb_agg(jsonb_build_object('hash', a.hash, 'raw', a.raw, 'maxFee', a.max_fee::text, 'tip', a.tip::text)
            order by a.max_fee) from bijuli.attempt a where a.tx_id = t.id) as attempts
       from bijuli.tx t where t.chain_id = $1::numeric and t.state in ('unconfirmed', 'confirmed') order by t.sender, t.nonce`,
      [this.#chainId],
    );
    return rows.map((row) => ({
      id: row.id,
      sender: row.sender,
      nonce: Number(row.nonce),
      purpose: row.purpose,
      runId: row.run_id ?? undefined,
      state: row.state,
      detail: row.detail,
      blockNumber: row.block_number === null ? undefined : Number(row.block_number),
      blockHash: row.block_hash ?? undefined,
      attempts: row.attempts.map(({ hash, raw, maxFee, tip }) => ({
        hash,
        raw,
        maxFee: BigInt(maxFee),
        tip: BigInt(tip),
      })),
    }));
  }

  /** The nonce after the highest that was ever stored for a sender; 0 when there is none. */
  async nonceAfterStored(sender: string): Promise<number> {
    const [row] = await this.#database.query<{ nonce: string }>(
      "select coalesce(max(nonce) + 1, 0)::text as nonce from bijuli.tx where chain_id = $1::numeric and sender = $2 and state <> 'lost'",
      [this.#chainId, sender],
    );
    return Number(row!.nonce);
  }

  /** What became of transactions. */
  async settle(transactions: readonly Settlement[]): Promise<void> {
    if (transactions.length === 0) return;
    await this.#database.query(
      `update bijuli.tx t set state = x.state, block_number = x."blockNumber", block_hash = x."blockHash", tx_hash = x.hash,
         outcome = x.outcome
       from jsonb_to_recordset($1::jsonb) as x(id bigint, state text, "blockNumber" bigint, "blockHash" text, hash text,
         outcome jsonb)
       where t.id = x.id`,
      [jsonb(transactions)],
    );
  }

  /** What lies so deep that no reorg is expected any more is no longer watched. */
  async finalize(upToBlock: number): Promise<void> {
    await this.#database.query(
      "update bijuli.tx set state = 'final' where chain_id = $1::numeric and state = 'confirmed' and block_number <= $2",
      [this.#chainId, upToBlock],
    );
  }
}
