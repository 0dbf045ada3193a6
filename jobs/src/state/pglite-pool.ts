import { EventEmitter } from "node:events";
import type pg from "pg";
import type { PgliteSession } from "./pglite-session.ts";
import { runPrepared } from "./prepared.ts";

/**
 * A `pg.Pool` over one PGlite: as much of one as BullMQ's PostgreSQL backend uses. There is one session, so that a client
 * that is taken from it is the pool itself, and tells what all of them listen to.
 */
export class PglitePool extends EventEmitter {
  /** BullMQ asks whether a LISTEN connection that dropped would be noticed: within one process it cannot drop. */
  readonly options = { keepAlive: true };
  readonly #session: PgliteSession;
  readonly #clients = new Set<PgliteClient>();

  constructor(session: PgliteSession) {
    super();
    this.#session = session;
    session.onNotification((message) => {
      for (const client of this.#clients) client.emit("notification", message);
    });
  }

  query(sql: string, parameters: readonly unknown[] = []): Promise<pg.QueryResult> {
    return runPrepared((query) => this.#session.query(query, false), sql, [...parameters]);
  }

  async connect(): Promise<PgliteClient> {
    const client = new PgliteClient(this, () => this.#clients.delete(client));
    this.#clients.add(client);
    return client;
  }

  async end(): Promise<void> {
    // The database is closed by who opened it.
  }
}

class PgliteClient extends EventEmitter {
  readonly #pool: PglitePool;
  readonly release: () => void;

  constructor(pool: PglitePool, release: () => void) {
    super();
    this.#pool = pool;
    this.release = release;
  }

  query(sql: string, parameters?: readonly unknown[]): Promise<pg.QueryResult> {
    return this.#pool.query(sql, parameters);
  }
}
