import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Quality } from "@bijuli/protocol";
import { measureLot } from "../src/course.ts";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import { loadReplay } from "../src/replay.ts";
import { tempFolder, writeRecording } from "./bench.ts";

const START = "2010-07-15T07:49:00Z";

test("knows its first sample, its lots and when its last row stops to hold", (t) => {
  const path = writeRecording(tempFolder(t), START, ["826.000", "826.000", "824.000", "820.000"]);
  const replay = loadReplay(path, 300);
  assert.equal(replay.beginMs, Date.parse(START));
  assert.equal(replay.endMs, Date.parse("2010-07-15T07:53:00Z"));
  assert.equal(replay.firstLot, BigInt(Date.parse("2010-07-15T07:45:00Z") / 300_000));
  assert.equal(replay.lastLot, replay.firstLot + 1n);
  assert.equal(replay.lots, 2);
  assert.equal(replay.intervalMs, 60_000);
});

test("a partial first lot counts, with the gap bit and what was covered", (t) => {
  const replay = loadReplay(writeRecording(tempFolder(t), START, ["826", "826", "824", "820", "819", "818"]), 300);
  const first = measureLot(replay, replay.firstLot, 300, replay.endMs);
  assert.equal(first.coveredMs, 60_000);
  assert.equal(first.quality, Quality.GAP);
  assert.equal(first.samples, 1);
  // 826 W · 60 s = 49,560 J
  assert.equal(first.forward, 49_560n * 10n ** 15n);
  const second = measureLot(replay, replay.firstLot + 1n, 300, replay.endMs);
  assert.equal(second.quality, 0);
  assert.equal(second.coveredMs, 300_000);
  assert.deepEqual(second.power, { min: 818_000_000n, mean: 821_400_000n, max: 826_000_000n });
});

test("an empty row is a gap: nothing is integrated", (t) => {
  const replay = loadReplay(
    writeRecording(tempFolder(t), "2010-07-15T14:30:00Z", ["100", "100", "100", undefined, "100", "100"]),
    300,
  );
  const lot = measureLot(replay, replay.firstLot, 300, replay.endMs);
  assert.equal(lot.coveredMs, 240_000);
  assert.equal(lot.samples, 4);
  assert.equal(lot.quality, Quality.GAP);
  assert.equal(lot.forward, 24_000n * 10n ** 15n);
});

test("a row holds at most the commonest interval, and less when the next comes sooner", (t) => {
  const folder = tempFolder(t);
  const path = join(folder, "uneven.csv");
  writeFileSync(
    path,
    "time,power\n2026-01-01T00:00:00Z,100\n2026-01-01T00:01:00Z,100\n2026-01-01T00:01:20Z,200\n2026-01-01T00:03:20Z,300\n2026-01-01T00:04:20Z,0.5\n",
  );
  const replay = loadReplay(path, 300);
  assert.equal(replay.intervalMs, 60_000);
  const lot = measureLot(replay, replay.firstLot, 300, replay.endMs);
  // 100·60 + 100·20 + 200·60 + 300·60 + 0.5·40 (the last one is cut by the lot's end, not by the file's)
  assert.equal(lot.forward, (6_000n + 2_000n + 12_000n + 18_000n + 20n) * 10n ** 15n);
  assert.equal(lot.coveredMs, 240_000);
});

test("power wins over voltage × current, which is exact to twelve decimals", (t) => {
  const folder = tempFolder(t);
  const path = join(folder, "dc.csv");
  writeFileSync(
    path,
    "\ufefftime,voltage,current,power\r\n2026-01-01T00:00:00Z,12.345678,1.000001,\r\n2026-01-01T00:01:00Z,12,1,5\r\n2026-01-01T00:02:00Z,12,,\r\n",
  );
  const replay = loadReplay(path, 300);
  assert.equal(replay.samples, 2);
  const lot = measureLot(replay, replay.firstLot, 300, replay.endMs);
  assert.equal(lot.forward, 12_345_678n * 1_000_001n * 60_000n + 5n * 60n * 10n ** 15n);
});

test("any recording's registers are floor(Σ power·seconds / 0.36), lot by lot", (t) => {
  let state = 7n;
  const random = (below: bigint) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return (state >> 20n) % below;
  };
  const watts: bigint[] = Array.from({ length: 500 }, () => random(5_000_000_000n));
  const text = watts.map((micro) => `${micro / 1_000_000n}.${(micro % 1_000_000n).toString().padStart(6, "0")}`);
  const replay = loadReplay(writeRecording(tempFolder(t), START, text), 300);
  let sum = 0n;
  let microJoules = 0n;
  let minute = 0;
  for (let lot = replay.firstLot; lot <= replay.lastLot; lot++) {
    sum += measureLot(replay, lot, 300, Number.MAX_SAFE_INTEGER).forward;
    const end = Number(lot + 1n) * 300_000;
    for (; minute < watts.length && replay.beginMs + minute * 60_000 < end; minute++)
      microJoules += watts[minute]! * 60n;
    assert.equal(sum / FEMTOJOULES_PER_UNIT, microJoules / 360_000n, `lot ${lot}`);
  }
  assert.equal(minute, watts.length);
});

