import assert from "node:assert/strict";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { BenchSensor, MS, S } from "./liveBench.ts";
import { LiveMeter } from "./liveMeter.ts";

const FIRST = BigInt(Date.parse("2026-03-01T12:00:00Z") / 300_000);
const HOUR = 3600n * S;
const YEARS4 = (4n * 365n + 1n) * 86_400n * S;

test("lots are cut exactly at their ends, on the monotonic clock", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(1000, { everyNs: 730_000_001n });
  const [first, second, third] = bench.lots();
  assert.equal(first!.lot, FIRST);
  assert.equal(first!.quality, Quality.GAP);
  assert.ok(first!.coveredMs > 198_000 && first!.coveredMs < 200_000);
  assert.deepEqual([second!.quality, second!.coveredMs, third!.quality], [0, 300_000, 0]);
  await bench.assertExact();
});

test("before the first synchronisation it accumulates and signs nothing, then places what it has", async (t) => {
  const bench = new LiveMeter(t);
  bench.timebase.synced = false;
  await bench.run(1000);
  assert.equal(bench.lots().length, 0);
  assert.equal(bench.meter.opening, undefined);
  assert.equal(bench.source.clockState().state, "unsynchronised");
  await bench.assertExact();
  // The wall clock was wrong by years; synchronising sets it.
  bench.timebase.step(7n * 365n * 86_400n * S);
  bench.timebase.synced = true;
  await bench.run(5);
  const lots = bench.lots();
  assert.equal(lots.length, 3);
  assert.equal(lots[0]!.lot, FIRST + (7n * 365n * 86_400n) / 300n);
  assert.deepEqual(
    lots.map((lot) => lot.quality),
    [Quality.GAP, 0, 0],
  );
  await bench.assertExact();
});

test("in holdover lots go on, with the clock's bit", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(250);
  bench.timebase.synced = false;
  await bench.run(400);
  assert.equal(bench.source.clockState().state, "holdover");
  const lots = bench.lots();
  assert.deepEqual(
    lots.map((lot) => lot.quality),
    [Quality.GAP, Quality.CLOCK_INVALID],
  );
});

for (const [name, stepNs] of [
  ["+1 s", S],
  ["−1 s", -S],
] as const) {
  test(`a step of ${name} is followed: no lot is lost, no energy either`, async (t) => {
    const bench = new LiveMeter(t);
    await bench.run(450);
    bench.timebase.step(stepNs);
    await bench.run(450);
    bench.assertConsecutive();
    assert.ok(
      bench
        .lots()
        .slice(1)
        .every((lot) => lot.quality === 0 && lot.coveredMs === 300_000),
    );
    await bench.assertExact();
  });
}

test("a process that is held up between its looks at the two clocks does not move the ends of lots", async (t) => {
  const power = 361_000_000n;
  const bench = new LiveMeter(t, { sensor: (timebase) => new BenchSensor(timebase, () => power) });
  const { timebase } = bench;
  await bench.run(250);
  const wallMs = timebase.wallMs.bind(timebase);
  let looks = 0;
  timebase.wallMs = () => {
    if (++looks % 3 === 0) timebase.pass(40n * MS);
    return wallMs();
  };
  await bench.run(1200);
  const whole = (power * 300n) / 360_000n;
  for (const lot of bench.lots().slice(1)) {
    assert.ok(
      lot.energy - whole >= 0n && lot.energy - whole <= 1n,
      `lot ${lot.lot}: ${lot.energy} Units, not ${whole}`,
    );
  }
  await bench.assertExact();
});

test("slow slewing keeps lots whole", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(250);
  for (let i = 0; i < 900; i++) {
    bench.timebase.step(i % 3 === 0 ? -6_000_000n : 5_000_000n);
    await bench.run(1);
  }
  bench.assertConsecutive();
  assert.ok(
    bench
      .lots()
      .slice(1)
      .every((lot) => lot.quality === 0 && lot.coveredMs === 300_000),
  );
  await bench.assertExact();
});

test("after a jump of an hour it waits until the clock is confirmed, then closes what lies between", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(300);
  const before = bench.lots().length;
  bench.timebase.step(HOUR);
  await bench.run(10);
  assert.equal(bench.source.clockState().state, "suspect");
  assert.equal(bench.lots().length, before);
  await bench.run(20);
  assert.equal(bench.source.clockState().state, "trusted");
  const lots = bench.lots();
  assert.equal(lots.length, before + 12);
  const bits = Quality.CLOCK_ADJUSTED | Quality.GAP;
  assert.ok(lots.slice(before).every((lot) => lot.quality === bits));
  assert.ok(lots.slice(before + 1).every((lot) => lot.energy === 0n));
  bench.assertConsecutive();
  await bench.run(600);
  assert.equal(bench.lots().at(-1)!.quality, 0);
  await bench.assertExact();
});

