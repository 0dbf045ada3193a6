import assert from "node:assert/strict";
import { test } from "node:test";
import { forwardEnergy, Integrator } from "../src/integrator.ts";
import { integrate, WAVEFORMS } from "./waveforms.ts";

const S = 1_000_000_000n;

test("known waveforms: the error against the analytic value is within what the rule allows", () => {
  for (const waveform of WAVEFORMS) {
    const { forward, reverse } = integrate(waveform);
    assert.ok(Math.abs(forward - waveform.forward) / waveform.forward <= waveform.allowed, waveform.name);
    if (waveform.reverse === 0) assert.equal(reverse, 0);
    else assert.ok(Math.abs(reverse - waveform.reverse) / waveform.reverse <= waveform.allowed, waveform.name);
  }
});

test("a power that changes its sign counts in both directions, each exactly", () => {
  // 100 W falling to −100 W in 2 s: 50 J forward, 50 J in reverse; to −300 W: 25 J and 225 J.
  assert.equal(forwardEnergy(100_000_000n, -100_000_000n, 2n * S, 2n * S), 50n * 10n ** 15n);
  assert.equal(forwardEnergy(-100_000_000n, 100_000_000n, 2n * S, 2n * S), 50n * 10n ** 15n);
  assert.equal(forwardEnergy(100_000_000n, -300_000_000n, 2n * S, 2n * S), 25n * 10n ** 15n);
  assert.equal(forwardEnergy(-100_000_000n, 300_000_000n, 2n * S, 2n * S), 225n * 10n ** 15n);
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
