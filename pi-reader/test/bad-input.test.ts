import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, statSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { BijuliError } from "@bijuli/protocol";
import { exitCodeOf } from "../src/commands/command.ts";
import { readKey } from "../src/keyFile.ts";
import { encryptKey } from "../src/keystore.ts";
import { loadReplay } from "../src/replay.ts";
import { SensorFault } from "../src/sensor.ts";
import { Store } from "../src/store.ts";
import { KEY, startMeter, tempFolder } from "./bench.ts";
import { HandClock } from "./handClock.ts";

/*
 * What a person can put wrong: the error says what to do, the data is left as it was, and the exit code tells systemd
 * whether to try again (75) or to wait for a person (2). Buses, chips and their permissions are in addon.test.ts, the
 * CSVs in replay.test.ts, the full disk in cli.test.ts, Modbus in modbus.test.ts.
 */
function refused(work: () => unknown, code: string, exit: number, remedy: RegExp): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof BijuliError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.remedy ?? "", remedy);
    assert.equal(exitCodeOf(error), exit);
    return true;
  });
}

async function storeOfAnHour(path: string, t: Parameters<typeof startMeter>[0]) {
  const clock = new HandClock("2026-01-01T00:00:00Z");
  const options = { source: 'simulate:{"watts":777}', clock, store: path };
  const { meter, store } = startMeter(t, options);
  clock.moveTo("2026-01-01T01:00:00Z");
  await meter.closeDue();
  return { meter, store, options };
}

test("a second reader on one store waits for the first to end", async (t) => {
  const path = join(tempFolder(t), "store.db");
  const { store } = await storeOfAnHour(path, t);
  refused(() => Store.open(path), "store-locked", 75, /stop it first/);
  symlinkSync(path, `${path}.alias`);
  refused(() => Store.open(`${path}.alias`), "store-locked", 75, /stop it first/);
  store.close();
  Store.open(path).close();
});

test("a disk that cannot be written", () => {
  refused(() => Store.open("/sys/bijuli/store.db"), "store-readonly", 2, /its owner and the mount/);
  refused(() => Store.open("/dev/null/store.db"), "store-readonly", 2, /its owner and the mount/);
});

test("a corrupt database is refused and left as it is, whatever part of it is corrupt", async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, "store.db");
  const { store } = await storeOfAnHour(path, t);
  store.close();
  const good = readFileSync(path);
  const corrupt = join(folder, "corrupt.db");
  for (const [at, bytes] of [
    [0, 100],
    [100, 3996],
    [0, good.length],
  ] as const) {
    writeFileSync(corrupt, good);
    const file = openSync(corrupt, "r+");
    writeSync(file, Buffer.alloc(bytes, 0x5a), 0, bytes, at);
    closeSync(file);
    const before = readFileSync(corrupt);
    refused(() => Store.open(corrupt), "bad-store", 2, /restore the newest copy or export/);
    assert.ok(readFileSync(corrupt).equals(before), `${bytes} bytes at ${at}`);
  }
  // Cut short, as by a card that lost its last writes: found when a lot is read.
  writeFileSync(corrupt, good.subarray(0, good.length - 4096));
  assert.throws(
    () => {
      const cut = Store.open(corrupt);
      try {
        cut.lots(0n, 2n ** 62n);
      } finally {
        cut.close();
      }
    },
    { code: "bad-store" },
  );
  const other = join(folder, "other.db");
  new DatabaseSync(other).exec("CREATE TABLE accounts (name TEXT)");
  assert.throws(() => Store.open(other), { code: "bad-store", message: /is not a meter's store/ });
});

test("a meter's store under another's name, and a recording in the store's place", async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, "store.db");
  const { store, options } = await storeOfAnHour(path, t);
  store.close();
  refused(() => startMeter(t, { ...options, serial: "HOUSE-2" }), "wrong-store", 2, /this meter's own store/);
  const csv = join(folder, "meter.csv");
  writeFileSync(csv, "time,power\n2026-01-01T00:00:00Z,NaN\n");
  const size = statSync(csv).size;
  assert.throws(() => Store.open(csv), { code: "bad-store" });
  assert.equal(statSync(csv).size, size);
  assert.throws(
    () => loadReplay(csv, 300),
    (error) => exitCodeOf(error) === 2,
  );
});

test("a keystore with the wrong password says so, and nothing of the key", async (t) => {
  const folder = tempFolder(t);
  const file = join(folder, "key.json");
  const passwordFile = join(folder, "password");
  writeFileSync(file, encryptKey(KEY, "open sesame", 1024));
  writeFileSync(passwordFile, "open simsim");
  await assert.rejects(readKey({ file, passwordFile }), (error: BijuliError) => {
    assert.match(error.message, /the password of the keystore .* is wrong/);
    assert.match(error.remedy!, /READER_KEY_PASSWORD_FILE/);
    assert.ok(!error.message.includes("simsim") && !error.message.includes(KEY.slice(2, 10)));
    assert.equal(exitCodeOf(error), 2);
    return true;
  });
});

test("a sensor that may come back is tried again, another one is not", () => {
  for (const kind of ["absent", "reset", "range", "invalid"] as const) {
    assert.equal(exitCodeOf(new SensorFault(kind, "")), 75);
  }
  assert.equal(exitCodeOf(new SensorFault("wrong-chip", "")), 2);
});
