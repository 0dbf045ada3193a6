import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { BijuliError, type Hex } from "@bijuli/protocol";
import { SOURCES } from "./schema.ts";
import { createProjected, dropProjected, forget, noteChanges, takeBack } from "./undo.ts";

/** A log as it is kept. */
export interface StoredLog {
  block: number;
  index: number;
  /** Unix seconds of its block. */
  time: number;
  address: Hex;
  topics: Hex[];
  data: Hex;
  tx: Hex;
}

/** A log's place in the chain as one number, in the chain's order. */
export const placeOf = (log: StoredLog): bigint => BigInt(log.block) * 1_048_576n + BigInt(log.index);

export type Row = Record<string, bigint | string | Uint8Array | null>;

const INT64_MAX = 2n ** 63n - 1n;
/** Raised when the tables change: what was projected by an older version is projected anew. */
const VERSION = "3";

/** What can be done about a store that SQLite does not open, by its result code. */
const REMEDIES: Readonly<Record<number, string>> = {
  5: "is another dashboard using DATA_DIR?",
  11: "remove that folder: all of it is read from the chain again",
  26: "remove that folder: all of it is read from the chain again",
};
/** A disk that fails or is full is no mistake in the settings: a supervisor may try again. */
const DISK = [10, 13];

/** An integer as SQLite keeps it: beyond 64 bits as text. */
export const stored = (value: bigint): bigint | string =>
  value > INT64_MAX || value < -INT64_MAX ? value.toString() : value;

/** Everything that the page needs, in one SQLite file; its cache is bounded, however long the history is. */
export class Store {
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /**
   * @param folder where the file lies; undefined keeps it in memory, for tests
   * @throws BijuliError bad-folder, disk-failed
   */
  constructor(folder: string | undefined) {
    let database: DatabaseSync | undefined;
    try {
      if (folder !== undefined) mkdirSync(folder, { recursive: true });
      database = new DatabaseSync(folder === undefined ? ":memory:" : join(folder, "page.sqlite"));
      database.exec("pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = normal");
      // A row that is replaced is a row deleted, for the triggers that note how to take it back.
      database.exec("pragma recursive_triggers = on");
      database.exec("pragma cache_size = -16000; pragma temp_store = memory; begin immediate; commit");
      database.exec(SOURCES);
      createProjected(database);
    } catch (cause) {
      if (database?.isOpen) database.close();
      const result = Number((cause as { errcode?: number }).errcode) & 0xff;
      const code = DISK.includes(result) ? "disk-failed" : "bad-folder";
      throw new BijuliError(code, `the page's store in ${folder} cannot be opened`, {
        cause,
        remedy: REMEDIES[result],
      });
    }
    this.database = database;
  }

  /** All rows; integers as bigint. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  each(sql: string, ...values: SQLInputValue[]): Iterable<Row> {
    return this.#prepare(sql).iterate(...values) as Iterable<Row>;
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  run(sql: string, ...values: SQLInputValue[]): void {
    this.#prepare(sql).run(...values);
  }

  /** Adds or replaces a row by its columns. */
  put(table: string, row: Readonly<Record<string, SQLInputValue>>): void {
    const columns = Object.keys(row);
    this.run(
      `insert or replace into ${table} (${columns.join(", ")}) values (${columns.map(() => "?").join(", ")})`,
      ...Object.values(row),
    );
  }

  transaction<T>(work: () => T): T {
    this.database.exec("begin immediate");
    try {
      const result = work();
      this.database.exec("commit");
      return result;
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Takes an open transaction back; SQLite has done so by itself where the disk was full or failed. */
  abandon(): void {
    if (this.database.isTransaction) this.database.exec("rollback");
  }

  fact(name: string): string | undefined {
    return this.get("select value from fact where name = ?", name)?.value as string | undefined;
  }

  setFact(name: string, value: string): void {
    this.run("insert or replace into fact values (?, ?)", name, value);
  }

  /**
   * This file belongs to one market on one chain. What an older version wrote is emptied, and read from the chain again.
   * @throws BijuliError other-chain when it holds another one's
   */
  claim(identity: string): void {
    const known = this.fact("identity");
    const [version, ...rest] = known?.split(" ") ?? [VERSION, identity];
    if (rest.join(" ") !== identity) {
      throw new BijuliError("other-chain", "the page's store holds another market or chain", {
        remedy: "give it a DATA_DIR of its own, or remove that folder: all of it is read from the chain again",
      });
    }
    if (known === `${VERSION} ${identity}`) return;
    this.transaction(() => {
      if (version !== VERSION) {
        dropProjected(this.database);
        for (const table of ["checkpoint", "log", "input", "fact"]) this.run(`delete from ${table}`);
        createProjected(this.database);
      }
      this.setFact("identity", `${VERSION} ${identity}`);
    });
  }

  /** The newest block that was taken in; undefined before the first. */
  position(): { block: number; hash: string } | undefined {
    const row = this.get("select block, hash from checkpoint order by block desc limit 1");
    return row && { block: Number(row.block), hash: row.hash as string };
  }

  /** Older places where the chain may have gone another way, newest first. */
  checkpoints(): { block: number; hash: string }[] {
    return this.all("select block, hash from checkpoint order by block desc").map((row) => ({
      block: Number(row.block),
      hash: row.hash as string,
    }));
  }

  /** Forgets how to go back beyond the newest checkpoint that is final: to it, and to each younger one, all can be taken back. */
  settle(final: number): void {
    const kept = this.get("select max(block) as block from checkpoint where block <= ?", final)?.block;
    if (kept === null || kept === undefined) return;
    forget(this.database, Number(kept));
    this.run("delete from checkpoint where block < ?", kept);
    if (!this.settled) this.setFact("settled", "yes");
  }

  /** Whether there is a block to which nothing leads back; until then all can be taken back. */
  get settled(): boolean {
    return this.fact("settled") !== undefined;
  }

  noteChanges(block: number | undefined): void {
    noteChanges(this.database, block);
  }

  /** Takes back all that blocks after `block` brought. */
  rollBack(block: number): void {
    this.transaction(() => {
      takeBack(this.database, block);
      for (const table of ["checkpoint", "log", "input"]) this.run(`delete from ${table} where block > ?`, block);
    });
  }

  addLog(log: StoredLog): void {
    this.run(
      "insert into log values (?, ?, ?, ?, ?, ?, ?)",
      log.block,
      log.index,
      log.time,
      log.tx,
      log.address,
      log.topics.join(","),
      log.data,
    );
  }

  *logs(): Generator<StoredLog> {
    for (const row of this.each("select * from log order by block, idx")) {
      yield {
        block: Number(row.block),
        index: Number(row.idx),
        time: Number(row.time),
        address: row.address as Hex,
        topics: (row.topics as string).split(",") as Hex[],
        data: row.data as Hex,
        tx: row.tx as Hex,
      };
    }
  }

  inputOf(tx: Hex): Hex | undefined {
    return this.get("select input from input where tx = ?", tx)?.input as Hex | undefined;
  }

  close(): void {
    this.database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
