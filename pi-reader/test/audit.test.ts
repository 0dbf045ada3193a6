import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { audit as auditLots } from "../src/audit.ts";
import { storedLots, storeIdentity } from "../src/exportFile.ts";
import { Store } from "../src/store.ts";
import { startMeter, tempFolder } from "./bench.ts";
import { HandClock } from "./handClock.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

async function storeWithLots(t: TestContext): Promise<string> {
  const path = join(tempFolder(t), "store.db");
  const clock = new HandClock("2026-01-01T00:02:00Z");
  const { meter } = startMeter(t, { source: 'simulate:{"watts":777,"noise":0.5}', clock, store: path });
  clock.moveTo("2026-01-01T02:00:00Z");
  await meter.closeDue();
  return path;
}

test("a store is audited while its meter runs, and so is its export", async (t) => {
  const store = await storeWithLots(t);
  const audited = run("audit", "--store", store);
  assert.equal(audited.status, 0, audited.stderr);
  const report = JSON.parse(audited.stdout);
  assert.equal(report.lots, 24);
  assert.equal(report.ok, true);
  const out = `${store}.export`;
  assert.equal(run("export", "--store", store, "--out", out).status, 0);
  assert.equal(run("export", "--store", store, "--out", out).status, 2);
  assert.deepEqual(JSON.parse(run("audit", "--export", out).stdout), report);
  const slice = JSON.parse(run("audit", "--export", out, "--from", String(BigInt(report.first) + 5n)).stdout);
  assert.deepEqual([slice.lots, slice.ok], [19, true]);
  const csv = run("export", "--store", store, "--format", "csv").stdout.trimEnd().split("\n");
  assert.equal(csv.length, 25);
  assert.match(csv[1]!, /^5890752,2026-01-01T00:00:00.000Z,2026-01-01T00:05:00.000Z,/);
});

const tampering: [name: string, sql: string, expected: RegExp][] = [
  [
    "an energy that was changed",
    "UPDATE lots SET energy = energy - 1 WHERE lot = 5890760",
    /lot 5890760: its forward register goes from/,
  ],
  [
    "a register that was changed",
    "UPDATE lots SET forward = forward + 1 WHERE lot = 5890760",
    /lot 5890761: its forward register goes from/,
  ],
  ["a quality that was changed", "UPDATE lots SET quality = 0 WHERE lot = 5890752", /lot 5890752: is signed by 0x/],
  [
    "the first lots, taken out",
    "DELETE FROM lots WHERE lot < 5890755",
    /lot 5890755: the lots from 5890752 on are missing/,
  ],
  ["a lot that was taken out", "DELETE FROM lots WHERE lot = 5890760", /lot 5890761: follows lot 5890759/],
  [
    "another meter's lot",
    "UPDATE lots SET signature = (SELECT signature FROM lots WHERE lot = 5890761) WHERE lot = 5890760",
    /lot 5890760: is signed by 0x/,
  ],
  [
    "a remainder beyond a Unit",
    "UPDATE lots SET forward_rest = 360000000000000 WHERE lot = 5890760",
    /lot 5890760: carries/,
  ],
];
test("an audit finds what was tampered with", async (t) => {
  const path = await storeWithLots(t);
  for (const [name, sql, expected] of tampering) {
    const copy = `${path}.${name}`;
    const db = new DatabaseSync(path);
    db.exec(`VACUUM INTO '${copy.replaceAll("'", "''")}'`);
    db.close();
    const tampered = new DatabaseSync(copy);
    tampered.exec(sql);
    tampered.close();
    const store = Store.openReadOnly(copy);
    const { problems } = auditLots(storeIdentity(store), storedLots(store), true);
    store.close();
    assert.match(problems.join("\n"), expected, name);
  }
  const db = new DatabaseSync(path);
  db.exec(tampering[0]![1]);
  db.exec("DELETE FROM lots WHERE lot = 5890752");
  db.close();
  const audited = run("audit", "--store", path);
  assert.equal(audited.status, 1);
  const problems = JSON.parse(audited.stdout).problems.join("\n");
  assert.match(problems, tampering[0]![2]);
  assert.match(problems, /lot 5890753: the lots from 5890752 on are missing/);
});

test("a damaged file is said to be one, and left as it is", async (t) => {
  const path = await storeWithLots(t);
  const db = new DatabaseSync(path);
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
  const bytes = readFileSync(path);
  bytes.fill(0x5a, 8192, 12_288);
  const copy = `${path}.damaged`;
  writeFileSync(copy, bytes);
  const audited = run("audit", "--store", copy);
  assert.equal(audited.status, 1);
  assert.match(audited.stderr, /is damaged/);
  assert.ok(readFileSync(copy).equals(bytes));
});

test("an export that is damaged is refused with file, line and field", async (t) => {
  const store = await storeWithLots(t);
  const out = `${store}.export`;
  run("export", "--store", store, "--out", out);
  const lines = readFileSync(out, "utf8").split("\n");
  writeFileSync(out, [lines[0], lines[1]!.replace('"energy":"', '"energy":"x')].join("\n"));
  const refused = run("audit", "--export", out);
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /\.export:2:energy: /);
});

test("a store that is not there is said not to be there, and none is made", (t) => {
  const path = join(tempFolder(t), "store.db");
  for (const command of ["audit", "export"]) {
    const { status, stderr } = run(command, "--store", path);
    assert.deepEqual([status, stderr], [2, `there is no store ${path}\n`]);
  }
  assert.equal(existsSync(path), false);
});

test("a lot number beyond what a store can hold is refused as one, not as the store's failure", async (t) => {
  const { status, stderr } = run("export", "--store", await storeWithLots(t), "--from", "9223372036854775808");
  assert.equal(status, 2);
  assert.match(stderr, /^--from 9223372036854775808 is not a lot number/);
});

test("an export that cannot be finished fails and leaves no file; one that nobody reads on is no failure", async (t) => {
  const store = await storeWithLots(t);
  const shell = (line: string) =>
    spawnSync("sh", ["-c", line, process.execPath, CLI, store, `${store}.export`], { encoding: "utf8" });
  for (const args of ['export --store "$2"', "simulate"]) {
    const { status, stderr } = shell(`"$0" "$1" ${args} >/dev/full`);
    assert.equal(status, 1);
    assert.match(stderr, /^stdout cannot be written: ENOSPC/);
  }
  // No file may grow beyond 512 bytes: like a disk without room.
  const cut = shell('ulimit -f 1; trap "" XFSZ; "$0" "$1" export --store "$2" --out "$3"');
  assert.equal(cut.status, 1);
  assert.match(cut.stderr, /\.export cannot be written and was taken away: EFBIG/);
  assert.equal(existsSync(`${store}.export`), false);
  const head = shell('{ "$0" "$1" simulate --hours 900; echo $? >&2; } | head -1');
  assert.deepEqual([head.stdout, head.stderr], ["time,voltage,current,power\n", "0\n"]);
});
