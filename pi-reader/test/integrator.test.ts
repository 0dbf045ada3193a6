import assert from "node:assert/strict";
import { test } from "node:test";
import { forwardEnergy, Integrator, type PowerSample } from "../src/integrator.ts";

const S = 1_000_000_000n;

/** Watts at a second → joules over `seconds` by several rules, from the same samples. */
function integrate(watts: (second: number) => number, seconds: number, hz: number) {
  const integrator = new Integrator(10n * S);
  let forward = 0n;
  let reverse = 0n;
  let left = 0;
  let right = 0;
  let float32 = Math.fround(0);
  let before: PowerSample | undefined;
  for (let i = 0; i <= seconds * hz; i++) {
    const sample = { atNs: (BigInt(i) * S) / BigInt(hz), power: BigInt(Math.round(watts(i / hz) * 1e6)) };
    const piece = integrator.add(sample);
    if (piece) {
      forward += piece.forwardUntil(piece.toNs);
      reverse += piece.reverseUntil(piece.toNs);
    }
    if (before) {
      const [p0, p1] = [Number(before.power) / 1e6, Number(sample.power) / 1e6];
      left += p0 / hz;
      right += p1 / hz;
      float32 = Math.fround(float32 + Math.fround((p0 + p1) / 2 / hz));
    }
    before = sample;
  }
  const joules = (femtojoules: bigint) => Number(femtojoules) / 1e15;
  return { forward: joules(forward), reverse: joules(reverse), left, right, float32 };
}

/** Joules of 0.37 s of 1000 W every 1.93 s. */
const pulses = (seconds: number) =>
  1000 * (Math.floor(seconds / 1.93) * 0.37 + Math.min(seconds - Math.floor(seconds / 1.93) * 1.93, 0.37));

/** 500 W and seven tones that fit no sample rate, with their integral. */
function noise(second: number): { watts: number; joules: number } {
  let watts = 500;
  let joules = 500 * second;
  for (const hz of [0.0123, 0.0707, 0.331, 0.917, 1.618, 2.713, 4.301]) {
    watts += 60 * Math.sin(2 * Math.PI * hz * second);
    joules -= (60 / (2 * Math.PI * hz)) * Math.cos(2 * Math.PI * hz * second);
  }
  return { watts, joules };
}

test("known waveforms: error against the analytic value, beside other rules on the same samples", (t) => {
  const hour = 3600;
  const waveforms: [name: string, watts: (s: number) => number, joules: number, allowed: number][] = [
    ["constant 100.123456 W", () => 100.123456, 100.123456 * hour, 1e-12],
    ["ramp 0 … 3600 W", (s) => s, (hour * hour) / 2, 1e-12],
    ["sine 100 ± 100 W, 60 s", (s) => 100 + 100 * Math.sin((2 * Math.PI * s) / 60), 100 * hour, 1e-9],
    // 10 samples a second see a pulse's edges with a tenth of a second's blur, which evens out over many pulses.
    ["square, 0.37 s of 1000 W every 1.93 s", (s) => (s % 1.93 < 0.37 ? 1000 : 0), pulses(hour), 5e-3],
    ["noise, seven tones up to 4.3 Hz", (s) => noise(s).watts, noise(hour).joules - noise(0).joules, 1e-3],
  ];
  for (const [name, watts, exact, allowed] of waveforms) {
    const result = integrate(watts, hour, 10);
    const error = (value: number) => ((value - exact) / exact).toExponential(1);
    t.diagnostic(
      `${name.padEnd(36)} trapezoid ${error(result.forward)}  left ${error(result.left)}  right ${error(result.right)}  float32 ${error(result.float32)}`,
    );
    assert.ok(Math.abs(result.forward - exact) / exact <= allowed, name);
    assert.equal(result.reverse, 0);
  }
});

test("a power that changes its sign counts in both directions, each exactly", () => {
  // 100 W falling to −100 W in 2 s: 50 J forward, 50 J in reverse; to −300 W: 25 J and 225 J.
  assert.equal(forwardEnergy(100_000_000n, -100_000_000n, 2n * S, 2n * S), 50n * 10n ** 15n);
  assert.equal(forwardEnergy(-100_000_000n, 100_000_000n, 2n * S, 2n * S), 50n * 10n ** 15n);
  assert.equal(forwardEnergy(100_000_000n, -300_000_000n, 2n * S, 2n * S), 25n * 10n ** 15n);
  assert.equal(forwardEnergy(-100_000_000n, 300_000_000n, 2n * S, 2n * S), 225n * 10n ** 15n);
  const sine = integrate((s) => 100 * Math.sin((2 * Math.PI * s) / 60), 3600, 10);
  const half = (100 * 3600) / Math.PI;
  assert.ok(Math.abs(sine.forward - half) / half < 1e-4 && Math.abs(sine.reverse - half) / half < 1e-4);
});

test("wherever a piece is cut, its parts are its whole, and the difference of directions is exact", () => {
  let state = 99n;
  const random = (below: bigint) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return (state >> 16n) % below;
  };
  for (let i = 0; i < 2000; i++) {
    const p0 = random(4_000_000_000n) - 2_000_000_000n;
    const p1 = random(4_000_000_000n) - 2_000_000_000n;
    const dt = 2n * (1n + random(500_000_000n));
    const net = ((p0 + p1) * dt) / 2n;
    assert.equal(forwardEnergy(p0, p1, dt, dt) - forwardEnergy(-p0, -p1, dt, dt), net);
    let before = 0n;
    for (let cut = 0n; cut <= 10n; cut++) {
      const now = forwardEnergy(p0, p1, dt, (dt * cut) / 10n);
      assert.ok(now >= before);
      before = now;
    }
  }
});

test("nothing is bridged that is longer than the limit, repeats or goes back", () => {
  const integrator = new Integrator(5n * S);
  const at = (second: bigint) => integrator.add({ atNs: second * S, power: 1n });
  assert.equal(at(0n), undefined);
  assert.ok(at(5n));
  assert.equal(at(11n), undefined);
  assert.equal(integrator.gaps, 1);
  assert.ok(at(12n));
  assert.equal(at(12n), undefined);
  assert.equal(at(3n), undefined);
  integrator.interrupt();
  assert.equal(at(13n), undefined);
  assert.equal(integrator.gaps, 2);
});
