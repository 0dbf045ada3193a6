import type { Database } from "./database.ts";
import { GroupCommit } from "./group-commit.ts";
import { jsonb } from "./jsonb.ts";
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

/** A change, and the state in which alone it is made. */
interface GuardedChange extends RunChange {
  when: RunState | undefined;
}

const RUN_COLUMNS = `id, chain_id::text, operator, block_number::text, block_hash, log_index, tx_hash, log, job, request_id,
  requester, grp, state, cause, attempts, failing_since::text, call, stage, place_block::text, place_log, created_at::text`;

/** How many of a run's causes are kept. */
const KEPT_CAUSES = 10;

/** Runs, in SQL. Each method is one statement and so one atomic step; changes that come together share one. */
export class RunStore {
  readonly #database: Database;
  readonly #chainId: string;
  readonly #changes = new GroupCommit<GuardedChange, boolean>(
    (changes) => this.#write(changes),
    ({ id }) => id,
  );

  constructor(database: Database, chainId: string) {
    this.#database = database;
    this.#chainId = chainId;
  }

  /**
   * Writes down new requests; those that are known already are left as they are, but for orphaned ones: their block came back.
   * @returns the ids of those that begin, and whether they did so before
   */
  async insert(runs: readonly Run[]): Promise<Map<string, { again: boolean }>> {
    if (runs.length === 0) return new Map();
    const now = Date.now();
    const rows = runs.map((run) => ({
      ...run,
      chainId: run.chainId.toString(),
      finishedAt: FINISHED.includes(run.state) ? now : null,
    }));
    const inserted = await this.#database.query<{ id: string; again: boolean }>(
      `insert into bijuli.run (id, chain_id, operator, block_number, block_hash, log_index, tx_hash, log, job, request_id,
         requester, grp, state, cause, call, stage, created_at, updated_at, finished_at, place_block, place_log)
       select id, "chainId", operator, "blockNumber", "blockHash", "logIndex", "txHash", log, job, "requestId", requester,
         "group", state, cause, null, stage, $2, $2, "finishedAt", "placeBlock", "placeLog"
       from jsonb_to_recordset($1::jsonb) as x(id text, "chainId" numeric, operator text, "blockNumber" bigint,
         "blockHash" text, "logIndex" integer, "txHash" text, log jsonb, job text, "requestId" text, requester text,
         "group" text, state text, cause text, stage jsonb, "finishedAt" bigint, "placeBlock" bigint, "placeLog" integer)
       on conflict (id) do update set state = excluded.state, cause = excluded.cause, call = null, failing_since = null,
         updated_at = excluded.updated_at, finished_at = excluded.finished_at where run.state = 'orphaned'
       returning id, xmax <> 0 as again`,
      [jsonb(rows), now],
    );
    return new Map(inserted.map(({ id, again }) => [id, { again }]));
  }

  /** All runs that are not at an end, in the order of their requests. */
  async open(): Promise<Run[]> {
    const rows = await this.#database.query<RunRow>(
      `select ${RUN_COLUMNS} from bijuli.run where chain_id = $1::numeric and finished_at is null
       order by place_block, place_log, block_number, log_index`,
      [this.#chainId],
    );
    return rows.map(runOf);
  }

  async fromBlock(number: number): Promise<Run[]> {
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

  async get(id: string): Promise<Run | undefined> {
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
  async change(changes: readonly RunChange[], when?: RunState): Promise<Set<string>> {
    const done = await Promise.all(changes.map((change) => this.#changes.add({ ...change, when })));
    return new Set(changes.filter((_, index) => done[index]).map(({ id }) => id));
  }

  async #write(changes: readonly GuardedChange[]): Promise<boolean[]> {
    const rows = changes.map((change) => ({
      id: change.id,
      wanted: change.when ?? null,
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
       from jsonb_to_recordset($1::jsonb) as x(id text, wanted text, state text, finished boolean, cause text,
         has_cause boolean, call jsonb, has_call boolean, stage jsonb, tasks jsonb, failing bigint, has_failing boolean,
         attempted integer)
       where r.id = x.id and (x.wanted is null or r.state = x.wanted) returning r.id`,
      [jsonb(rows), Date.now()],
    );
    const ids = new Set(changed.map((row) => row.id));
    return changes.map(({ id }) => ids.has(id));
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
