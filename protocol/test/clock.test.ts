import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { clockFromFile, lotEnd, lotOf, lotStart, openClock } from "@bijuli/protocol";

const folder = mkdtempSync(join(tmpdir(), "bijuli-clock-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "clock.json");
const write = (file: object) => {
  writeFileSync(`${path}.new`, JSON.stringify(file));
  renameSync(`${path}.new`, path);
};

describe("the virtual clock", () => {
  it("stands at its origin until it is started, then runs at its speed in every process that shares the file", async () => {
    write({ origin: 1_279_180_140_000, speed: 1000 });
    const clock = clockFromFile(path);
    assert.equal(clock.started(), false);
    assert.equal(clock.nowMs(), 1_279_180_140_000);
    const waiting = clock.sleepUntil(1_279_180_140_000 + 60_000);
    const startedAt = Date.now();
    write({ origin: 1_279_180_140_000, speed: 1000, startedAt });
    await waiting;
    assert.ok(clock.nowMs() >= 1_279_180_200_000);
    assert.equal(clock.realMs(60_000), 60);
    assert.ok(Math.abs(clockFromFile(path).nowMs() - clock.nowMs()) < 1000 * 50);
  });

  it("gives up a wait when told to", async () => {
    const stop = new AbortController();
    const waiting = openClock(undefined).sleepUntil(Date.now() + 3_600_000, stop.signal);
    stop.abort();
    await assert.rejects(waiting, { name: "AbortError" });
  });

  it("refuses a file that is not a clock", () => {
    write({ origin: 0, speed: 0 });
    assert.throws(() => clockFromFile(path), /clock file .* cannot be read/);
    assert.throws(() => clockFromFile(join(folder, "none")), /cannot be read/);
  });
});

describe("lots", () => {
  it("cover [lot·lotSeconds, (lot+1)·lotSeconds)", () => {
    assert.equal(lotOf(299n, 300), 0n);
    assert.equal(lotOf(300n, 300), 1n);
    assert.equal(lotStart(4_263_941n, 300), 1_279_182_300n);
    assert.equal(lotEnd(4_263_941n, 300), 1_279_182_600n);
    assert.throws(() => lotOf(-1n, 300), /before 1970/);
    for (const bad of [0, -1, 1.5, 2 ** 32, Number.NaN]) assert.throws(() => lotOf(1n, bad), /lotSeconds/);
  });
});
