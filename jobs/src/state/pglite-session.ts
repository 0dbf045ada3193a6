import type { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { PgliteWire } from "./pglite-wire.ts";

/**
 * The one session that a PGlite has. Statements run one after the other; nothing may keep a transaction open across awaits
 * while others query.
 */
export class PgliteSession {
  readonly #client: pg.Client;
  #turn: Promise<unknown> = Promise.resolve();
  #durable = true;
  /** How many statements there were. */
  queries = 0;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(db: PGlite, searchPath: string): Promise<PgliteSession> {
    const client = new pg.Client({ user: "postgres", database: "postgres", stream: () => new PgliteWire(db) });
    client.on("error", () => {}); // each statement reports what became of it
    await client.connect();
    await client.query(`set search_path to ${searchPath}`);
    return new PgliteSession(client);
  }

  /**
   * Runs one statement, or without values a script of several.
   * @param durable whether its commit waits for the disk
   */
  query(query: pg.QueryConfig, durable: boolean): Promise<pg.QueryResult> {
    const result = this.#turn.then(async () => {
      this.queries++;
      if (durable !== this.#durable) {
        await this.#client.query(`set synchronous_commit to ${durable ? "on" : "off"}`);
        this.#durable = durable;
      }
      const results: pg.QueryResult | pg.QueryResult[] = await this.#client.query(query);
      return Array.isArray(results) ? results.at(-1)! : results;
    });
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Tells of notifications on the channels that a LISTEN named. */
  onNotification(listener: (message: pg.Notification) => void): void {
    this.#client.on("notification", listener);
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#client.end();
  }
}
