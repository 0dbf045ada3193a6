import type { Database } from "./database.ts";
import { type BuiltCall, FINISHED, type Run, type RunState, type StageReference } from "./run.ts";

/** A change to a run; what is left out stays. */
export interface RunChange {
  id: string;
  state?: RunState;
  /** null: there is none any more. */
  cause?: string | null;
  call?: BuiltCall | null;
  stage?: StageReference;
  tasks?: unknown;
  /** null: it does not fail any more. */
  failingSince?: number | null;
  /** Counts one more attempt. */
  attempted?: boolean;
}

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

const RUN_COLUMNS = `id, chain_id::text, operator, block_number::text, block_hash, log_index, tx_hash, log, job, request_id,
  requester, grp, state, cause, attempts, failing_since::text, call, stage, place_block::text, place_log, created_at::text`;

/** How many of a run's causes are kept. */
const KEPT_CAUSES = 10;

/** Runs, transactions and the position, in SQL. Each method is one statement and so one atomic step. */
export class Store {
  readonly #database: Database;
  readonly #chainId: string;

  constructor(database: Database, chainId: bigint) {
    this.#database = database;
    this.#chainId = chainId.toString();
  }

  async position(): Promise<{ number: number; hash: string } | undefined> {
    const [row] = await this.#database.query<{ n: string; h: string }>(
      "select block_number::text as n, block_hash as h from bijuli.position where chain_id = $1::numeric",
      [this.#chainId],
    );
    return row && { number: Number(row.n), hash: row.h };
  }

  async setPosition(number: number, hash: string): Promise<void> {
    await this.#database.query(
      `insert into bijuli.position (chain_id, block_number, block_hash) values ($1::numeric, $2, $3)
       on conflict (chain_id) do update set block_number = excluded.block_number, block_hash = excluded.block_hash`,
      [this.#chainId, number, hash],
    );
  }

