import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  decodeRecords,
  disagreement,
  type Hex,
  type LotReading,
  Quality,
  readingFromRecord,
  recoverReadingSigner,
  registerAt,
} from "@bijuli/protocol";
import { audit } from "../src/audit.ts";
import { measureLot } from "../src/course.ts";
import { storedLots, storeIdentity } from "../src/exportFile.ts";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import { loadReplay } from "../src/replay.ts";
import { keySigner } from "../src/signer.ts";
import { Store } from "../src/store.ts";
import { DOMAIN, KEY, OTHER_KEY, startMeter, tempFolder, writeRecording } from "./bench.ts";
import { HandClock } from "./handClock.ts";

const START = "2010-07-15T07:49:00Z";
const FIRST = BigInt(Date.parse("2010-07-15T07:45:00Z") / 300_000);
/** Powers whose energy is no whole number of Units: 0.1 W · 60 s = 16.67 Units. */
const WATTS = Array.from({ length: 61 }, (_, minute) => (minute === 30 ? undefined : `${minute}.1`));

test("lots carry the remainder: registers are the floor of the whole sum", async (t) => {
  const folder = tempFolder(t);
  const path = writeRecording(folder, START, WATTS);
  const clock = new HandClock(START);
  const { meter } = startMeter(t, { source: `replay:${path}`, clock, store: join(folder, "store.db") });
  clock.moveTo("2010-07-15T08:50:00Z");
  await meter.closeDue();
  const replay = loadReplay(path, 300);
  assert.equal(meter.newestLot, FIRST + 12n);
  let sum = 0n;
  for (const lot of meter.lots(FIRST, FIRST + 100n)) {
    const before = sum / FEMTOJOULES_PER_UNIT;
    sum += measureLot(replay, lot.lot, 300, clock.nowMs()).forward;
    assert.equal(lot.forward, sum / FEMTOJOULES_PER_UNIT);
    assert.equal(lot.energy, lot.forward - before);
  }
  const gaps = meter.lots(FIRST, FIRST + 100n).filter((lot) => lot.quality === Quality.GAP);
  assert.deepEqual(
    gaps.map((lot) => lot.lot - FIRST),
    [0n, 6n],
  );
});

test("every run of closed lots is signed, agrees with every other, and goes through the record", async (t) => {
  const folder = tempFolder(t);
  const path = writeRecording(folder, START, WATTS);
  const clock = new HandClock("2010-07-15T08:50:00Z");
  const { meter } = startMeter(t, { source: `replay:${path}`, clock, store: join(folder, "store.db") });
  const readings: LotReading[] = [meter.opening!.reading];
  for (let lots = 1; lots <= 13; lots++) {
    for (let lot = FIRST + BigInt(lots) - 1n; lot <= FIRST + 12n; lot++) {
      const served = await meter.reading(lot, lots);
      assert.equal(served.reading.energies.length, lots);
      assert.equal(recoverReadingSigner(DOMAIN, served.reading, served.signature), keySigner(KEY).address);
      const [record] = decodeRecords(served.record);
      assert.deepEqual(
        readingFromRecord(record!, { meterId: meter.meterId, lot, lotSeconds: 300 }).reading,
        served.reading,
      );
      readings.push(served.reading);
    }
  }
  for (const a of readings) for (const b of readings) assert.equal(disagreement(a, b), undefined);
});

test("the opening reading stands before the first lot, at zero", (t) => {
  const folder = tempFolder(t);
  const path = writeRecording(folder, START, WATTS);
  const { meter } = startMeter(t, {
    source: `replay:${path}`,
    clock: new HandClock(START),
    store: join(folder, "store.db"),
  });
  const { reading, signature } = meter.opening!;
  assert.equal(reading.lot, FIRST - 1n);
  assert.deepEqual(reading.energies, [0n]);
  assert.equal(reading.quality, Quality.GAP);
  assert.equal(registerAt(reading, FIRST - 1n), 0n);
  assert.equal(recoverReadingSigner(DOMAIN, reading, signature), meter.signer);
});

