import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { SettingsError } from "@bijuli/protocol";
import pino from "pino";
import { Roster } from "../src/meters.ts";
import { Remembered } from "../src/remembered.ts";
import {
  adapterOver,
  CHAIN_ID,
  FixtureReader,
  getJson,
  HandClock,
  LOT,
  LOT_SECONDS,
  post,
  REGISTRY,
} from "./fixtures.ts";

async function setUp(t: TestContext, serial: string) {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-adapter-"));
  const reader = await new FixtureReader(serial).start();
  t.after(async () => {
    await reader.stop();
    rmSync(folder, { recursive: true });
  });
  const clock = new HandClock(LOT + 2n);
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const start = (env: Record<string, string> = {}) =>
    adapterOver([reader], { clock, log, env: { DATA_DIR: folder, ...env } });
  const ask = (url: string, lot: bigint, lots = 1) =>
    post(url, { data: { meters: [serial], lot: lot.toString(), lots: String(lots) } });
  return { folder, reader, clock, lines, start, ask };
}

test("a meter that tells another story after a restart is found out, and its evidence outlasts the next", async (t) => {
  const { reader, start, ask } = await setUp(t, "TWOFACED");
  const first = await start();
  assert.equal((await ask(first.url, LOT - 1n)).status, 200);
  assert.equal((await ask(first.url, LOT)).status, 200);
  await first.close();

  reader.fault = "other-history";
  const second = await start();
  const refused = await ask(second.url, LOT, 3);
  assert.equal(refused.status, 502);
  assert.equal(refused.body.error.name, "Disagreement", refused.text);
  assert.match(refused.body.error.message, /where it signed/);
  await second.close();

  const third = await start();
  const { evidence } = await getJson(`${third.url}/evidence`);
  assert.equal(evidence.length, 1);
  assert.equal(evidence[0].readings.length, 2);
  assert.match(evidence[0].report.calldata, /^0x[0-9a-f]+$/);
  // The same two readings are no second contradiction.
  assert.equal((await ask(third.url, LOT, 3)).status, 502);
  assert.equal((await getJson(`${third.url}/evidence`)).evidence.length, 1);
  await third.close();
});

test("what is remembered is never served, and gives way to what agrees with it", async (t) => {
  const { folder, reader, start, ask } = await setUp(t, "HONEST");
  const first = await start();
  assert.equal((await ask(first.url, LOT)).status, 200);
  await first.close();
  const asked = reader.requests.length;
  const second = await start();
  assert.equal((await ask(second.url, LOT)).body.data.result, reader.record(LOT));
  assert.equal(reader.requests.length, asked + 1, "its reader was asked");
  assert.equal((await ask(second.url, LOT + 1n)).status, 200);
  await second.close();
  const file = new DatabaseSync(join(folder, "adapter.sqlite"), { readOnly: true });
  assert.equal(file.prepare("SELECT lot FROM newest").get()?.lot, (LOT + 1n).toString());
  file.close();
});

test("an old lot that is asked for after a restart does not take the newest one's place", async (t) => {
  const { reader, start, ask } = await setUp(t, "FORGETFUL");
  for (const lot of [LOT + 1n, LOT - 5n]) {
    const adapter = await start();
    assert.equal((await ask(adapter.url, lot)).status, 200);
    await adapter.close();
  }
  const third = await start();
  reader.fault = "other-history";
  assert.equal((await ask(third.url, LOT + 1n)).body.error?.name, "Disagreement");
  await third.close();
});

test("a file that someone wrote into accuses nobody", async (t) => {
  const { folder, reader, lines, start, ask } = await setUp(t, "FRAMED");
  const first = await start();
  assert.equal((await ask(first.url, LOT)).status, 200);
  await first.close();
  reader.fault = "other-history";
  const forged = Buffer.from(reader.record(LOT).slice(2), "hex");
  reader.fault = "none";
  forged[30]! ^= 1; // r
  const file = new DatabaseSync(join(folder, "adapter.sqlite"));
  file.prepare("UPDATE newest SET record = ?").run(forged);
  file.close();
  const second = await start();
  assert.equal((await ask(second.url, LOT)).status, 200);
  assert.ok(lines.some((line) => /FRAMED.*what was remembered of it is not/.test(line)));
  assert.deepEqual((await getJson(`${second.url}/evidence`)).evidence, []);
  await second.close();
});

