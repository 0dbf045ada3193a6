import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { BijuliError, type Hex } from "@bijuli/protocol";
import type { Spread } from "./measurement.ts";

/** A closed lot as it is kept for ever: registers are Units at its end, `forwardRest` and `reverseRest` the femtojoules below one Unit that the next lot takes over. */
export interface ClosedLot {
  lot: bigint;
  /** Forward and reverse energy of the lot in Units: differences of the registers. */
  energy: bigint;
  reverseEnergy: bigint;
  forward: bigint;
  reverse: bigint;
  forwardRest: bigint;
  reverseRest: bigint;
  quality: number;
  samples: number;
  coveredMs: number;
  voltage?: Spread | undefined;
  current?: Spread | undefined;
  power?: Spread | undefined;
  /** Of the reading that covers this lot alone. */
  signature: Hex;
}

/** Registers at a lot's end. */
export type LotEnd = Pick<ClosedLot, "lot" | "forward" | "reverse">;

/** What a store belongs to: readings under another of these would contradict those it has signed. */
export interface StoreIdentity {
  serial: string;
  chainId: string;
  registry: string;
  lotSeconds: string;
}

const APPLICATION_ID = 0x42494a55; // "BIJU"
const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE lots (
    lot INTEGER PRIMARY KEY,
    energy INTEGER NOT NULL, reverse_energy INTEGER NOT NULL,
    forward INTEGER NOT NULL, reverse INTEGER NOT NULL,
    forward_rest INTEGER NOT NULL, reverse_rest INTEGER NOT NULL,
    quality INTEGER NOT NULL, samples INTEGER NOT NULL, covered_ms INTEGER NOT NULL,
    voltage_min INTEGER, voltage_mean INTEGER, voltage_max INTEGER,
    current_min INTEGER, current_mean INTEGER, current_max INTEGER,
    power_min INTEGER, power_mean INTEGER, power_max INTEGER,
    signature BLOB NOT NULL
  ) STRICT;
