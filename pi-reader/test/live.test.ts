import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { LiveSource } from "../src/liveSource.ts";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import { Meter } from "../src/meter.ts";
import { type Sensor, SensorFault } from "../src/sensor.ts";
import { keySigner } from "../src/signer.ts";
import { type ClosedLot, Store } from "../src/store.ts";
import { systemTimebase } from "../src/systemTimebase.ts";
import { DOMAIN, KEY, tempFolder } from "./bench.ts";
import { BenchSensor, BenchTimebase, MS, S, SampleLog } from "./liveBench.ts";

const START = "2026-03-01T12:01:40Z";
const FIRST = BigInt(Date.parse("2026-03-01T12:00:00Z") / 300_000);
const GAP_LIMIT_MS = 5000;
const HOUR = 3600n * S;

/** A live meter on a bench: 1 sample a second unless told, a load that changes all the time. */
class Bench {
  readonly timebase: BenchTimebase;
  readonly sensor: BenchSensor;
  readonly log = new SampleLog(BigInt(GAP_LIMIT_MS) * MS);
  readonly #path: string;
  source!: LiveSource;
  store!: Store;
  meter!: Meter;

  constructor(t: TestContext, start = START) {
    this.timebase = new BenchTimebase(start);
    this.sensor = new BenchSensor(this.timebase, (ns) => 400_000_000n + ((ns / 7n) % 911_111_113n));
    this.#path = join(tempFolder(t), "store.db");
    this.boot();
    t.after(() => this.store.close());
  }

  boot(): void {
    this.store = Store.open(this.#path);
    const newest = this.store.newest()?.lot;
    const first = this.store.get("firstLot");
    const checkpoint = this.store.get("checkpoint");
    this.source = new LiveSource({
      sensor: this.sensor,
      timebase: this.timebase,
      lotSeconds: 300,
      sampleMs: 1000,
      gapLimitMs: GAP_LIMIT_MS,
      next: newest === undefined ? (first === undefined ? undefined : BigInt(first)) : newest + 1n,
      checkpoint: checkpoint === undefined ? undefined : JSON.parse(checkpoint),
    });
    this.meter = new Meter({
      serial: "HOUSE-1",
      domain: DOMAIN,
      lotSeconds: 300,
      signer: keySigner(KEY),
      source: this.source,
      store: this.store,
    });
    this.log.cut();
  }

  checkpoint(): void {
    const checkpoint = this.source.checkpoint();
    if (checkpoint !== undefined) this.store.set({ checkpoint });
  }

  /** Power goes: nothing more is written. */
  cut(outageNs: bigint): void {
    this.store.close();
    this.timebase.pass(outageNs);
    this.boot();
  }

  /** Samples for that many seconds. */
  async run(seconds: number, options: { everyNs?: bigint } = {}): Promise<void> {
    const every = options.everyNs ?? S;
    const until = this.timebase.nowNs + BigInt(seconds) * S;
    while (this.timebase.nowNs < until) {
      this.timebase.pass(every);
      if (!this.sensor.broken) this.log.add(this.timebase.nowNs, this.sensor.power(this.timebase.nowNs));
      await this.source.cycle();
      await this.meter.closeDue();
    }
  }

  lots(): ClosedLot[] {
    return this.meter.lots(0n, 2n ** 62n);
  }

  /** Femtojoules in registers, open lot and backlog: all that the meter knows. */
  async total(): Promise<bigint> {
    const newest = this.lots().at(-1);
    const closed = newest ? newest.forward * FEMTOJOULES_PER_UNIT + newest.forwardRest : 0n;
    const checkpoint = JSON.parse(this.source.checkpoint()!);
    return closed + BigInt(checkpoint.open?.tally.forward ?? 0) + BigInt(checkpoint.backlog.forward);
  }

  assertConsecutive(): void {
    const lots = this.lots();
    for (let i = 1; i < lots.length; i++) {
      assert.equal(lots[i]!.lot, lots[i - 1]!.lot + 1n);
      assert.equal(lots[i]!.forward, lots[i - 1]!.forward + lots[i]!.energy);
    }
  }
}

test("lots are cut exactly at their ends, on the monotonic clock", async (t) => {
  const bench = new Bench(t);
  await bench.run(1000, { everyNs: 730_000_001n });
  const [first, second, third] = bench.lots();
  assert.equal(first!.lot, FIRST);
  assert.equal(first!.quality, Quality.GAP);
  assert.ok(first!.coveredMs > 198_000 && first!.coveredMs < 200_000);
  assert.deepEqual([second!.quality, second!.coveredMs, third!.quality], [0, 300_000, 0]);
  assert.equal(await bench.total(), bench.log.net);
});

test("before the first synchronisation it accumulates and signs nothing, then places what it has", async (t) => {
  const bench = new Bench(t);
  bench.timebase.synced = false;
  await bench.run(1000);
  assert.equal(bench.lots().length, 0);
  assert.equal(bench.meter.opening, undefined);
  assert.equal(bench.source.clockState().state, "unsynchronised");
  assert.equal(await bench.total(), bench.log.net);
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
  assert.equal(await bench.total(), bench.log.net);
});

test("in holdover lots go on, with the clock's bit", async (t) => {
  const bench = new Bench(t);
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
    const bench = new Bench(t);
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
    assert.equal(await bench.total(), bench.log.net);
  });
}

