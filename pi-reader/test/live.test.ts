import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { LiveSource } from "../src/liveSource.ts";
import { Meter } from "../src/meter.ts";
import { type Sensor, SensorFault } from "../src/sensor.ts";
import { keySigner } from "../src/signer.ts";
import { Store } from "../src/store.ts";
import { systemTimebase } from "../src/systemTimebase.ts";
import { DOMAIN, KEY, tempFolder } from "./bench.ts";
import { S } from "./liveBench.ts";
import { LiveMeter, START } from "./liveMeter.ts";

const DEEP = process.env.BIJULI_DEEP === "1";

for (const [name, outage, lots] of [
  ["1 lot", 300n, 1],
  ["1 day", 86_400n, 288],
  // Ten thousand signatures are for the deep run; here lots are an hour long.
  ["40 days", 40n * 86_400n, DEEP ? 11_520 : 960],
] as const) {
  test(`after an outage of ${name} every lot has a value, flagged, and nothing before the last checkpoint is lost`, async (t) => {
    const lotSeconds = Number(outage) / lots;
    const bench = new LiveMeter(t, { lotSeconds, start: lotSeconds === 300 ? START : "2026-03-01T12:56:40Z" });
    await bench.run(400);
    bench.checkpoint();
    const kept = await bench.total();
    const before = bench.lots();
    await bench.run(8);
    bench.cut(outage * S);
    await bench.run(2);
    const after = bench.lots();
    bench.assertConsecutive();
    assert.equal(after.length, before.length + lots);
    assert.deepEqual(after.slice(0, before.length), before);
    const bits = Quality.POWER_DOWN | Quality.GAP;
    assert.ok(after.slice(before.length).every((lot) => lot.quality === bits));
    const one = (bench.load.power(bench.timebase.nowNs) + bench.load.power(bench.timebase.nowNs - S)) * (S / 2n);
    assert.equal(await bench.total(), kept + one);
    await bench.run(2 * lotSeconds, { everyNs: BigInt(lotSeconds / 100) * S > 4n * S ? 4n * S : S });
    assert.equal(bench.lots().at(-1)!.quality, 0);
  });
}

test("a restart within a lot goes on with what the checkpoint kept", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(250);
  bench.checkpoint();
  const kept = await bench.total();
  bench.cut(20n * S);
  assert.equal(await bench.total(), kept);
  await bench.run(300);
  const [, second] = bench.lots();
  assert.equal(second!.quality, Quality.POWER_DOWN | Quality.GAP);
  assert.ok(second!.coveredMs > 270_000 && second!.coveredMs < 285_000);
});

test("energy from before a power cut whose time nobody knows is not lost", async (t) => {
  const bench = new LiveMeter(t);
  bench.timebase.synced = false;
  await bench.run(100);
  bench.checkpoint();
  bench.cut(1000n * S);
  await bench.run(10);
  bench.timebase.synced = true;
  await bench.run(400);
  const [first] = bench.lots();
  assert.ok(first!.quality & Quality.CLOCK_INVALID);
  await bench.assertExact();
});

test("a sensor that fails leaves a gap, with its bits; lots close all the same", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(250);
  bench.load.broken = new SensorFault("absent", "the chip at 0x40 does not answer");
  await bench.run(700);
  assert.equal(bench.source.health().status, "failing");
  bench.load.broken = undefined;
  await bench.run(400);
  assert.equal(bench.source.health().status, "ok");
  const lots = bench.lots();
  bench.assertConsecutive();
  const bits = Quality.GAP | Quality.SENSOR_FAULT;
  assert.deepEqual(
    lots.map((lot) => lot.quality),
    [Quality.GAP, bits, bits, bits],
  );
  assert.equal(lots[2]!.energy, 0n);
  await bench.assertExact();
});

test("in real time, with the machine's own clocks: samples, closes, signs, checkpoints and stops", async (t) => {
  const folder = tempFolder(t);
  const stop = new AbortController();
  const timebase = systemTimebase("always", stop.signal);
  let power = 0;
  const sensor: Sensor = {
    description: { kind: "bench" },
    open: async () => {},
    close: async () => {},
    sample: async () => {
      if (++power % 20 === 0) throw new SensorFault("absent", "0x40 does not answer");
      return { power: 3_600_000_000n, voltage: 230_000_000n, windowNs: 2_000_000n };
    },
  };
  const source = new LiveSource({ sensor, timebase, lotSeconds: 1, sampleMs: 20, gapLimitMs: 400 });
  const store = Store.open(join(folder, "store.db"));
  t.after(() => store.close());
  const meter = new Meter({ serial: "HOUSE-1", domain: DOMAIN, lotSeconds: 1, signer: keySigner(KEY), source, store });
  const running = Promise.all([meter.run(stop.signal), source.run(stop.signal)]);
  await new Promise((resolve) => setTimeout(resolve, 3300));
  const live = source.live();
  stop.abort();
  await running;
  assert.equal(live!.power, 3_600_000_000n);
  assert.ok(source.counters().sensor_faults > 3);
  const lots = meter.lots(0n, 2n ** 62n);
  assert.ok(lots.length >= 2 && lots.length <= 4, `${lots.length} lots`);
  // 3.6 kW for a second is 10,000 Units, and a single missing sample is bridged.
  assert.ok(lots[1]!.energy >= 9_999n && lots[1]!.energy <= 10_001n, `${lots[1]!.energy} Units`);
  assert.equal(lots[1]!.quality & ~Quality.SENSOR_FAULT, 0);
  assert.equal(lots[1]!.voltage!.mean, 230_000_000n);
});
