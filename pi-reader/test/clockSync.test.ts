import assert from "node:assert/strict";
import { test } from "node:test";
import { ClockSync } from "../src/clockSync.ts";

test("what the system said of the clock does not outlive its setting: by hand it stays unsynchronised, by NTP it is again", async () => {
  let offsetMs = 1_700_000_000_000;
  let system = true;
  let asked = 0;
  const clock = new ClockSync(
    async () => {
      asked++;
      return system;
    },
    () => offsetMs,
  );
  assert.equal(clock.synchronised, false);
  await clock.look();
  assert.equal(clock.synchronised, true);
  // Small steps are what NTP does.
  offsetMs += 900;
  assert.equal(clock.synchronised, true);
  // Somebody sets it by an hour. The kernel says so, but the next look would have been half a minute away.
  offsetMs += 3_600_000;
  system = false;
  assert.equal(clock.synchronised, false);
  await new Promise(setImmediate);
  assert.deepEqual([asked, clock.synchronised], [2, false]);
  // NTP sets it right, and the system says so.
  offsetMs -= 3_600_000;
  system = true;
  assert.equal(clock.synchronised, false);
  await new Promise(setImmediate);
  assert.deepEqual([asked, clock.synchronised], [3, true]);
});

test("an answer to a question that was under way while the clock was set counts for nothing", async () => {
  let offsetMs = 0;
  const answers: ((synchronised: boolean) => void)[] = [];
  const clock = new ClockSync(
    () => new Promise((resolve) => answers.push(resolve)),
    () => offsetMs,
  );
  const look = clock.look();
  offsetMs = 60_000;
  answers[0]!(true);
  await look;
  assert.equal(clock.synchronised, false);
  assert.equal(answers.length, 2);
  answers[1]!(true);
  await new Promise(setImmediate);
  assert.equal(clock.synchronised, true);
});
