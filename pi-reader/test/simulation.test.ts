import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { measureLot } from "../src/course.ts";
import type { LotMeasurement } from "../src/measurement.ts";
import { parseSimulation, Simulation, simulatedPower } from "../src/simulation.ts";
import type { SwitchHistory } from "../src/switches.ts";

const NOON = 1_767_268_800n;

test("the same options say the same at the same time, other seeds say otherwise", () => {
  const options = { watts: 400, noise: 0.2, seed: 7, daily: true };
  assert.equal(simulatedPower(options, NOON), simulatedPower(options, NOON));
  assert.equal(simulatedPower(options, NOON), 395_422_860n);
  assert.notEqual(simulatedPower(options, NOON), simulatedPower({ ...options, seed: 8 }, NOON));
});

test("a day's mean is what was asked for", () => {
  let sum = 0n;
  for (let second = 0n; second < 86_400n; second += 10n) {
    sum += simulatedPower({ watts: 1000, noise: 0, daily: true }, NOON + second);
  }
  const mean = Number(sum / 8640n) / 1e6;
  assert.ok(Math.abs(mean - 1000) < 1, `${mean} W`);
});

test("a feeder adds up: what the plants send, less the loss, is what consumers use and what nobody meters", () => {
  const consumers = [1, 2, 3, 4].map((seed) => ({ watts: 300 * seed, noise: 0.3, seed, daily: true }));
  const received = { sum: consumers, unmeteredBps: 200 };
  const sent = { sum: [received], lossBps: 900, lossNoise: 0.2, lossSeed: 5 };
  for (let second = NOON; second < NOON + 7200n; second += 10n) {
    const used = consumers.reduce((sum, load) => sum + simulatedPower(load, second), 0n);
    const delivered = simulatedPower(received, second);
    assert.equal(delivered, used + (used * 200n) / 10_000n);
    const all = simulatedPower(sent, second);
    const loss = Number(all - delivered) / Number(all);
    assert.ok(loss >= 0.09 * 0.8 - 1e-9 && loss <= 0.09 * 1.2 + 1e-9, `${loss}`);
    const shares = [6000, 4000].map((shareBps) => simulatedPower({ ...sent, shareBps }, second));
    assert.ok(all - shares[0]! - shares[1]! <= 1n);
  }
});

test("a meter started within a lot has measured only the rest of it", () => {
  const begin = Number(NOON) * 1000 + 125_000;
  const course = new Simulation({ watts: 360, noise: 0 }, begin);
  const lot = measureLot(course, NOON / 300n, 300, begin + 1_000_000);
  assert.equal(lot.coveredMs, 175_000);
  assert.equal(lot.forward, 360n * 175n * 10n ** 15n);
});

test("power that flows back counts in reverse", () => {
  const course = new Simulation({ watts: -360, noise: 0 }, Number(NOON) * 1000);
  const lot = measureLot(course, NOON / 300n, 300, Number(NOON + 300n) * 1000);
  assert.equal(lot.forward, 0n);
  assert.equal(lot.reverse, 360n * 300n * 10n ** 15n);
});

test("options are checked strictly", () => {
  assert.deepEqual(parseSimulation("{}"), { watts: 400 });
  assert.throws(() => parseSimulation("{"), /not JSON/);
  assert.throws(() => parseSimulation('{"watt":1}'), /simulate: .*watt/);
  assert.throws(() => parseSimulation('{"noise":0.1}'), /either watts or sum/);
  assert.throws(() => parseSimulation('{"sum":[{"watts":1,"seed":-1}]}'), /sum\.0\.seed/);
  assert.throws(() => parseSimulation('{"watts":1,"from":"yesterday"}'), /from: must be an ISO 8601 time/);
  assert.throws(() => parseSimulation('{"watts":1,"lossBps":9000,"lossNoise":0.5}'), /loses all/);
});

test("a demo's switches draw power past a meter and fail its sensor, from a moment on, for every restart alike", () => {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-switches-"));
  const file = join(folder, "switches.json");
  const begin = Number(NOON) * 1000;
  const options = { watts: 360, noise: 0, tap: "line", switches: { file, sensor: "HOUSE-1" } };
  const energies = (course: Simulation) =>
    [0n, 1n, 2n].map((i) => measureLot(course, NOON / 300n + i, 300, begin + 900_000)).map(shown);
  const shown = ({ forward, quality, coveredMs }: LotMeasurement) => [
    forward / 360_000_000_000_000n,
    quality,
    coveredMs,
  ];
  try {
    const course = new Simulation(options, begin);
    assert.deepEqual(energies(course)[0], [300_000n, 0, 300_000]);
    const history: SwitchHistory = [
      { from: begin + 300_000, taps: { line: 180 }, failing: [] },
      { from: begin + 750_000, taps: {}, failing: ["HOUSE-1"] },
    ];
    writeFileSync(`${file}.new`, JSON.stringify(history));
    renameSync(`${file}.new`, file);
    const wanted = [
      [300_000n, 0, 300_000],
      [450_000n, 0, 300_000],
      [225_000n, Quality.GAP | Quality.SENSOR_FAULT, 150_000],
    ];
    assert.deepEqual(energies(course), wanted);
    assert.deepEqual(energies(new Simulation(options, begin)), wanted);
    assert.equal(course.health(begin + 800_000).status, "failing");
    assert.equal(course.health(begin).status, "ok");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