test("says why it has no reading", async (t) => {
  const folder = tempFolder(t);
  const clock = new HandClock("2010-07-15T08:00:00Z");
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const { meter } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  await assert.rejects(meter.reading(FIRST - 1n), { code: "before-first-lot" });
  await assert.rejects(meter.reading(FIRST, 2), { code: "before-first-lot" });
  await assert.rejects(meter.reading(FIRST + 3n), { code: "lot-open" });
  await assert.rejects(meter.reading(FIRST, 0), { code: "bad-lots" });
  await assert.rejects(meter.reading(FIRST, 8929), { code: "bad-lots" });
  // The moment the clock passes a lot's end the lot is there, whether or not the loop has woken up.
  clock.moveTo("2010-07-15T08:05:00Z");
  assert.equal((await meter.reading(FIRST + 3n)).reading.lot, FIRST + 3n);
});

test("closes lots by itself as they end, and stops when told", async (t) => {
  const folder = tempFolder(t);
  const clock = new HandClock(START);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const { meter } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  const stop = new AbortController();
  const running = meter.run(stop.signal);
  for (const minute of [50, 55]) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    clock.moveTo(`2010-07-15T07:${minute}:00Z`);
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(meter.newestLot, FIRST + 1n);
  stop.abort();
  await running;
});

test("a restart goes on from the store and says the same", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const clock = new HandClock("2010-07-15T08:12:00Z");
  const options = { source, clock, store: join(folder, "store.db") };
  const first = startMeter(t, options);
  const before = await first.meter.reading(FIRST + 4n, 5);
  first.store.close();
  const second = startMeter(t, options);
  assert.deepEqual(await second.meter.reading(FIRST + 4n, 5), before);
  clock.moveTo("2010-07-15T08:20:00Z");
  const after = await second.meter.reading(FIRST + 6n, 7);
  assert.equal(disagreement(before.reading, after.reading), undefined);
});

test("after the recording's end lots are empty and flagged, and health says so", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const clock = new HandClock("2010-07-15T08:49:59Z");
  const { meter } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  assert.equal(meter.source.health().status, "ok");
  clock.moveTo("2010-07-15T09:00:00Z");
  const { reading } = await meter.reading(FIRST + 14n, 2);
  assert.deepEqual(reading.energies, [0n, 0n]);
  assert.equal(reading.quality, Quality.GAP);
  assert.match(meter.source.health().detail!, /recording ended at 2010-07-15T08:50:00.000Z/);
});

test("a store takes no other meter, key, registry or lot length, and no second reader", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const options = { source, clock: new HandClock("2010-07-15T08:12:00Z"), store: join(folder, "store.db") };
  const { meter, store } = startMeter(t, options);
  await meter.closeDue();
  assert.throws(() => startMeter(t, options), { code: "store-locked" });
  store.close();
  const openWith = (other: object) => () => {
    startMeter(t, { ...options, ...other });
  };
  assert.throws(openWith({ key: OTHER_KEY }), /is of signer 0x/);
});

test("a store refuses another serial", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const options = { source, clock: new HandClock("2010-07-15T08:12:00Z"), store: join(folder, "store.db") };
  startMeter(t, options).store.close();
  assert.throws(() => startMeter(t, { ...options, serial: "HOUSE-2" }), { code: "wrong-store" });
});

test("a key cannot take over lots that are signed already", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const options = { source, clock: new HandClock("2010-07-15T08:02:00Z"), store: join(folder, "store.db") };
  const { meter, store } = startMeter(t, options);
  await meter.closeDue();
  store.close();
  const next = { signer: keySigner(OTHER_KEY), fromLot: FIRST + 1n };
  assert.throws(() => startMeter(t, { ...options, next }), { code: "bad-rotation" });
});

