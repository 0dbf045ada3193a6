import assert from "node:assert/strict";
import { once } from "node:events";
import fs, { mkdtempSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Database, openDatabase } from "../src/state/database.ts";
import { openPostgres, postgresHere } from "./fixtures/postgres.ts";

/* The state's SQL, and what BullMQ gets of it, on the embedded PostgreSQL and on a server. */

const folder = mkdtempSync(join(tmpdir(), "bijuli-database-"));
const sync = mock.method(fs, "fdatasyncSync");
syncBuiltinESMExports();

let embedded: Database;
before(async () => {
  embedded = await openDatabase(folder);
  await embedded.query("create table kept (id integer primary key, value jsonb)");
});
after(async () => {
  await embedded.close();
  sync.mock.restore();
  syncBuiltinESMExports();
  rmSync(folder, { recursive: true });
});

test("the state is on the disk when a statement resolves, the queue waits for no disk", async () => {
  const put = (id: number) => embedded.query("insert into kept values ($1, null)", [id]);
  const queue = (id: number) => embedded.queuePool.query("insert into kept values ($1, null)", [id]);
  sync.mock.resetCalls();
  for (const id of [1, 2, 3]) await queue(id);
  assert.equal(sync.mock.callCount(), 0);
  await put(4);
  assert.ok(sync.mock.callCount() >= 1);
  // Also where they come together.
  const syncs: number[] = [];
  await Promise.all(
    [5, 6, 7, 8, 9, 10].map(async (id) => {
      if (id % 2 === 0) return await queue(id);
      await put(id);
      syncs.push(sync.mock.callCount());
    }),
  );
  assert.equal(new Set(syncs).size, 3, `each of the state's own: ${syncs}`);
  assert.deepEqual(await embedded.query("select count(*)::int as rows from kept"), [{ rows: 10 }]);
});

test("a value of some megabytes goes in and comes out whole, and others have their turn", async () => {
  const value = { text: "é".repeat(4_000_000) };
  const [big, small] = await Promise.all([
    embedded.query<{ value: unknown }>("insert into kept values ($1, $2) returning value", [
      100,
      JSON.stringify(value),
    ]),
    embedded.query("select 1 as one"),
  ]);
  assert.deepEqual(big, [{ value }]);
  assert.deepEqual(small, [{ one: 1 }]);
});

test("what was answered is not kept", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const held = async () => {
    collect();
    // Buffers are let go of in the background.
    await sleep(100);
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return (heapUsed + external) / 2 ** 20;
  };
  const answers = (count: number) =>
    Promise.all(Array.from({ length: count }, () => embedded.query("select repeat('a', 100000) as text")));
  await answers(20);
  const before = await held();
  for (let round = 0; round < 40; round++) await answers(20);
  const kept = (await held()) - before;
  assert.ok(kept < 20, `80 MB were answered, ${kept.toFixed(1)} MB are kept`);
});

test("a statement that fails says why, and the session goes on", async () => {
  await assert.rejects(embedded.query("insert into kept values ($1, null)", [1]), { code: "23505" });
  await assert.rejects(embedded.queuePool.query("select 1 / $1::integer", [0]), { code: "22012" });
  await assert.rejects(embedded.query("create table other (id integer); select nothing from nowhere"), {
    code: "42P01",
  });
  assert.deepEqual(await embedded.query("select to_regclass('other') as other"), [{ other: null }]);
  assert.deepEqual(await embedded.query("select 1 as one; select 2 as two"), [{ two: 2 }]);
});

test("who listens hears of it, until it lets go", async () => {
  const client = await embedded.queuePool.connect();
  await client.query("listen news");
  const heard = once(client, "notification");
  await embedded.query("select pg_notify('news', $1)", ["a lot is over"]);
  const [message] = (await heard) as [{ channel: string; payload: string }];
  assert.deepEqual([message.channel, message.payload], ["news", "a lot is over"]);
  client.release();
  client.once("notification", () => assert.fail("released"));
  await embedded.query("select pg_notify('news', 'another')");
});

for (const kind of ["embedded", "server"] as const) {
  const skip = kind === "server" && !postgresHere() && "PostgreSQL is not installed";
  test(`${kind}: a prepared statement whose table got another column meanwhile gives it, too`, { skip }, async (t) => {
    let database = embedded;
    if (kind === "server") {
      const server = await openPostgres();
      database = await openDatabase("", server.url);
      t.after(async () => {
        await database.close();
        await server.close();
      });
    }
    await database.query("create table shape (id integer)");
    await database.query("insert into shape values (1)");
    const ask = async () => (await database.queuePool.query("select * from shape where id = $1", [1])).rows;
    assert.deepEqual(await ask(), [{ id: 1 }]);
    await database.query("alter table shape add column more text default 'yes'");
    assert.deepEqual(await ask(), [{ id: 1, more: "yes" }]);
    assert.deepEqual(await ask(), [{ id: 1, more: "yes" }]);
  });
}