`;

const QUANTITIES = ["voltage", "current", "power"] as const;
const COLUMNS = [
  "lot",
  "energy",
  "reverse_energy",
  "forward",
  "reverse",
  "forward_rest",
  "reverse_rest",
  "quality",
  "samples",
  "covered_ms",
  ...QUANTITIES.flatMap((quantity) => [`${quantity}_min`, `${quantity}_mean`, `${quantity}_max`]),
  "signature",
];

type Row = Record<string, bigint | Uint8Array | null>;

/**
 * A meter's memory: SQLite in WAL mode with synchronous FULL, so that what a commit returned from survives a power
 * cut. One process owns it, by a lock that the operating system drops with the process. Rows are added, never changed,
 * and the oldest may go once they are in an archive.
 */
export class Store {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #lock: DatabaseSync | undefined;
  readonly #insert: StatementSync;
  readonly #run: StatementSync;
  readonly #newest: StatementSync;
  readonly #newestMeasured: StatementSync;
  readonly #next: StatementSync;

  private constructor(path: string, db: DatabaseSync, lock: DatabaseSync | undefined) {
    this.path = path;
    this.#db = db;
    this.#lock = lock;
    const prepare = (sql: string) => {
      const statement = db.prepare(sql);
      statement.setReadBigInts(true);
      return statement;
    };
    this.#insert = prepare(`INSERT INTO lots (${COLUMNS.join(", ")}) VALUES (${COLUMNS.map(() => "?").join(", ")})`);
    this.#run = prepare("SELECT * FROM lots WHERE lot BETWEEN ? AND ? ORDER BY lot");
    this.#newest = prepare("SELECT * FROM lots ORDER BY lot DESC LIMIT 1");
    this.#newestMeasured = prepare("SELECT * FROM lots WHERE samples > 0 ORDER BY lot DESC LIMIT 1");
    this.#next = prepare("SELECT lot FROM lots WHERE lot >= ? ORDER BY lot LIMIT 1");
  }

  /**
   * Opens or makes the store and takes its lock.
   * @throws BijuliError store-locked while another process has it; bad-store for a file that is no store, is damaged,
   *   or cannot be written
   */
  static open(path: string): Store {
    let lock: DatabaseSync | undefined;
    let db: DatabaseSync | undefined;
    try {
      mkdirSync(dirname(path), { recursive: true });
      // Beside the file itself: by another name it is the same store.
      lock = takeLock(`${existsSync(path) ? realpathSync(path) : path}.lock`, path);
      db = new DatabaseSync(path);
      db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
      prepareSchema(db, path);
      return new Store(path, db, lock);
    } catch (cause) {
      db?.close();
      lock?.close();
      throw storeError(path, cause);
    }
  }

  /** Opens a store to look at it, whether or not a meter runs on it. */
  static openReadOnly(path: string): Store {
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path, { readOnly: true });
      prepareSchema(db, path, true);
      return new Store(path, db, undefined);
    } catch (cause) {
      db?.close();
      const error = storeError(path, cause);
      if (error.code !== "store-readonly") throw error;
      throw existsSync(path)
        ? new BijuliError("bad-store", `the store ${path} cannot be looked at here`, {
            cause,
            remedy: "SQLite must be able to write beside it: copy it, with its -wal file, to a folder where that is so",
          })
        : new BijuliError("bad-store", `there is no store ${path}`);
    }
  }

  close(): void {
    this.#db.close();
    this.#lock?.close();
  }

  get(name: string): string | undefined {
    const row = this.#db.prepare("SELECT value FROM meta WHERE name = ?").get(name) as { value: string } | undefined;
    return row?.value;
  }

  set(values: Readonly<Record<string, string>>): void {
    this.#transaction(() => {
      for (const [name, value] of Object.entries(values)) this.#upsert(name, value);
    });
  }

  #upsert(name: string, value: string): void {
    this.#db
      .prepare("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
      .run(name, value);
  }

  /**
   * Binds a new store to its meter, or checks that it is this meter's.
   * @throws BijuliError wrong-store, naming what differs
   */
  claim(identity: StoreIdentity): void {
    const fresh: Record<string, string> = {};
    for (const [name, value] of Object.entries(identity)) {
      const stored = this.get(name);
      if (stored === undefined) fresh[name] = value;
      else if (stored !== value) {
        throw new BijuliError("wrong-store", `the store ${this.path} is of ${name} ${stored}, not ${value}`, {
          remedy: "readings of both would contradict each other: use this meter's own store, or a new one",
        });
      }
    }
    if (Object.keys(fresh).length > 0) this.set(fresh);
  }

  /** Stores closed lots, and what goes with them, in one transaction; when this returns they are on the disk. */
  append(lots: readonly ClosedLot[], checkpoint?: string): void {
    this.#transaction(() => {
      if (checkpoint !== undefined) this.#upsert("checkpoint", checkpoint);
      for (const lot of lots) {
        this.#insert.run(
          lot.lot,
          lot.energy,
          lot.reverseEnergy,
          lot.forward,
          lot.reverse,
          lot.forwardRest,
          lot.reverseRest,
          lot.quality,
          lot.samples,
          lot.coveredMs,
          ...QUANTITIES.flatMap((quantity) => {
            const spread = lot[quantity];
            return spread === undefined ? [null, null, null] : [spread.min, spread.mean, spread.max];
          }),
          Buffer.from(lot.signature.slice(2), "hex"),
        );
      }
    });
  }

  /** Forgets the lots up to `last`, whose registers the lots that are kept go on from. */
  prune(last: ClosedLot): void {
    const { lot, forward, reverse } = last;
    this.#transaction(() => {
      this.#upsert("pruned", JSON.stringify({ lot: `${lot}`, forward: `${forward}`, reverse: `${reverse}` }));
      this.#db.prepare("DELETE FROM lots WHERE lot <= ?").run(lot);
    });
  }

  /** Where the kept lots begin: the last pruned one and its registers. Undefined while all are kept. */
  get pruned(): LotEnd | undefined {
    const text = this.get("pruned");
    if (text === undefined) return undefined;
    const { lot, forward, reverse } = JSON.parse(text) as Record<keyof LotEnd, string>;
    return { lot: BigInt(lot), forward: BigInt(forward), reverse: BigInt(reverse) };
  }

  newest(): ClosedLot | undefined {
    const row = this.#read(() => this.#newest.get() as Row | undefined);
    return row && closedLot(row);
  }

  /** The newest lot in which something was measured. */
  newestMeasured(): ClosedLot | undefined {
    const row = this.#read(() => this.#newestMeasured.get() as Row | undefined);
    return row && closedLot(row);
  }

  /** The first stored lot from `from` on. */
  nextLot(from: bigint): bigint | undefined {
    return this.#read(() => this.#next.get(from) as { lot: bigint } | undefined)?.lot;
  }

  /** The stored lots of from … to, both included, oldest first. */
  lots(from: bigint, to: bigint): ClosedLot[] {
    return this.#read(() => this.#run.all(from, to) as Row[]).map(closedLot);
  }

  /** What SQLite's own check of the whole file finds; nothing when it is sound. */
  damage(): string[] {
    try {
      const rows = this.#db.prepare("PRAGMA integrity_check(20)").all() as { integrity_check: string }[];
      return rows.map((row) => row.integrity_check).filter((text) => text !== "ok");
    } catch (error) {
      return [(error as Error).message];
    }
  }

  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storeError(this.path, error);
    }
  }

  #transaction(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      // A failed COMMIT (a full disk) may have rolled back by itself.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw storeError(this.path, error);
    }
  }
}

/** An exclusive transaction on a file of its own: readers of the store itself stay possible, a second meter does not. */
function takeLock(lockPath: string, path: string): DatabaseSync {
  const lock = new DatabaseSync(lockPath);
  try {
    lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock.close();
    if ((cause as { errcode?: number }).errcode === 5 /* SQLITE_BUSY */) {
      throw new BijuliError("store-locked", `another reader is running on the store ${path}`, {
        cause,
        remedy: "stop it first; one store has one reader",
      });
    }
    throw cause;
  }
}

function prepareSchema(db: DatabaseSync, path: string, readOnly = false): void {
  const pragma = (name: string) => Number(Object.values(db.prepare(`PRAGMA ${name}`).get() as object)[0]);
  const version = pragma("user_version");
  const application = pragma("application_id");
  const empty = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get() as { n: number };
  if (version === 0 && application === 0 && empty.n === 0 && !readOnly) {
    db.exec(
      `BEGIN; ${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
    );
    return;
  }
  if (application !== APPLICATION_ID) throw new BijuliError("bad-store", `${path} is not a meter's store`);
  if (version !== SCHEMA_VERSION) {
    throw new BijuliError("bad-store", `the store ${path} has version ${version}; this reader knows ${SCHEMA_VERSION}`);
  }
}