  /**
   * Writes down new requests; those that are known already are left as they are.
   * @returns the ids of the new ones
   */
  async insertRuns(runs: readonly Run[]): Promise<Set<string>> {
    if (runs.length === 0) return new Set();
    const now = Date.now();
    const rows = runs.map((run) => ({
      ...run,
      chainId: run.chainId.toString(),
      finishedAt: FINISHED.includes(run.state) ? now : null,
    }));
    const inserted = await this.#database.query<{ id: string }>(
      `insert into bijuli.run (id, chain_id, operator, block_number, block_hash, log_index, tx_hash, log, job, request_id,
         requester, grp, state, cause, call, stage, created_at, updated_at, finished_at, place_block, place_log)
       select id, "chainId", operator, "blockNumber", "blockHash", "logIndex", "txHash", log, job, "requestId", requester,
         "group", state, cause, null, stage, $2, $2, "finishedAt", "placeBlock", "placeLog"
       from jsonb_to_recordset($1::jsonb) as x(id text, "chainId" numeric, operator text, "blockNumber" bigint,
         "blockHash" text, "logIndex" integer, "txHash" text, log jsonb, job text, "requestId" text, requester text,
         "group" text, state text, cause text, stage jsonb, "finishedAt" bigint, "placeBlock" bigint, "placeLog" integer)
       on conflict do nothing returning id`,
      [JSON.stringify(rows), now],
    );
    return new Set(inserted.map((row) => row.id));
  }

  /** All runs that are not at an end, in the order of their requests. */
  async openRuns(): Promise<Run[]> {
    const rows = await this.#database.query<RunRow>(
      `select ${RUN_COLUMNS} from bijuli.run where chain_id = $1::numeric and finished_at is null
       order by place_block, place_log, block_number, log_index`,
      [this.#chainId],
    );
    return rows.map(runOf);
  }

  async runsFromBlock(number: number): Promise<Run[]> {
    const rows = await this.#database.query<RunRow>(
      `select ${RUN_COLUMNS} from bijuli.run where chain_id = $1::numeric and block_number >= $2
       order by block_number, log_index`,
      [this.#chainId, number],
    );
    return rows.map(runOf);
  }

  /** Delivered runs with that cause, of blocks from `number` on. */
  async deliveredBecause(cause: string, number: number): Promise<Run[]> {
    const rows = await this.#database.query<RunRow>(
      `select ${RUN_COLUMNS} from bijuli.run where chain_id = $1::numeric and block_number >= $2 and state = 'delivered'
         and cause = $3 order by block_number, log_index`,
      [this.#chainId, number, cause],
    );
    return rows.map(runOf);
  }

  async run(id: string): Promise<Run | undefined> {
    const [row] = await this.#database.query<RunRow>(`select ${RUN_COLUMNS} from bijuli.run where id = $1`, [id]);
    return row && runOf(row);
  }

  /** Which of these runs are not pending any more. */
  async movedOn(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const rows = await this.#database.query<{ id: string }>(
      `select r.id from bijuli.run r join jsonb_array_elements_text($1::jsonb) as x(id) on r.id = x.id where r.state <> 'pending'`,
      [JSON.stringify(ids)],
    );
    return rows.map((row) => row.id);
  }

  /** The newest run that serves the same stage or, without one, the same request. */
  async predecessor(requestId: string, stage: StageReference | undefined): Promise<Run | undefined> {
    const [row] = await this.#database.query<RunRow>(
      `select ${RUN_COLUMNS} from bijuli.run where chain_id = $1::numeric and state <> 'orphaned' and (request_id = $2
         or ($3::jsonb is not null and stage - 'submit' = $3::jsonb - 'submit'))
       order by block_number desc, log_index desc limit 1`,
      [this.#chainId, requestId, stage === undefined ? null : JSON.stringify(stage)],
    );
    return row && runOf(row);
  }

  /**
   * Changes runs. `when`: only those that stand there.
   * @returns the ids of those that were changed
   */
  async changeRuns(changes: readonly RunChange[], when?: RunState): Promise<Set<string>> {
    if (changes.length === 0) return new Set();
    const now = Date.now();
    const rows = changes.map((change) => ({
      id: change.id,
      state: change.state ?? null,
      finished: change.state === undefined ? null : FINISHED.includes(change.state),
      cause: change.cause ?? null,
      has_cause: change.cause !== undefined,
      call: change.call ?? null,
      has_call: change.call !== undefined,
      stage: change.stage ?? null,
      tasks: change.tasks ?? null,
      failing: change.failingSince ?? null,
      has_failing: change.failingSince !== undefined,
      attempted: change.attempted ? 1 : 0,
    }));
    const changed = await this.#database.query<{ id: string }>(
      `update bijuli.run r set
         state = coalesce(x.state, r.state),
         cause = case when x.has_cause then x.cause else r.cause end,
         causes = case when x.cause is null or x.cause is not distinct from r.causes -> -1 ->> 'cause' then r.causes
           else jsonb_path_query_array(r.causes || jsonb_build_object('at', $2::bigint, 'cause', x.cause),
             '$[last - ${KEPT_CAUSES - 1} to last]') end,
         call = case when x.has_call then x.call else r.call end,
         stage = coalesce(x.stage, r.stage),
         tasks = coalesce(x.tasks, r.tasks),
         failing_since = case when x.has_failing then x.failing else r.failing_since end,
         attempts = r.attempts + x.attempted,
         updated_at = $2,
         finished_at = case when x.finished is null then r.finished_at when x.finished then $2 else null end
       from jsonb_to_recordset($1::jsonb) as x(id text, state text, finished boolean, cause text, has_cause boolean,
         call jsonb, has_call boolean, stage jsonb, tasks jsonb, failing bigint, has_failing boolean, attempted integer)
       where r.id = x.id and ($3::text is null or r.state = $3) returning r.id`,
      [JSON.stringify(rows), now, when ?? null],
    );
    return new Set(changed.map((row) => row.id));
  }

  /**
   * Stores transactions with their first attempt, and that their runs are sent. Only then may they be broadcast. All of them or,
   * when one of their runs is not ready any more, none.
   * @returns their ids by hash
   */
  async insertTransactions(transactions: readonly NewTransaction[]): Promise<Map<string, string>> {
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
      [JSON.stringify(rows), Date.now(), this.#chainId],
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
  async openTransactions(): Promise<StoredTransaction[]> {
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

  /** What became of transactions, and with them of their runs. */
  async settle(
    transactions: readonly {
      id: string;
      state: "confirmed" | "unconfirmed" | "lost";
      blockNumber?: number;
      blockHash?: string;
      hash?: string;
      outcome?: unknown;
    }[],
  ): Promise<void> {
    if (transactions.length === 0) return;
    await this.#database.query(
      `update bijuli.tx t set state = x.state, block_number = x."blockNumber", block_hash = x."blockHash", tx_hash = x.hash,
         outcome = x.outcome
       from jsonb_to_recordset($1::jsonb) as x(id bigint, state text, "blockNumber" bigint, "blockHash" text, hash text,
         outcome jsonb)
       where t.id = x.id`,
      [JSON.stringify(transactions)],
    );
  }

  /** What lies so deep that no reorg is expected any more is no longer watched. */
  async finalize(upToBlock: number): Promise<void> {
    await this.#database.query(
      "update bijuli.tx set state = 'final' where chain_id = $1::numeric and state = 'confirmed' and block_number <= $2",
      [this.#chainId, upToBlock],
    );
  }

  /** Deletes what ended before `time` (unix ms). */
  async prune(time: number): Promise<void> {
    await this.#database.query(
      `delete from bijuli.tx where chain_id = $1::numeric and state in ('final', 'lost') and created_at < $2`,
      [this.#chainId, time],
    );
    await this.#database.query(
      "delete from bijuli.run where chain_id = $1::numeric and finished_at is not null and finished_at < $2",
      [this.#chainId, time],
    );
  }

  /** Runs for the API, newest first, with all that was written down about them. */
  async listRuns(filter: {
    state?: string;
    job?: string;
    before?: number;
    limit: number;
  }): Promise<Record<string, unknown>[]> {
    return await this.#database.query(
      `select id, job, request_id as "requestId", requester, grp as "group", state, cause, attempts,
         block_number::text as "blockNumber", tx_hash as "requestTransaction", created_at::text as "createdAt",
         updated_at::text as "updatedAt", finished_at::text as "finishedAt",
         (select t.tx_hash from bijuli.tx t where t.run_id = r.id and t.tx_hash is not null order by t.id desc limit 1) as "transaction"
       from bijuli.run r where chain_id = $1::numeric and ($2::text is null or state = $2) and ($3::text is null or job = $3)
         and ($4::bigint is null or created_at < $4)
       order by created_at desc, block_number desc, log_index desc limit $5`,
      [this.#chainId, filter.state ?? null, filter.job ?? null, filter.before ?? null, filter.limit],
    );
  }

  async describeRun(id: string): Promise<Record<string, unknown> | undefined> {
    const [row] = await this.#database.query<Record<string, unknown>>(
      `select id, job, operator, request_id as "requestId", requester, grp as "group", state, cause, causes, attempts,
         failing_since::text as "failingSince", stage, tasks, block_number::text as "blockNumber", block_hash as "blockHash",
         log_index as "logIndex", tx_hash as "requestTransaction", created_at::text as "createdAt",
         updated_at::text as "updatedAt", finished_at::text as "finishedAt",
         (select coalesce(jsonb_agg(jsonb_build_object('nonce', t.nonce, 'sender', t.sender, 'purpose', t.purpose, 'state', t.state,
            'transaction', t.tx_hash, 'blockNumber', t.block_number, 'outcome', t.outcome) order by t.id), '[]')
          from bijuli.tx t where t.run_id = r.id) as transactions
       from bijuli.run r where id = $1`,
      [id],
    );
    return row;
  }

  async listTransactions(limit: number): Promise<Record<string, unknown>[]> {
    return await this.#database.query(
      `select id::text, sender, nonce::text, purpose, run_id as "run", state, tx_hash as "transaction",
         block_number::text as "blockNumber", outcome, created_at::text as "createdAt"
       from bijuli.tx where chain_id = $1::numeric order by id desc limit $2`,
      [this.#chainId, limit],
    );
  }

  async countRuns(): Promise<{ state: RunState; count: number }[]> {
    return await this.#database.query(
      "select state, count(*)::int as count from bijuli.run where chain_id = $1::numeric group by state",
      [this.#chainId],
    );
  }
}

interface RunRow {
  id: string;
  chain_id: string;
  operator: string;
  block_number: string;
  block_hash: string;
  log_index: number;
  tx_hash: string;
  log: Run["log"];
  job: string;
  request_id: string;
  requester: string;
  grp: string;
  state: RunState;
  cause: string | null;
  attempts: number;
  failing_since: string | null;
  call: BuiltCall | null;
  stage: StageReference | null;
  place_block: string;
  place_log: number;
  created_at: string;
}

function runOf(row: RunRow): Run {
  return {
    id: row.id,
    chainId: BigInt(row.chain_id),
    operator: row.operator,
    blockNumber: Number(row.block_number),
    blockHash: row.block_hash,
    logIndex: row.log_index,
    txHash: row.tx_hash,
    log: row.log,
    job: row.job,
    requestId: row.request_id,
    requester: row.requester,
    group: row.grp,
    state: row.state,
    cause: row.cause ?? undefined,
    attempts: row.attempts,
    failingSince: row.failing_since === null ? undefined : Number(row.failing_since),
    call: row.call ?? undefined,
    stage: row.stage ?? undefined,
    placeBlock: Number(row.place_block),
    placeLog: row.place_log,
    createdAt: Number(row.created_at),
  };
}
