import type { DatabaseSync } from "node:sqlite";
import { PROJECTED } from "./schema.ts";

/*
 * Reorgs: while a block is not final, triggers write down the inverse of every change to a projected table. Taking a
 * block back is running its inverses, newest first; what lies deeper than a reorg can reach is forgotten.
 */

const names = (columns: string): string[] => columns.split(",").map((column) => column.trim().split(" ")[0]!);
const quoted = (row: "old" | "new", columns: readonly string[]) =>
  columns.map((column) => `quote(${row}.${column})`).join(" || ',' || ");
const where = (row: "old" | "new", key: readonly string[]) =>
  key.map((column) => `'${column} = ' || quote(${row}.${column})`).join(" || ' and ' || ");

export function createProjected(database: DatabaseSync): void {
  database.exec(`
    create table if not exists undo (seq integer primary key, block integer not null, inverse text not null);
    create index if not exists undo_block on undo (block);
    create table if not exists undoing (block integer)`);
  for (const [table, { columns, key, indexes = [] }] of Object.entries(PROJECTED)) {
    const all = names(columns);
    const note = (event: string, inverse: string) => `
      create trigger if not exists ${table}_${event} after ${event} on ${table} when exists (select 1 from undoing) begin
        insert into undo (block, inverse) values ((select block from undoing), ${inverse}); end;`;
    database.exec(`
      create table if not exists ${table} (${columns}, primary key (${key.join(", ")})) without rowid;
      ${indexes.join(";")};
      ${note("insert", `'delete from ${table} where ' || ${where("new", key)}`)}
      ${note(
        "update",
        `'update ${table} set ' || ${all.map((column) => `'${column} = ' || quote(old.${column})`).join(" || ', ' || ")} || ' where ' || ${where("new", key)}`,
      )}
      ${note("delete", `'insert into ${table} values (' || ${quoted("old", all)} || ')'`)}`);
  }
}

/** With what was noted of them. */
export function dropProjected(database: DatabaseSync): void {
  for (const table of [...Object.keys(PROJECTED), "undo", "undoing"]) database.exec(`drop table if exists ${table}`);
}

/** Changes from here on are a block's; undefined: of blocks that are final, and noted by nobody. */
export function noteChanges(database: DatabaseSync, block: number | undefined): void {
  database.exec("delete from undoing");
  if (block !== undefined) database.prepare("insert into undoing values (?)").run(block);
}

/** Takes back all changes of blocks after `block`. */
export function takeBack(database: DatabaseSync, block: number): void {
  noteChanges(database, undefined);
  const rows = database.prepare("select inverse from undo where block > ? order by seq desc").all(block) as {
    inverse: string;
  }[];
  for (const { inverse } of rows) database.exec(inverse);
  database.prepare("delete from undo where block > ?").run(block);
}

/** Blocks up to `block` are final. */
export function forget(database: DatabaseSync, block: number): void {
  database.prepare("delete from undo where block <= ?").run(block);
}
