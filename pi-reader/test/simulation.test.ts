import assert from "node:assert/strict";
import { test } from "node:test";
import { measureLot } from "../src/course.ts";
import { parseSimulation, Simulation, simulatedPower } from "../src/simulation.ts";

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