test("a key is rotated at a lot, and what each key signed stands", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const clock = new HandClock("2010-07-15T08:02:00Z");
  const options = { source, clock, store: join(folder, "store.db") };
  const [old, young] = [keySigner(KEY), keySigner(OTHER_KEY)];
  const signerOf = ({ reading, signature }: { reading: LotReading; signature: Hex }) =>
    recoverReadingSigner(DOMAIN, reading, signature);
  const at = FIRST + 5n;

  const planned = startMeter(t, { ...options, next: { signer: young, fromLot: FIRST + 9n } });
  await planned.meter.closeDue();
  assert.deepEqual(planned.meter.nextSigner, { fromLot: FIRST + 9n, address: young.address });
  planned.store.close();
  // The plan is changed before it came true.
  const { meter, store } = startMeter(t, { ...options, next: { signer: young, fromLot: at } });
  const before = await meter.reading(FIRST + 2n, 3);
  assert.equal(meter.signer, old.address);
  clock.moveTo("2010-07-15T08:32:00Z");
  const across = await meter.reading(FIRST + 8n, 9);
  assert.equal(signerOf(across), young.address);
  assert.equal(across.signer, young.address);
  assert.equal(signerOf(await meter.reading(at - 1n, 5)), old.address);
  assert.equal(signerOf(await meter.reading(at)), young.address);
  assert.equal(disagreement(before.reading, across.reading), undefined);
  assert.deepEqual([meter.signer, meter.nextSigner], [young.address, undefined]);
  const opening = meter.opening;
  store.close();

  // The old key is thrown away.
  assert.throws(() => startMeter(t, options), { code: "wrong-store" });
  const alone = startMeter(t, { ...options, key: OTHER_KEY });
  assert.deepEqual(alone.meter.opening, opening);
  assert.equal(signerOf(await alone.meter.reading(FIRST + 2n)), old.address);
  await assert.rejects(alone.meter.reading(FIRST + 2n, 3), { code: "key-retired" });
  assert.deepEqual(await alone.meter.reading(FIRST + 8n, 9), across);
  const report = audit(storeIdentity(alone.store), storedLots(alone.store));
  assert.deepEqual([report.problems, report.lots], [[], 9]);
});

for (const [when, now] of [
  ["while it runs", "2010-07-15T08:12:00Z"],
  ["long after its end, when both hold nothing", "2010-07-16T08:12:00Z"],
] as const) {
  test(`a recording that was exchanged under a store is refused, ${when}`, async (t) => {
    const folder = tempFolder(t);
    const options = { clock: new HandClock(now), store: join(folder, "store.db") };
    const source = `replay:${writeRecording(folder, START, WATTS)}`;
    const { meter, store } = startMeter(t, { ...options, source });
    await meter.closeDue();
    store.close();
    const other = writeRecording(
      folder,
      START,
      WATTS.map((power) => power && `9${power}`),
      "other.csv",
    );
    assert.throws(() => startMeter(t, { ...options, source: `replay:${other}` }), { code: "source-changed" });
    startMeter(t, { ...options, source }).store.close();
  });
}

test("a clock that went behind what the store has closed is refused", async (t) => {
  const folder = tempFolder(t);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const clock = new HandClock("2010-07-15T08:12:00Z");
  const { meter, store } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  await meter.closeDue();
  store.close();
  clock.moveTo("2010-07-15T07:52:00Z");
  assert.throws(() => startMeter(t, { source, clock, store: join(folder, "store.db") }), { code: "clock-behind" });
});

test("a file that is no store is left alone", (t) => {
  const folder = tempFolder(t);
  const path = writeRecording(folder, START, WATTS);
  assert.throws(() => Store.open(path), { code: "bad-store" });
});

test("a month in one reading", async (t) => {
  const folder = tempFolder(t);
  const clock = new HandClock("2026-01-01T00:00:00Z");
  const source = 'simulate:{"watts":1080,"intervalSeconds":300,"noise":0}';
  const { meter, store } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  clock.moveTo("2026-01-01T00:05:00Z");
  await meter.closeDue();
  // The rows are made here, under one signature: that each is signed, other tests show.
  const one = store.newest()!;
  const lots = Array.from({ length: 8927 }, (_, index) => {
    return { ...one, lot: one.lot + BigInt(index + 1), forward: one.energy * BigInt(index + 2) };
  });
  store.append(lots);
  store.close();
  clock.moveTo("2026-02-01T00:00:00Z");
  const again = startMeter(t, {
    source,
    clock,
    store: join(folder, "store.db"),
    began: Date.parse("2026-01-01T00:00:00Z"),
  });
  const served = await again.meter.reading(again.meter.firstLot! + 8927n, 8928);
  assert.equal(served.reading.energies.length, 8928);
  assert.equal(
    served.reading.forward,
    served.reading.energies.reduce((sum, energy) => sum + energy, 0n),
  );
});
