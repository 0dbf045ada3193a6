import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { decodeRecords, explain, type Hex, readingFromRecord, SettingsError } from "@bijuli/protocol";
import type { Logger } from "pino";
import type { EvidenceItem } from "./evidence.ts";
import type { Meter, Roster } from "./meters.ts";
import type { ShelfEntry } from "./shelf.ts";

/** What a memory belongs to: under another of these its readings say nothing. */
export interface MemoryOwner {
  chainId: bigint;
  registry: string;
  lotSeconds: number;
}

const APPLICATION_ID = 0x42494a41; // "BIJA"
const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE owner (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE newest (
    meter TEXT PRIMARY KEY, lot TEXT NOT NULL, record BLOB NOT NULL, signer TEXT NOT NULL, received INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE evidence (readings TEXT PRIMARY KEY, item TEXT NOT NULL) STRICT;
`;
/** How long what changed may wait to be written with more of it, ms. */
const FLUSH_MS = 1000;
/** The same after a failure: a disk that is full may have room again. */
const RETRY_MS = 10_000;
/** Meters written in one piece: a few milliseconds for which requests wait. */
const AT_ONCE = 500;

/**
 * What must outlast a restart, in one SQLite file: each meter's newest reading, so that a meter which tells another story
 * afterwards is still found out, and all evidence. Nothing in it is ever served, and what is held against a meter is
 * verified again. A disk that fails does not keep the adapter from answering: it says so, and goes on trying.
 */
export class Remembered {
  readonly #db: DatabaseSync;
  readonly #log: Logger;
  readonly #onFailure: () => void;
  readonly #lotSeconds: number;
  readonly #putNewest: StatementSync;
  readonly #putEvidence: StatementSync;
  readonly #changed = new Map<Meter, ShelfEntry>();
  readonly #evidence = new Map<string, EvidenceItem>();
  #timer: NodeJS.Timeout | undefined;
  #failing: string | undefined;

  /**
   * @param options.pages SQLite's pages at most; for a test of a full disk
   * @throws SettingsError when the folder cannot be used, or its file is damaged, in use or somebody else's
   */
  static async open(
    folder: string,
    owner: MemoryOwner,
    options: { log: Logger; onFailure?: () => void; pages?: number },
  ): Promise<Remembered> {
    // SQLite is loaded by those who use it.
    const { DatabaseSync } = await import("node:sqlite");
    const path = join(folder, "adapter.sqlite");
    let db: DatabaseSync | undefined;
    try {
      mkdirSync(folder, { recursive: true });
      db = new DatabaseSync(path);
      // One adapter a file: two would each forget what the other saw.
      db.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL");
      db.exec("PRAGMA synchronous = NORMAL");
      prepare(db, owner, path);
      if (options.pages !== undefined) db.exec(`PRAGMA max_page_count = ${options.pages}`);
      return new Remembered(db, owner, options);
    } catch (error) {
      db?.close();
      if (error instanceof SettingsError) throw error;
      throw new SettingsError([`DATA_DIR: ${whyNot(error, path)}`]);
    }
  }

  private constructor(db: DatabaseSync, owner: MemoryOwner, options: { log: Logger; onFailure?: () => void }) {
    this.#db = db;
    this.#lotSeconds = owner.lotSeconds;
    this.#log = options.log;
    this.#onFailure = options.onFailure ?? (() => {});
    this.#putNewest = db.prepare(
      "INSERT INTO newest VALUES (?, ?, ?, ?, ?) ON CONFLICT (meter) DO UPDATE SET lot = excluded.lot, record = excluded.record, signer = excluded.signer, received = excluded.received",
    );
    this.#putEvidence = db.prepare("INSERT OR IGNORE INTO evidence VALUES (?, ?)");
  }

  /** Tells each configured meter what it said last; returns how many there were. */
  recall(roster: Roster): number {
    let count = 0;
    for (const row of this.#db.prepare("SELECT * FROM newest").iterate()) {
      const meter = roster.byId(String(row.meter));
      if (meter === undefined) continue;
      try {
        const digits = Buffer.from(row.record as Uint8Array).toString("hex");
        const [record] = decodeRecords(`0x${digits}` as Hex);
        const lot = BigInt(String(row.lot));
        const { reading } = readingFromRecord(record!, { meterId: meter.id, lot, lotSeconds: this.#lotSeconds });
        meter.remembered = {
          lot,
          lots: reading.energies.length,
          digits,
          forward: reading.forward,
          signer: String(row.signer),
          requestedAt: Number(row.received),
          receivedAt: Number(row.received),
        };
        count++;
      } catch (error) {
        this.#log.warn(`${meter.label}: what was remembered of it cannot be read: ${explain(error)}`);
      }
    }
    return count;
  }

  /** All evidence, the oldest first, each with the key that it was kept under. */
  recallEvidence(): [key: string, item: EvidenceItem][] {
    const rows = this.#db.prepare("SELECT readings, item FROM evidence ORDER BY rowid").all();
    return rows.flatMap((row) => {
      try {
        return [[String(row.readings), JSON.parse(String(row.item)) as EvidenceItem]];
      } catch (error) {
        this.#log.warn(`evidence that was kept cannot be read: ${explain(error)}`);
        return [];
      }
    });
  }

  /** Notes a meter's newest reading; it is written within a second. */
  note(meter: Meter, entry: ShelfEntry): void {
    this.#changed.set(meter, entry);
    this.#schedule(FLUSH_MS);
  }

  /** Keeps evidence; it is written at once. */
  keep(key: string, item: EvidenceItem): void {
    this.#evidence.set(key, item);
    this.#flush();
  }

  /** Why nothing is written at present; undefined while all is well. */
  get failing(): string | undefined {
    return this.#failing;
  }

  close(): void {
    while (this.#flush());
    clearTimeout(this.#timer);
    this.#db.close();
  }

  #schedule(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#flush()) this.#schedule(0);
    }, ms).unref();
  }

  /** Writes what waits, so much at once; returns whether more waits and can be written. */
  #flush(): boolean {
    const meters = [...this.#changed].slice(0, AT_ONCE);
    const evidence = [...this.#evidence];
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const [key, item] of evidence) this.#putEvidence.run(key, JSON.stringify(item));
      for (const [meter, entry] of meters) {
        const record = Buffer.from(entry.digits, "hex");
        this.#putNewest.run(meter.id, entry.lot.toString(), record, entry.signer, entry.receivedAt);
      }
      this.#db.exec("COMMIT");
      // WAL with synchronous NORMAL may lose its last transactions in a power cut; evidence must not be among them.
      if (evidence.length > 0) this.#db.exec("PRAGMA wal_checkpoint(FULL)");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      if (this.#failing === undefined) {
        this.#log.error({ err: error }, `what is to be remembered cannot be written to DATA_DIR: ${explain(error)}`);
      }
      this.#failing = explain(error);
      this.#onFailure();
      this.#schedule(RETRY_MS);
      return false;
    }
    if (this.#failing !== undefined) this.#log.warn("DATA_DIR can be written again");
    this.#failing = undefined;
    for (const [key] of evidence) this.#evidence.delete(key);
    // A meter that was read again meanwhile waits for its turn with its newer reading.
    for (const [meter, entry] of meters) if (this.#changed.get(meter) === entry) this.#changed.delete(meter);
    return this.#changed.size > 0;
  }
}

/** Makes a new file's tables, or checks whose and of which version they are. */
function prepare(db: DatabaseSync, owner: MemoryOwner, path: string): void {
  const pragma = (name: string): number => Number(Object.values(db.prepare(`PRAGMA ${name}`).get() as object)[0]);
  const wanted = Object.entries({
    chainId: owner.chainId.toString(),
    registry: owner.registry.toLowerCase(),
    lotSeconds: String(owner.lotSeconds),
  });
  if (pragma("schema_version") === 0) {
    // All in one transaction: after a power cut a file without its owner would be nobody's.
    db.exec(`BEGIN; ${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
    const put = db.prepare("INSERT INTO owner VALUES (?, ?)");
    for (const [name, value] of wanted) put.run(name, value);
    db.exec("COMMIT");
    return;
  }
  if (pragma("application_id") !== APPLICATION_ID || pragma("user_version") !== SCHEMA_VERSION) {
    throw new SettingsError([`DATA_DIR: ${path} is not a memory that this version of the adapter wrote`]);
  }
  const [check] = db.prepare("PRAGMA quick_check(1)").all();
  if (check?.quick_check !== "ok") throw new Error(`malformed: ${check?.quick_check}`);
  for (const [name, value] of wanted) {
    const had = db.prepare("SELECT value FROM owner WHERE name = ?").get(name)?.value;
    if (had !== value) throw new SettingsError([`DATA_DIR: ${path} belongs to ${name} ${had}, not ${value}`]);
  }
}

function whyNot(error: unknown, path: string): string {
  const { errcode } = error as { errcode?: number };
  const primary = (errcode ?? 0) & 0xff;
  // https://sqlite.org/rescode.html
  if (primary === 5) return `${path} is in use by another adapter`;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined && code !== "ERR_SQLITE_ERROR") return `${path} cannot be used: ${explain(error)}`;
  if (primary === 11 || primary === 26 || errcode === undefined) {
    return `${path} is damaged or no SQLite file (${explain(error)}); move it away to start without what it remembers`;
  }
  return `${path} cannot be used: ${explain(error)}`;
}
