import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { audit } from "../src/audit.ts";
import { storedLots, storeIdentity } from "../src/exportFile.ts";
import { Ina226 } from "../src/sensors/ina226.ts";
import { BenchBus, BenchIna226 } from "./chips.ts";
import { S } from "./liveBench.ts";
import { LiveMeter } from "./liveMeter.ts";

/*
 * A day in minutes: 288 lots on the driver of a chip that is refused, vanishes, loses its supply and is driven out of
 * range, through clean stops, power cuts and steps of a clock that is not always synchronised. Afterwards the store's
 * audit passes, and what the registers say is what the samples say, to the femtojoule.
 */
const DEEP = process.env.BIJULI_DEEP === "1";
const LOTS = 288;

/** Random, and the same every time. */
function dice(seed: bigint): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return Number((state >> 24n) % BigInt(below));
  };
}

/** A chip that always has a conversion ready, and forward and reverse power by turns. */
class DayChip extends BenchIna226 {
  now: () => bigint = () => 0n;
  override read(register: number): number {
    const second = Number((this.now() / S) % 7200n);
    if (register === 1)
      return (this.overflow ? 0x7fff : Math.round(9000 * Math.sin(second / 600) + (second % 37))) & 0xffff;
    if (register === 2) return 19_000 + (second % 211);
    return register === 6 ? 8 : super.read(register);
  }
}

async function aDay(t: TestContext, seed: bigint, lotSeconds: number): Promise<void> {
  const random = dice(seed);
  const bus = new BenchBus();
  const chip = new DayChip();
  bus.chips.set(0x40, chip);
  const bench = new LiveMeter(t, {
    lotSeconds,
    sensor: (timebase) => {
      chip.now = () => timebase.nowNs;
      return new Ina226(bus, { address: 0x40, shunt: 2_000_000n, averages: 1, conversion: 140 });
    },
  });
  const seen = { faults: 0, cuts: 0, stops: 0, steps: 0 };
  let quality = 0;
  while (bench.lots().length < LOTS) {
    const before = bench.lots();
    switch (random(12)) {
      case 0: // The clock is set, and not always confirmed.
        bench.timebase.synced = random(3) > 0;
        bench.timebase.step(BigInt(random(24 * lotSeconds) - 12 * lotSeconds) * S);
        seen.steps++;
        break;
      case 1: // NTP pulls.
        bench.timebase.step(BigInt(random(3_000_000) - 1_500_000) * 1000n);
        break;
      case 2:
        bus.chips.delete(0x40);
        seen.faults++;
        break;
      case 3: // It comes back as it was switched on.
        chip.config = 0x4127;
        seen.faults++;
        break;
      case 4:
        chip.overflow = true;
        seen.faults++;
        break;
      case 5: // A clean stop writes what it has.
        bench.checkpoint();
        bench.cut(BigInt(random(6 * lotSeconds)) * S);
        seen.stops++;
        break;
      case 6: // A power cut does not; the last checkpoint counts.
        if (random(2) === 0) bench.checkpoint();
        await bench.run(1 + random(20));
        bench.cut(BigInt(random(3 * lotSeconds)) * S);
        seen.cuts++;
        break;
    }
    await bench.run(1 + random(lotSeconds * 2), { everyNs: 2n * S + BigInt(random(999_999_999)) });
    bus.chips.set(0x40, chip);
    chip.overflow = false;
    bench.timebase.synced = true;
    await bench.run(20);
    const after = bench.lots();
    assert.deepEqual(after.slice(0, before.length), before, "a closed lot was changed");
    for (const lot of after.slice(before.length)) quality |= lot.quality;
    await bench.assertExact();
  }
  bench.assertConsecutive();
  const report = audit(storeIdentity(bench.store), storedLots(bench.store));
  assert.deepEqual([report.problems, report.lots], [[], bench.lots().length]);
  const newest = bench.lots().at(-1)!;
  assert.ok(newest.forward > 0n && newest.reverse > 0n);
  assert.deepEqual([report.forward, report.reverse], [newest.forward, newest.reverse]);
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 0, `no ${what}`);
  const all = Quality.GAP | Quality.POWER_DOWN | Quality.SENSOR_FAULT | Quality.DATA_INVALID | Quality.CLOCK_ADJUSTED;
  assert.equal(quality & all, all);
  t.diagnostic(
    `${report.lots} lots, ${Object.entries(seen)
      .map(([what, count]) => `${count} ${what}`)
      .join(", ")}`,
  );
}

for (const seed of DEEP ? [1n, 2n, 3n, 4n, 5n, 6n] : [4711n]) {
  test(`a day in minutes, seed ${seed}: the audit passes and every Unit is accounted for`, (t) =>
    aDay(t, seed, DEEP ? 300 : 60));
}
