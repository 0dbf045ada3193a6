import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { keepFinding, storedFindings } from "../src/findings.ts";
import { LiveSource } from "../src/liveSource.ts";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import { type Finding, findingText, findingToJson, Reconciler } from "../src/reconciler.ts";
import { type Counters, type Sensor, SensorFault, type SensorSample } from "../src/sensor.ts";
import { Store } from "../src/store.ts";
import { tempFolder } from "./bench.ts";
import { BenchTimebase, S } from "./liveBench.ts";

const STEP = 16n * 10n ** 12n;
const WRAP = 2n ** 40n * STEP;
const GAP_LIMIT_NS = 5n * S;

/** A chip as an INA228 counts: |power| in 40 bits, charge with its sign; it goes on when nobody reads it. */
class CountingSensor implements Sensor {
  readonly description = { kind: "bench" };
  readonly timebase: BenchTimebase;
  /** µW at a monotonic moment. */
  power: (ns: bigint) => bigint;
  /** It counts so many thousandths too much. */
  wrongBy = 0n;
  broken = false;
  restarted = true;
  energy: bigint;
  charge = 0n;

  constructor(timebase: BenchTimebase, power: (ns: bigint) => bigint, energy = 0n) {
    this.timebase = timebase;
    this.power = power;
    this.energy = energy;
  }
  /** Time passes, in tenths of a second. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds * 10; i++) {
      const power = this.power(this.timebase.nowNs + S / 20n);
      this.timebase.pass(S / 10n);
      const size = power < 0n ? -power : power;
      this.energy = (this.energy + (size * (S / 10n) * (1000n + this.wrongBy)) / 1000n) % WRAP;
      this.charge += (power / 24n) * (S / 10n);
    }
  }
  async open(): Promise<void> {}
  async sample(): Promise<SensorSample> {
    if (this.broken) throw new SensorFault("absent", "gone");
    const power = this.power(this.timebase.nowNs);
    return { power, current: power / 24n, voltage: 24_000_000n, windowNs: 0n };
  }
  async counters(): Promise<Counters> {
    const { restarted } = this;
    this.restarted = false;
    return {
      energy: { absolute: this.energy - (this.energy % STEP) },
      charge: this.charge,
      step: STEP,
      wrap: WRAP,
      chargeWrap: 2n ** 40n * 10n ** 11n,
      restarted,
    };
  }
  async close(): Promise<void> {}
}

/** 120 W, now forward, now back: straight lines between whole seconds. */
const swinging = (ns: bigint): bigint => {
  const second = Number(ns % (40n * S)) / 1e9;
  return BigInt(Math.round((second < 20 ? second - 10 : 30 - second) * 12_000_000));
};

function live(timebase: BenchTimebase, sensor: Sensor, kept?: string) {
  const findings: Finding[] = [];
  const checkpoint = kept === undefined ? undefined : JSON.parse(kept);
  const source = new LiveSource({
    sensor,
    timebase,
    lotSeconds: 300,
    sampleMs: 1000,
    gapLimitMs: 5000,
    next: checkpoint === undefined ? undefined : BigInt(checkpoint.open.lot),
    checkpoint,
    onFinding: (finding) => findings.push(finding),
  });
  return { source, findings };
}

async function run(sensor: CountingSensor, source: LiveSource, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    sensor.pass(1);
    await source.cycle();
  }
}

test("a counter that knows no direction agrees with both registers together, also where it wraps", async () => {
  const timebase = new BenchTimebase("2026-03-01T12:00:10Z");
  const sensor = new CountingSensor(timebase, swinging, WRAP - 5000n * 10n ** 15n);
  const { source, findings } = live(timebase, sensor);
  await run(sensor, source, 200);
  assert.deepEqual(findings, []);
  assert.equal(source.counters().counter_comparisons, 3);
  assert.ok(sensor.energy < 10n ** 20n, "it has wrapped");
});

test("a counter that differs is told, counted, flagged and shown", async () => {
  const timebase = new BenchTimebase("2026-03-01T12:00:10Z");
  const sensor = new CountingSensor(timebase, () => 120_000_000n);
  const { source, findings } = live(timebase, sensor);
  await run(sensor, source, 70);
  sensor.wrongBy = 50n;
  await run(sensor, source, 60);
  const [finding] = findings;
  assert.equal(finding!.kind, "disagrees");
  assert.match(findingText(finding!), /went on by 20\d\d\d Units, and 20000 were integrated/);
  assert.equal(source.counters().counter_disagreements, 1);
  assert.equal(source.measured(source.firstLot()!).quality & Quality.DATA_INVALID, Quality.DATA_INVALID);
  assert.match(source.health().detail!, /own counter differs by \d+ Units/);
  sensor.wrongBy = 0n;
  await run(sensor, source, 60);
  assert.equal(source.health().status, "ok");
});