test("slow slewing keeps lots whole", async (t) => {
  const bench = new Bench(t);
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
  assert.equal(await bench.total(), bench.log.net);
});

test("after a jump of an hour it waits until the clock is confirmed, then closes what lies between", async (t) => {
  const bench = new Bench(t);
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
  assert.equal(await bench.total(), bench.log.net);
});

test("after a step back by an hour the open lot goes on until the clock is past its end", async (t) => {
  const bench = new Bench(t);
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
  assert.equal(await bench.total(), bench.log.net);
});

test("a jump that is not confirmed changes nothing, however far it went", async (t) => {
  for (const years of [4n, -4n]) {
    const bench = new Bench(t);
    await bench.run(300);
    bench.timebase.synced = false;
    bench.timebase.step(years * 365n * 86_400n * S);
    await bench.run(400);
    assert.equal(bench.lots().length, 1);
    bench.timebase.step(-years * 365n * 86_400n * S);
    bench.timebase.synced = true;
    await bench.run(10);
    assert.deepEqual(
      bench.lots().map((lot) => lot.quality),
      [Quality.GAP, 0],
    );
    assert.equal(await bench.total(), bench.log.net);
  }
});

test("a confirmed jump of 4 days gives every lot a value", async (t) => {
  const bench = new Bench(t);
  await bench.run(300);
  bench.timebase.step(4n * 86_400n * S);
  await bench.run(30);
  bench.assertConsecutive();
  assert.equal(bench.lots().length, 1 + 4 * 288);
  assert.equal(await bench.total(), bench.log.net);
});

for (const [name, outage, lots] of [
  ["1 lot", 300n, 1],
  ["1 day", 86_400n, 288],
  ["40 days", 40n * 86_400n, 11_520],
] as const) {
  test(`after an outage of ${name} every lot has a value, flagged, and nothing before the last checkpoint is lost`, async (t) => {
    const bench = new Bench(t);
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
    const one = (bench.sensor.power(bench.timebase.nowNs) + bench.sensor.power(bench.timebase.nowNs - S)) * (S / 2n);
    assert.equal(await bench.total(), kept + one);
    await bench.run(600);
    assert.equal(bench.lots().at(-1)!.quality, 0);
  });
}

test("a restart within a lot goes on with what the checkpoint kept", async (t) => {
  const bench = new Bench(t);
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
  const bench = new Bench(t);
  bench.timebase.synced = false;
  await bench.run(100);
  bench.checkpoint();
  bench.cut(1000n * S);
  await bench.run(10);
  bench.timebase.synced = true;
  await bench.run(400);
  const [first] = bench.lots();
  assert.ok(first!.quality & Quality.CLOCK_INVALID);
  assert.equal(await bench.total(), bench.log.net);
});

test("a sensor that fails leaves a gap, with its bits; lots close all the same", async (t) => {
  const bench = new Bench(t);
  await bench.run(250);
  bench.sensor.broken = new SensorFault("absent", "the chip at 0x40 does not answer");
  await bench.run(700);
  assert.equal(bench.source.health().status, "failing");
  bench.sensor.broken = undefined;
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
  assert.equal(await bench.total(), bench.log.net);
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

test("a day of faults, restarts and clock steps: registers never go back, and every Unit is accounted for", async (t) => {
  const bench = new Bench(t);
  let state = 4711n;
  const random = (below: number) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return Number((state >> 24n) % BigInt(below));
  };
  for (let i = 0; i < 150; i++) {
    const before = bench.lots().at(-1)?.forward ?? 0n;
    const dice = random(10);
    if (dice === 0) bench.timebase.step(BigInt(random(7200) - 3600) * S);
    if (dice === 1) bench.sensor.broken = new SensorFault("absent", "gone");
    if (dice === 2) {
      // A clean stop: the checkpoint is written, nothing is lost.
      bench.checkpoint();
      bench.cut(BigInt(random(3000)) * S);
    }
    await bench.run(60 + random(400), { everyNs: 2n * S + BigInt(random(999_999_999)) });
    bench.sensor.broken = undefined;
    assert.ok((bench.lots().at(-1)?.forward ?? 0n) >= before);
  }
  bench.assertConsecutive();
  assert.equal(await bench.total(), bench.log.net);
});
