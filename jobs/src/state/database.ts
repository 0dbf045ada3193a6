import { fdatasyncSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { BijuliError } from "@bijuli/protocol";
import type { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { type FolderLock, lockFolder } from "./folder-lock.ts";
import { PglitePool } from "./pglite-pool.ts";

/** SQL on the embedded or a real PostgreSQL. Each query is a transaction of its own. */
export interface Database {
  readonly kind: "embedded" | "postgres";
  /** What BullMQ's PostgreSQL backend takes as its connection. */
  readonly pool: pg.Pool;
  query<Row>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** BullMQ's schema stands first, for it names its tables without one; ours are always named in full. */
const SEARCH_PATH = "bullmq,public";

/**
 * Opens the state: PostgreSQL within this process on `folder`, or the server that `url` names.
 * @throws BijuliError folder-in-use when another process has the folder
 */
export async function openDatabase(folder: string, url?: string): Promise<Database> {
  return url === undefined ? await openEmbedded(folder) : await openServer(url);
}

async function openServer(url: string): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: url,
    options: `-c search_path=${SEARCH_PATH}`,
    keepAlive: true,
    max: 20,
    connectionTimeoutMillis: 10_000,
  });
  pool.on("error", () => {}); // a dropped idle connection is replaced by the pool; queries report their own errors
  try {
    await pool.query("select 1");
  } catch (cause) {
    await pool.end();
    throw new BijuliError("database-unreachable", "the PostgreSQL server cannot be reached", { cause });
  }
  return {
    kind: "postgres",
    pool,
    query: async (sql, parameters = []) => (await pool.query(sql, parameters as unknown[])).rows,
    close: () => pool.end(),
  };
}

async function openEmbedded(folder: string): Promise<Database> {
  const lock: FolderLock = lockFolder(folder);
  try {
    const db = await startPglite(join(folder, "postgres"));
    await db.exec(`set search_path to ${SEARCH_PATH}`);
    const pool = new PglitePool(db);
    return {
      kind: "embedded",
      pool: pool as unknown as pg.Pool,
      query: async <Row>(sql: string, parameters: readonly unknown[] = []) =>
        (await db.query<Row>(sql, parameters as unknown[])).rows,
      async close() {
        await db.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * PGlite with durability: it starts PostgreSQL with fsync off and its file system has no fsync at all, so that a power cut
 * would take acknowledged rows. Here the write-ahead log really reaches the disk at each commit.
 */
async function startPglite(folder: string): Promise<PGlite> {
  // The package is loaded only here: its WebAssembly is 20 MB, and a node on PostgreSQL does not need it.
  const { PGlite } = createRequire(import.meta.url)("@electric-sql/pglite") as typeof import("@electric-sql/pglite");
  const parameters = (PGlite as unknown as { defaultStartParams: string[] }).defaultStartParams.filter(
    (one) => one !== "-F",
  );
  const db = await PGlite.create({
    dataDir: folder,
    // fdatasync is a no-op in its C library; fsync asks the file system.
    startParams: [...parameters, "-c", "wal_sync_method=fsync", "-c", "fsync=on"],
  });
  const module = (db as unknown as { Module: { FS: EmscriptenFs } }).Module;
  module.FS.lookupPath("/pglite/data").node.stream_ops.fsync = (stream) => {
    fdatasyncSync(stream.nfd);
    return 0;
  };
  return db;
}

interface EmscriptenFs {
  lookupPath(path: string): { node: { stream_ops: { fsync?: (stream: { nfd: number }) => number } } };
}