test("what a gap has missed is told from the counter, its direction from the charge; the registers stay as measured", async () => {
  const timebase = new BenchTimebase("2026-03-01T12:00:10Z");
  const sensor = new CountingSensor(timebase, () => -120_000_000n);
  const { source, findings } = live(timebase, sensor);
  await run(sensor, source, 65);
  const before = source.measured(source.firstLot()!).reverse;
  sensor.broken = true;
  await run(sensor, source, 100);
  sensor.broken = false;
  await run(sensor, source, 3);
  // 101 s of 120 W and −5 A were not measured.
  const [gap] = findings;
  assert.equal(gap!.kind, "gap");
  assert.ok(gap!.energy / 10n ** 15n >= 12_119n && gap!.energy / 10n ** 15n <= 12_121n, `${gap!.energy} fJ`);
  assert.equal(findingToJson(gap!).differenceAmpereSeconds, -505);
  assert.equal(source.counters().gap_missed_units, Number(gap!.energy / FEMTOJOULES_PER_UNIT));
  assert.equal(source.measured(source.firstLot()!).reverse - before, 2n * 120n * 10n ** 15n);
});

test("an outage of the reader is a gap like any other: the checkpoint keeps what the counter said", async () => {
  const timebase = new BenchTimebase("2026-03-01T12:00:10Z");
  const sensor = new CountingSensor(timebase, () => 120_000_000n);
  const first = live(timebase, sensor);
  await run(sensor, first.source, 100);
  const kept = first.source.checkpoint();
  sensor.pass(30);
  const second = live(timebase, sensor, kept);
  await run(sensor, second.source, 2);
  const [gap] = second.findings;
  assert.equal(gap!.kind, "gap");
  assert.ok(gap!.energy / 10n ** 15n >= 3719n && gap!.energy / 10n ** 15n <= 3721n, `${gap!.energy} fJ`);
  assert.match(findingText(gap!), /a gap has missed 1033\d Units/);
  // A chip that lost its supply meanwhile says nothing about the time before.
  sensor.restarted = true;
  sensor.energy = 0n;
  const third = live(timebase, sensor, second.source.checkpoint());
  await run(sensor, third.source, 2);
  assert.deepEqual(third.findings, []);
});

test("the store keeps what was found, a lasting difference once a lot, and not without end", (t) => {
  const store = Store.open(join(tempFolder(t), "store.db"));
  t.after(() => store.close());
  const gap: Finding = {
    kind: "gap",
    counted: 10n ** 18n,
    integrated: 0n,
    energy: 10n ** 18n,
    charge: -5n * 10n ** 15n,
  };
  const differs: Finding = { kind: "disagrees", counted: 2n * 10n ** 18n, integrated: 10n ** 18n, energy: 10n ** 18n };
  keepFinding(store, gap, { timeMs: 0, lot: undefined });
  for (let minute = 0; minute < 10; minute++)
    keepFinding(store, differs, { timeMs: minute * 60_000, lot: BigInt(minute) / 5n });
  assert.deepEqual(storedFindings(store)[0], {
    time: "1970-01-01T00:00:00.000Z",
    lot: null,
    counter: "gap",
    countedUnits: "2777",
    integratedUnits: "0",
    differenceUnits: "2777",
    differenceAmpereSeconds: -5,
  });
  assert.deepEqual(
    storedFindings(store).map(({ time, lot }) => [time.slice(14, 16), lot]),
    [
      ["00", null],
      ["04", "0"],
      ["09", "1"],
    ],
  );
  for (let lot = 2n; lot < 300n; lot++) keepFinding(store, differs, { timeMs: 0, lot });
  assert.equal(storedFindings(store).length, 200);
});

test("a meter's two counters are compared each for itself, within what they resolve", () => {
  const WH = 3600n * 10n ** 15n;
  const reconciler = new Reconciler({ gapLimitNs: GAP_LIMIT_NS, toleranceBps: 100 });
  const counters = (forward: bigint, reverse: bigint): Counters => ({
    energy: { forward: forward * WH, reverse: reverse * WH },
    step: WH,
    restarted: false,
  });
  let now = 0n;
  const pass = (seconds: number, power: bigint) => {
    for (let i = 0; i < seconds; i++) reconciler.take({ power, windowNs: 0n }, (now += S));
  };
  pass(1, 3_600_000_000n);
  assert.equal(reconciler.compare(counters(1_551_375n, 12n), now), undefined);
  pass(100, 3_600_000_000n);
  // 100 Wh, of which the meter shows 98 yet.
  assert.equal(reconciler.compare(counters(1_551_473n, 12n), now)?.kind, "agrees");
  pass(100, 3_600_000_000n);
  // The right sum, on the wrong side.
  assert.equal(reconciler.compare(counters(1_551_555n, 32n), now)?.kind, "disagrees");
  pass(10, 3_600_000_000n);
  // Another meter was put in its place.
  assert.equal(reconciler.compare(counters(3n, 0n), now), undefined);
  pass(100, -3_600_000_000n);
  assert.equal(reconciler.compare(counters(3n, 100n), now)?.kind, "agrees");
});
