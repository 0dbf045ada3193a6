import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { explain } from "@bijuli/protocol";
import pg from "pg";
import type { Logger } from "pino";
import type { Database } from "./database.ts";

const RETRY_MS = 500;
const CHANNEL = "bijuli_run";

/**
 * Which of several processes on one database leads: follows the chain, keeps the order and owns the sending keys. The others
 * run pipelines, and one of them takes over when the leader is gone.
 */
export interface Leadership {
  /** Resolves when this process leads; rejects when the signal aborts. */
  acquire(signal: AbortSignal): Promise<void>;
  /** Tells the leader that a run changed. */
  announce(runId: string): Promise<void>;
  release(): Promise<void>;
}

export interface LeadershipEvents {
  /** Another process changed a run. */
  changed(runId: string): void;
  /** The lock is gone: another process may lead now. */
  lost(): void;
}

/** The only process on an embedded database leads at once. */
export function soleLeadership(): Leadership {
  return { acquire: async () => {}, announce: async () => {}, release: async () => {} };
}

/**
 * Leadership by an advisory lock of the PostgreSQL server: it lasts as long as the connection, so that no crash can leave it
 * behind.
 */
export function sharedLeadership(
  options: { url: string; database: Database; chainId: bigint; logger: Logger },
  events: LeadershipEvents,
): Leadership {
  // Two 32-bit halves of a name's hash: the lock's key.
  const name = createHash("sha256").update(`bijuli node ${options.chainId}`).digest();
  const key = [name.readInt32BE(0), name.readInt32BE(4)];
  let client: pg.Client | undefined;
  let leads = false;
  let released = false;

  const gone = () => {
    client = undefined;
    if (leads && !released) {
      leads = false;
      events.lost();
    }
  };

  return {
    async acquire(signal) {
      for (let waited = false; ; waited = true) {
        signal.throwIfAborted();
        try {
          if (client === undefined) {
            const fresh = new pg.Client({ connectionString: options.url, keepAlive: true });
            fresh.on("error", gone);
            fresh.on("end", gone);
            await fresh.connect();
            client = fresh;
          }
          const { rows } = await client.query<{ got: boolean }>("select pg_try_advisory_lock($1, $2) as got", key);
          if (rows[0]?.got === true) {
            leads = true;
            client.on("notification", ({ payload }) => payload !== undefined && events.changed(payload));
            await client.query(`listen ${CHANNEL}`);
            return;
          }
          if (!waited) options.logger.info("another process leads: this one runs pipelines and waits to take over");
        } catch (error) {
          options.logger.warn({ cause: explain(error) }, "the database does not answer");
          await client?.end().catch(() => {});
          client = undefined;
        }
        await sleep(RETRY_MS, undefined, { signal });
      }
    },
    async announce(runId) {
      await options.database.query("select pg_notify($1, $2)", [CHANNEL, runId]);
    },
    async release() {
      released = true;
      await client?.end().catch(() => {});
    },
  };
}
