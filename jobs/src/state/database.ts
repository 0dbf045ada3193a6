import {
  closeSync,
  cpSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { BijuliError } from "@bijuli/protocol";
import type { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { type FolderLock, lockFolder } from "./folder-lock.ts";
import { PglitePool } from "./pglite-pool.ts";
import { PgliteSession } from "./pglite-session.ts";
import { preparing } from "./prepared.ts";

/** SQL on the embedded or a real PostgreSQL. Each query is a transaction of its own, and on the disk when it resolves. */
export interface Database {
  readonly kind: "embedded" | "postgres";
  /**
   * What BullMQ's PostgreSQL backend takes as its connection. Its commits do not wait for the disk: the queue holds nothing
   * that the state does not, and what a crash takes from it is put in again.
   */
  readonly queuePool: pg.Pool;
  /** One statement; without parameters a script of several. */
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
  const config = (options: string): pg.PoolConfig => ({
    connectionString: url,
    options: `-c search_path=${SEARCH_PATH} ${options}`,
    keepAlive: true,
    max: 20,
    connectionTimeoutMillis: 10_000,
  });
  const pool = new pg.Pool(config(""));
  const queuePool = preparing(new pg.Pool(config("-c synchronous_commit=off")));
  // A dropped idle connection is replaced by the pool; queries report their own errors.
  for (const one of [pool, queuePool]) one.on("error", () => {});
  try {
    await pool.query("select 1");
  } catch (cause) {
    await pool.end();
    throw new BijuliError("database-unreachable", "the PostgreSQL server cannot be reached", { cause });
  }
  return {
    kind: "postgres",
    queuePool,
    query: async (sql, parameters = []) => (await pool.query(sql, parameters as unknown[])).rows,
    async close() {
      await queuePool.end();
      await pool.end();
    },
  };
}

async function openEmbedded(folder: string): Promise<Database> {
  const lock: FolderLock = lockFolder(folder);
  try {
    const db = await startPglite(join(folder, "postgres"));
    const session = await PgliteSession.open(db, SEARCH_PATH);
    const stopMaintenance = maintain(session);
    return {
      kind: "embedded",
      queuePool: new PglitePool(session) as unknown as pg.Pool,
      query: async <Row>(sql: string, parameters: readonly unknown[] = []) =>
        (await session.query({ text: sql, values: [...parameters] }, true)).rows as Row[],
      async close() {
        await stopMaintenance();
        await session.close();
        await db.close();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

const CHECKPOINT_EVERY_MS = 30_000;
/** Queries after which tables are vacuumed. */
const VACUUM_AFTER = 20_000;

/**
 * PGlite has none of the background processes that keep a PostgreSQL server in shape: without checkpoints its write-ahead log
 * grows for ever, without vacuum its tables do.
 */
function maintain(session: PgliteSession): () => Promise<void> {
  let checkpointed = 0;
  let vacuumed = 0;
  let running: Promise<unknown> | undefined;
  const run = (text: string) => session.query({ text }, true);
  const work = async () => {
    if (session.queries === checkpointed) return;
    if (session.queries - vacuumed > VACUUM_AFTER) {
      vacuumed = session.queries;
      const tables = await run(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('bijuli', 'bullmq')",
      );
      // One by one, so that what waits in between gets its turn.
      for (const { name } of tables.rows) await run(`vacuum analyze ${name}`);
    }
    await run("checkpoint");
    checkpointed = session.queries;
  };
  const timer = setInterval(() => {
    running ??= work()
      .catch(() => {}) // it is tried again; what is wrong with the database shows in the queries that matter
      .finally(() => {
        running = undefined;
      });
  }, CHECKPOINT_EVERY_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}

/**
 * PGlite with durability: it starts PostgreSQL with fsync off and its file system has no fsync at all, so that a power cut
 * would take acknowledged rows. Here the write-ahead log really reaches the disk at each commit.
 */
async function startPglite(folder: string): Promise<PGlite> {
  const { PGlite } = loadPglite();
  await ensureCluster(folder);
  const parameters = (PGlite as unknown as { defaultStartParams: string[] }).defaultStartParams.filter(
    (one) => one !== "-F",
  );
  const db = await PGlite.create({
    dataDir: folder,
    // fdatasync is a no-op in its C library; fsync asks the file system.
    startParams: [
      ...parameters,
      "-c",
      "wal_sync_method=fsync",
      "-c",
      "fsync=on",
      // The node reads what it wrote last: more would only be memory that fills up with history.
      "-c",
      "shared_buffers=32MB",
      "-c",
      "max_wal_size=64MB",
      "-c",
      "min_wal_size=32MB",
    ],
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

/** The package is loaded only when it is used: its WebAssembly is 20 MB, and a node on PostgreSQL does not need it. */
function loadPglite(): typeof import("@electric-sql/pglite") {
  return createRequire(import.meta.url)("@electric-sql/pglite");
}

/**
 * Makes an empty database where there is none, under another name until it is whole, so that a crash meanwhile leaves nothing
 * half made behind. Making one takes seconds; it is done once and kept beside the packages, and copied from then on.
 */
async function ensureCluster(folder: string): Promise<void> {
  if (existsSync(join(folder, "PG_VERSION"))) return;
  const { PGlite } = loadPglite();
  const make = async (at: string) => void (await (await PGlite.create({ dataDir: at })).close());
  const staging = `${folder}.new`;
  rmSync(staging, { recursive: true, force: true });
  try {
    const main = createRequire(import.meta.url).resolve("@electric-sql/pglite");
    const cache = join(main.slice(0, main.lastIndexOf("node_modules") + "node_modules".length), ".cache", "bijuli");
    // The package's size and time stand for its version: another one makes another database.
    const { size, mtimeMs } = statSync(main);
    const template = join(cache, `postgres-${size}-${Math.round(mtimeMs)}`);
    if (!existsSync(template)) {
      mkdirSync(cache, { recursive: true });
      const own = `${template}.${process.pid}`;
      rmSync(own, { recursive: true, force: true });
      await make(own);
      // Another process may have been first: its template is as good.
      if (existsSync(template)) rmSync(own, { recursive: true });
      else renameSync(own, template);
    }
    cpSync(template, staging, { recursive: true });
  } catch {
    // Packages that cannot be written beside: made in place.
    rmSync(staging, { recursive: true, force: true });
    await make(staging);
  }
  for (const entry of readdirSync(staging, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const descriptor = openSync(join(entry.parentPath, entry.name), "r");
    fsyncSync(descriptor);
    closeSync(descriptor);
  }
  renameSync(staging, folder);
}
