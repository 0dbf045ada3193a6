import { EventEmitter } from "node:events";
import type { PGlite } from "@electric-sql/pglite";

interface Result {
  rows: unknown[];
  rowCount: number;
}

/**
 * A `pg.Pool` over one PGlite: as much of one as BullMQ's PostgreSQL backend uses. There is one session, so that a client
 * that is taken from it is the pool itself; nothing here may keep a transaction open across awaits while others query.
 */
export class PglitePool extends EventEmitter {
  /** BullMQ asks whether a LISTEN connection that dropped would be noticed: within one process it cannot drop. */
  readonly options = { keepAlive: true };
  /** How many there were. */
  queries = 0;
  readonly #db: PGlite;

  constructor(db: PGlite) {
    super();
    this.#db = db;
  }

  async query(sql: string, parameters: readonly unknown[] = []): Promise<Result> {
    this.queries++;
    // BullMQ's migrations are scripts of many statements, which only exec takes.
    if (parameters.length === 0) {
      const results = await this.#db.exec(sql);
      const last = results.at(-1);
      return { rows: last?.rows ?? [], rowCount: last?.affectedRows ?? last?.rows.length ?? 0 };
    }
    const result = await this.#db.query(sql, parameters as unknown[]);
    return { rows: result.rows, rowCount: result.affectedRows ?? result.rows.length };
  }

  async connect(): Promise<PgliteClient> {
    return new PgliteClient(this, this.#db);
  }

  async end(): Promise<void> {
    // The database is closed by who opened it.
  }
}

class PgliteClient extends EventEmitter {
  readonly #pool: PglitePool;
  readonly #db: PGlite;
  #unlisten: (() => Promise<void>)[] = [];

  constructor(pool: PglitePool, db: PGlite) {
    super();
    this.#pool = pool;
    this.#db = db;
  }

  async query(sql: string, parameters?: readonly unknown[]): Promise<Result> {
    const channel = /^\s*(?:--[^\n]*\n\s*)*LISTEN\s+"?(\w+)"?\s*;?\s*$/i.exec(sql)?.[1];
    if (channel === undefined) return await this.#pool.query(sql, parameters);
    this.#unlisten.push(await this.#db.listen(channel, (payload) => this.emit("notification", { channel, payload })));
    return { rows: [], rowCount: 0 };
  }

  release(): void {
    for (const unlisten of this.#unlisten.splice(0)) void unlisten().catch(() => {});
  }
}