test("after a step back by an hour the open lot goes on until the clock is past its end", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(300);
  const before = bench.lots().length;
  bench.timebase.step(-HOUR);
  await bench.run(3500);
  assert.equal(bench.lots().length, before);
  await bench.run(500);
  const lots = bench.lots();
  bench.assertConsecutive();
  assert.equal(lots[before]!.quality, Quality.CLOCK_ADJUSTED);
  assert.equal(lots[before]!.coveredMs, 300_000);
  await bench.assertExact();
});

for (const [name, stepNs] of [
  ["an hour ahead", HOUR],
  ["an hour back", -HOUR],
  ["4 years ahead", YEARS4],
  ["4 years back", -YEARS4],
] as const) {
  test(`a jump ${name} that is not confirmed changes nothing`, async (t) => {
    const bench = new LiveMeter(t);
    await bench.run(300);
    bench.timebase.synced = false;
    bench.timebase.step(stepNs);
    await bench.run(400);
    assert.equal(bench.lots().length, 1);
    assert.equal(bench.source.clockState().state, "suspect");
    bench.timebase.step(-stepNs);
    bench.timebase.synced = true;
    await bench.run(10);
    assert.deepEqual(
      bench.lots().map((lot) => lot.quality),
      [Quality.GAP, 0],
    );
    await bench.assertExact();
  });
}

test("a confirmed jump of 4 years ahead gives every lot a value", async (t) => {
  const bench = new LiveMeter(t, { lotSeconds: 86_400 });
  await bench.run(300);
  bench.timebase.step(YEARS4);
  await bench.run(30);
  bench.assertConsecutive();
  const lots = bench.lots();
  assert.equal(lots.length, 1461);
  const bits = Quality.CLOCK_ADJUSTED | Quality.GAP;
  assert.ok(lots.every((lot) => lot.quality === bits));
  assert.ok(lots.slice(1).every((lot) => lot.energy === 0n));
  await bench.assertExact();
});

test("after a confirmed jump of 4 years back no lot is closed twice: all is counted, and placed once the clock is right", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(300);
  const before = bench.lots();
  bench.timebase.step(-YEARS4);
  await bench.run(1000);
  assert.equal(bench.source.clockState().state, "trusted");
  assert.deepEqual(bench.lots(), before);
  await bench.assertExact();
  // Also a restart does not make it sign the past again.
  bench.checkpoint();
  bench.cut(10n * S);
  await bench.run(100);
  assert.deepEqual(bench.lots(), before);
  bench.timebase.step(YEARS4);
  await bench.run(600);
  const lots = bench.lots();
  bench.assertConsecutive();
  // 1000 + 10 + 100 s of the past were spent within what is now the lot that was open.
  assert.ok((lots[before.length]!.quality & Quality.CLOCK_ADJUSTED) !== 0);
  assert.equal(lots.at(-1)!.quality, 0);
  await bench.assertExact();
});

test("a machine without a clock of its own comes back from an outage a day behind: it waits for the synchronisation, then every lot has its value", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(400);
  bench.checkpoint();
  const before = bench.lots();
  bench.cut(86_400n * S);
  // It goes on from the time that it knew last.
  bench.timebase.step(-86_400n * S);
  bench.timebase.synced = false;
  await bench.run(700);
  assert.deepEqual(bench.lots(), before);
  assert.equal(bench.source.clockState().state, "unsynchronised");
  bench.timebase.step(86_400n * S);
  bench.timebase.synced = true;
  await bench.run(10);
  const lots = bench.lots();
  bench.assertConsecutive();
  // 1 day and 700 s later, in the third lot after that of the outage's begin; what was measured before the synchronisation is where it belongs.
  assert.equal(lots.length, before.length + 288 + 3);
  const bits = Quality.POWER_DOWN | Quality.GAP;
  assert.ok(lots.slice(before.length, -2).every((lot) => lot.quality === bits));
  assert.ok(lots.slice(-3).every((lot) => lot.energy > 0n));
  assert.ok(lots.slice(-2).every((lot) => lot.quality === 0));
  await bench.assertExact();
});
