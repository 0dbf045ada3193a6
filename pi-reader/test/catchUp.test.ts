import assert from "node:assert/strict";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { LotAssembler } from "../src/lotAssembler.ts";
import { S } from "./liveBench.ts";
import { LiveMeter } from "./liveMeter.ts";

const DAY = 86_400n * S;

test("a power cut in the midst of catching up loses and doubles no energy: each batch carries what still waits", async (t) => {
  const bench = new LiveMeter(t);
  await bench.run(400);
  bench.checkpoint();
  bench.cut(10n * DAY);
  // Two batches come onto the disk, then the power goes again.
  const { store } = bench;
  const append = store.append.bind(store);
  let batches = 0;
  store.append = (...what) => {
    if (++batches > 2) throw new Error("the power goes");
    append(...what);
  };
  await assert.rejects(bench.run(3), /the power goes/);
  store.close();
  bench.timebase.pass(60n * S);
  bench.boot();
  assert.equal(bench.lots().length, 1 + 2 * 288);
  await bench.run(700);
  bench.assertConsecutive();
  await bench.assertExact();
  const outage = bench.lots().slice(2, 2880);
  assert.ok(outage.every((lot) => lot.quality & Quality.POWER_DOWN && lot.quality & Quality.GAP));
});

test("a meter that comes back after 20 years does not die of the two million lots that wait to be closed", () => {
  const lots = 20n * 365n * 288n;
  const assembler = new LotAssembler(300, 6_000_000n);
  assembler.setOffset(6_000_000n * 300n * S);
  assembler.addTimeless(7n, 0n);
  const before = process.memoryUsage().heapUsed;
  const step = lots / 100n;
  for (let passed = step; passed <= lots; passed += step) assembler.passTo(passed * 300n * S, 0);
  const { complete } = assembler;
  assert.deepEqual([complete.first, complete.last], [6_000_000n, 6_000_000n + lots - 1n]);
  assert.ok(process.memoryUsage().heapUsed - before < 100_000_000);
  assert.equal(complete.at(6_000_000n)!.forward, 7n);
  complete.release(6_000_287n);
  assert.deepEqual([complete.first, complete.at(6_000_287n)], [6_000_288n, undefined]);
  const lot = complete.at(8_000_000n)!;
  assert.deepEqual([lot.lot, lot.forward, lot.quality], [8_000_000n, 0n, Quality.POWER_DOWN | Quality.GAP]);
});