const bad: [name: string, csv: string | undefined, expected: RegExp][] = [
  ["a missing file", undefined, /: no such file$/],
  ["an empty file", "", /:1:"": not one of the columns/],
  ["an unknown column", "time,watts\n", /:1:"watts": not one of the columns/],
  ["a column twice", "time,power,power\n", /:1:power: this column stands there twice/],
  ["no time", "power\n", /:1:time: this column is missing/],
  ["no power", "time,voltage\n", /:1:power: this column is missing/],
  ["too few cells", "time,power\n2026-01-01T00:00:00Z\n", /:2:power: 1 cells instead of 2/],
  ["a time without zone", "time,power\n2026-01-01T00:00:00,1\n", /:2:time: .*is not a time/],
  ["30 February", "time,power\n2026-02-30T00:00:00Z,1\n", /:2:time: .*is not a time/],
  [
    "a time that repeats",
    "time,power\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:00Z,1\n",
    /:3:time: .* stands there twice/,
  ],
  [
    "a time that goes back",
    "time,power\n2026-01-01T00:01:00Z,1\n2026-01-01T00:00:00Z,1\n",
    /:3:time: .* goes back in time/,
  ],
  ["seven decimals", "time,power\n2026-01-01T00:00:00Z,1.0000001\n", /:2:power: 1.0000001 has more than six decimals/],
  ["an exponent", "time,power\n2026-01-01T00:00:00Z,1e3\n", /:2:power: "1e3" is not a plain decimal number/],
  ["NaN", "time,power\n2026-01-01T00:00:00Z,NaN\n", /:2:power: "NaN" is not a plain decimal number/],
  ["a negative power", "time,power\n2026-01-01T00:00:00Z,-0.5\n", /:2:power: -0.5 is negative/],
  ["a negative product", "time,voltage,current\n2026-01-01T00:00:00Z,12,-1\n", /:2:current: .* is a negative power/],
  ["an absurd value", "time,power\n2026-01-01T00:00:00Z,999999999999\n", /:2:power: .*beyond anything measurable/],
  ["a single row", "time,power\n2026-01-01T00:00:00Z,1\n", /needs at least two rows, this has 1/],
  ["gaps only", "time,power\n2026-01-01T00:00:00Z,\n2026-01-01T00:01:00Z,\n", /no row holds a sample/],
];
for (const [name, csv, expected] of bad) {
  test(`refuses ${name}, on one line that names file, line and column`, (t) => {
    const path = join(tempFolder(t), "bad.csv");
    if (csv !== undefined) writeFileSync(path, csv);
    assert.throws(
      () => loadReplay(path, 300),
      (error: Error) => {
        assert.match(error.message, expected);
        assert.ok(error.message.startsWith(path));
        assert.ok(!error.message.includes("\n"));
        return true;
      },
    );
  });
}

/** What the recording's own README says of each, in Wh; the household's files are the project's copy. */
const RECORDED: readonly (readonly [file: string, milliwattHours: bigint])[] = [
  ["main.csv", 40_635_233n],
  ["kitchen.csv", 837_000n],
  ["laundry.csv", 2_904_000n],
  ["water-heater-ac.csv", 14_958_000n],
  ["plant.csv", 44_851_250n],
];
for (const [file, milliwattHours] of RECORDED) {
  test(`the recorded days of ${file}: every lot's register to the Unit, computed from the file's text alone`, () => {
    const path = fileURLToPath(new URL(`../../test/data/household/${file}`, import.meta.url));
    const replay = loadReplay(path, 300);
    // Every row is a minute: milliwatts · 60 s = 60 mJ; a Unit is 360 mJ.
    const minutes = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.split(","))
      .map(([time, , , power]) => ({ at: Date.parse(time!), milliwatts: power ? BigInt(power.replace(".", "")) : 0n }));
    let next = 0;
    let milliwattMinutes = 0n;
    let measured = 0n;
    for (let lot = replay.firstLot; lot <= replay.lastLot; lot++) {
      const end = Number(lot + 1n) * 300_000;
      for (; next < minutes.length && minutes[next]!.at < end; next++) milliwattMinutes += minutes[next]!.milliwatts;
      measured += measureLot(replay, lot, 300, Number.MAX_SAFE_INTEGER).forward;
      assert.equal(measured / FEMTOJOULES_PER_UNIT, (milliwattMinutes * 60n) / 360n, `lot ${lot}`);
    }
    assert.equal(next, 3286);
    assert.equal((milliwattMinutes + 30n) / 60n, milliwattHours);
  });
}