function storeError(path: string, cause: unknown): BijuliError {
  if (cause instanceof BijuliError) return cause;
  const { errcode: code, code: systemCode = "" } = cause as { errcode?: number; code?: string };
  const primary = code === undefined ? undefined : code & 0xff;
  if (primary === 11 || primary === 26) {
    return new BijuliError("bad-store", `the store ${path} is damaged or not a database`, {
      cause,
      remedy: "keep the file, restore the newest copy or export of it; a meter never starts over under the same key",
    });
  }
  if (primary === 13 || systemCode === "ENOSPC")
    return new BijuliError("store-full", `the disk under ${path} is full`, {
      cause,
      remedy: "make room; lots wait until then",
    });
  if (primary === 8 || primary === 14 || ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(systemCode)) {
    return new BijuliError("store-readonly", `the store ${path} cannot be opened for writing`, {
      cause,
      remedy: "check the folder, its owner and the mount",
    });
  }
  return new BijuliError("store-failed", `the store ${path} failed`, {
    cause,
    remedy:
      "if its disk or card is failing (the kernel's log tells), copy the store to another one: nothing closed is lost",
  });
}

function closedLot(row: Row): ClosedLot {
  const spread = (quantity: string): Spread | undefined =>
    row[`${quantity}_min`] === null
      ? undefined
      : {
          min: row[`${quantity}_min`] as bigint,
          mean: row[`${quantity}_mean`] as bigint,
          max: row[`${quantity}_max`] as bigint,
        };
  return {
    lot: row.lot as bigint,
    energy: row.energy as bigint,
    reverseEnergy: row.reverse_energy as bigint,
    forward: row.forward as bigint,
    reverse: row.reverse as bigint,
    forwardRest: row.forward_rest as bigint,
    reverseRest: row.reverse_rest as bigint,
    quality: Number(row.quality),
    samples: Number(row.samples),
    coveredMs: Number(row.covered_ms),
    voltage: spread("voltage"),
    current: spread("current"),
    power: spread("power"),
    signature: `0x${Buffer.from(row.signature as Uint8Array).toString("hex")}`,
  };
}