test("lots missed while the adapter was down are read once it is back", async (t) => {
  const { reader, clock, start } = await setUp(t, "PATIENT");
  const env = { POLL_ENABLED: "true", POLL_DELAY: "0", POLL_JITTER: "0", BACKFILL_LOTS: "2" };
  const seen = async (lot: bigint): Promise<void> => {
    for (let i = 0; !reader.requests.includes(`/readings/${lot}`); i++) {
      assert.ok(i < 400, `lot ${lot} was never read`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  };
  const first = await start(env);
  await seen(LOT + 1n);
  await first.close();
  clock.ms += 5 * LOT_SECONDS * 1000;
  const second = await start(env);
  await seen(LOT + 6n);
  await seen(LOT + 5n);
  await seen(LOT + 4n);
  assert.ok(!reader.requests.includes(`/readings/${LOT + 3n}`), "no more than were asked for");
  await second.close();
});

test("a folder that cannot be used: one clear line, and nothing is started", async (t) => {
  const { folder, start } = await setUp(t, "REFUSED");
  const refused = (message: RegExp, env: Record<string, string> = {}) =>
    assert.rejects(start(env), (error: Error) => {
      assert.ok(error instanceof SettingsError, String(error));
      assert.match(error.message, message);
      assert.equal(error.problems.length, 1);
      return true;
    });
  const running = await start();
  await refused(/DATA_DIR: .*adapter\.sqlite is in use by another adapter/);
  await running.close();
  await refused(/belongs to chainId 31337, not 1$/, { CHAIN_ID: "1" });
  writeFileSync(join(folder, "adapter.sqlite"), Buffer.alloc(20_000, 7));
  for (const rest of ["-wal", "-shm"]) rmSync(join(folder, `adapter.sqlite${rest}`), { force: true });
  await refused(/adapter\.sqlite is damaged or no SQLite file.*move it away/);
  rmSync(join(folder, "adapter.sqlite"));
  new DatabaseSync(join(folder, "adapter.sqlite")).exec("CREATE TABLE other (x)");
  await refused(/is not a memory that this version of the adapter wrote/);
  writeFileSync(join(folder, "file"), "");
  await refused(/cannot be used/, { DATA_DIR: join(folder, "file", "below") });
});

test("a full disk: said once, what was written before is whole, and writing goes on when there is room", async (t) => {
  const { folder, reader, lines } = await setUp(t, "FULL");
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const owner = { chainId: BigInt(CHAIN_ID), registry: REGISTRY, lotSeconds: LOT_SECONDS };
  let failures = 0;
  const small = await Remembered.open(folder, owner, { log, pages: 12, onFailure: () => void failures++ });
  const item = (name: string) => ({
    serial: name,
    meterId: reader.id,
    kind: "registers-differ" as const,
    lot: "1",
    foundAt: "",
    readings: [{ reading: { energies: `0x${"00".repeat(6000)}` } as never, signature: "0x", signer: "", digest: "" }],
  });
  for (let i = 0; i < 20; i++) small.keep(`${i}`, item(`${i}`));
  assert.match(small.failing ?? "", /full/);
  assert.ok(failures > 1);
  assert.equal(lines.filter((line) => /cannot be written to DATA_DIR/.test(line)).length, 1);
  small.close();
  const roomy = await Remembered.open(folder, owner, { log });
  const kept = roomy.recallEvidence();
  assert.ok(kept.length > 0 && kept.length < 20);
  assert.deepEqual(
    kept.map(([key]) => key),
    kept.map((_, i) => `${i}`),
  );
  assert.equal(roomy.recall(new Roster([])), 0);
  roomy.keep("later", item("later"));
  assert.equal(roomy.failing, undefined);
  assert.equal(roomy.recallEvidence().length, kept.length + 1);
  roomy.close();
});
