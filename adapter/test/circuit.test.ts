import assert from "node:assert/strict";
import { test } from "node:test";
import { Circuit } from "../src/circuit.ts";

test("a circuit opens after three failures, lets one attempt through after a pause, and pauses longer each time", () => {
  const circuit = new Circuit();
  let now = 1000;
  for (let i = 0; i < 3; i++) {
    assert.equal(circuit.state(now), "closed");
    assert.equal(circuit.wait(now), 0);
    circuit.failed(now);
  }
  let longest = 0;
  for (let i = 0; i < 12; i++) {
    assert.equal(circuit.state(now), "open");
    const pause = circuit.wait(now);
    const expected = Math.min(250 * 2 ** i, 10_000);
    assert.ok(pause >= 0.75 * expected && pause <= 1.25 * expected, `${pause} of ${expected}`);
    longest = Math.max(longest, pause);
    now += pause;
    assert.equal(circuit.state(now), "half-open");
    assert.equal(circuit.wait(now), 0, "one attempt");
    assert.ok(circuit.wait(now) > 0, "and not a second beside it");
    circuit.failed(now);
  }
  assert.ok(longest <= 12_500);
  now += circuit.wait(now);
  assert.equal(circuit.wait(now), 0);
  circuit.succeeded();
  assert.equal(circuit.state(now), "closed");
});
