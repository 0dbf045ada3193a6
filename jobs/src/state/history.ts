import type { Database } from "./database.ts";
import type { RunState } from "./run.ts";

/** What was, for the API; and how long it is kept. */
export class History {
  readonly #database: Database;
  readonly #chainId: string;

  constructor(database: Database, chainId: string) {
    this.#database = database;
    this.#chainId = chainId;
  }

  /**
   * Runs for the API, the newest request first. `before`: the cursor of the last one that was read, or a block.
   */
  async runs(filter: {
    state?: string | undefined;
    job?: string | undefined;
    group?: string | undefined;
    /** Lower case. */
    feeder?: string | undefined;
    before?: string | undefined;
    limit: number;
  }): Promise<Record<string, unknown>[]> {
    const [, block, log, id] = /^(\d{1,15})(?:-(\d{1,9})-([0-9a-f]{1,64}))?$/.exec(filter.before ?? "") ?? [];
    return await this.#database.query(
      `select r.id, job, request_id as "requestId", requester, grp as "group", r.state, cause, attempts,
         stage ->> 'feeder' as "feeder", stage ->> 'lot' as "lot", stage -> 'stage' as "stage", stage -> 'first' as "first",
         r.block_number::text as "blockNumber", log_index as "logIndex", r.tx_hash as "requestTransaction",
         r.place_block::text || '-' || r.place_log as "place",
         r.created_at::text as "createdAt", updated_at::text as "updatedAt", finished_at::text as "finishedAt",
         t.tx_hash as "transaction", t.block_number::text as "deliveryBlock", t.purpose, t.state as "transactionState",
         r.block_number || '-' || log_index || '-' || r.id as "cursor"
       from bijuli.run r left join lateral (
         select tx_hash, block_number, purpose, state from bijuli.tx where run_id = r.id order by id desc limit 1
       ) t on true
       where r.chain_id = $1::numeric and ($2::text is null or r.state = $2) and ($3::text is null or job = $3)
         and ($4::text is null or grp = $4) and ($5::text is null or lower(stage ->> 'feeder') = $5)
         and ($6::bigint is null or (r.block_number, log_index, r.id) < ($6, $7::integer, $8))
       order by r.block_number desc, log_index desc, r.id desc limit $9`,
      [
        this.#chainId,
        filter.state ?? null,
        filter.job ?? null,
        filter.group ?? null,
        filter.feeder ?? null,
        block ?? null,
        log ?? 0,
        id ?? "",
        filter.limit,
      ],
    );
  }

  async run(id: string): Promise<Record<string, unknown> | undefined> {
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

  async transactions(limit: number): Promise<Record<string, unknown>[]> {
    return await this.#database.query(
      `select id::text, sender, nonce::text, purpose, run_id as "run", state, tx_hash as "transaction",
         block_number::text as "blockNumber", outcome, created_at::text as "createdAt"
       from bijuli.tx where chain_id = $1::numeric order by tx.id desc limit $2`,
      [this.#chainId, limit],
    );
  }

  async counts(): Promise<{ state: RunState; count: number }[]> {
    return await this.#database.query(
      "select state, count(*)::int as count from bijuli.run where chain_id = $1::numeric group by state",
      [this.#chainId],
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
}
