import assert from "node:assert/strict";
import { test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { type Acknowledged, CHECKPOINT_SECONDS, LOT_SECONDS, Plug, pause } from "./plug.ts";
import { openWorkshop, READER, readerEnv } from "./workshop.ts";

/*
 * Power cuts: the store lies on ext4 on a virtual disk that the host does not cache, and the machine's process is killed
 * at random moments. What was not on the disk is gone, as when the plug is pulled.
 */

const CUTS = process.env.BIJULI_DEEP === "1" ? 50 : 5;
/** So many crashes of Node under emulation are borne, as power cuts of their own; a reader that crashes more often is at fault. */
const CRASHES = Math.ceil(CUTS / 10);
/** What passes between a sample and its checkpoint besides, in an emulated machine. */
const SLACK_SECONDS = 1;
/** 24 V and 5 A: 120 W, 333⅓ Units a second. */
const UNITS_PER_SECOND = 1000 / 3;

test(`${CUTS} power cuts: no acknowledged lot is lost, nothing disagrees, registers never go back`, async (t) => {
  const plug = new Plug(openWorkshop(), "data.ext4", { sync: true });
  const known: Acknowledged = { readings: new Map(), forward: 0n };
  let worst = 0;
  try {
    for (let cut = 0; cut < CUTS; cut++) {
      const { problems, forward } = await plug.comesBack(known, CRASHES);
      assert.deepEqual(problems, []);
      const lost = Number(known.forward - forward) / UNITS_PER_SECOND;
      worst = Math.max(worst, lost);
      assert.ok(lost <= CHECKPOINT_SECONDS + SLACK_SECONDS, `cut ${cut} lost the energy of ${lost.toFixed(1)} s`);
      known.forward = forward;
      await plug.watch(known, 1000 + Math.random() * 6000);
      await plug.machine.cut();
    }
    assert.deepEqual((await plug.comesBack(known, CRASHES)).problems, []);
    const readings = [...known.readings.values()] as { reading: { quality: number } }[];
    assert.ok(readings.length >= CUTS, `${readings.length} readings were acknowledged`);
    assert.ok(readings.some(({ reading }) => (reading.quality & Quality.POWER_DOWN) !== 0));
    assert.ok(readings.some(({ reading }) => reading.quality === 0));
    const audit = () => plug.machine.attempt(`${READER} audit --store /data/meter.db`, 300_000);
    let { code, output } = await audit();
    if (await plug.crashed(code)) ({ code, output } = await audit());
    assert.equal(code, 0, output);
    const audited = JSON.parse(output);
    assert.equal(audited.ok, true, output);
    t.diagnostic(
      `${readings.length} readings acknowledged, ${audited.lots} lots in the store; the worst cut lost ${worst.toFixed(2)} s of energy; ${plug.crashes.length} crashes of the emulated Node besides (${plug.crashes.join(", ")})`,
    );
  } finally {
    await plug.machine?.cut();
  }
});

test("control: on a disk that only pretends to have written, the same cuts lose what was acknowledged", async (t) => {
  const workshop = openWorkshop();
  for (let tries = 0; tries < 3; tries++) {
    const plug = new Plug(workshop, `lying-${tries}.ext4`, { sync: false });
    const known: Acknowledged = { readings: new Map(), forward: 0n };
    try {
      assert.ok(await plug.in(), await plug.log());
      // The store itself is on the disk; what comes after is not.
      await plug.watch(known, LOT_SECONDS * 1500);
      await plug.machine.run("sync");
      await plug.watch(known, LOT_SECONDS * 2500);
      await plug.machine.cut();
      const problems = (await plug.in()) ? await plug.broken(known) : [await plug.log()];
      t.diagnostic(`without fsync, of ${known.readings.size} acknowledged: ${problems.join("; ") || "nothing broken"}`);
      if (problems.length > 0) return;
    } finally {
      await plug.machine?.cut();
    }
  }
  assert.fail("three cuts without fsync broke nothing: the test could not fail");
});

test("a card that turns read-only: what is closed is still served, the trouble shown, no start on it, and all is there once it is well", async () => {
  const plug = new Plug(openWorkshop(), "card.ext4", { sync: true });
  const known: Acknowledged = { readings: new Map(), forward: 0n };
  try {
    assert.ok(await plug.in(), await plug.log());
    await plug.watch(known, LOT_SECONDS * 2500);
    // What the kernel does with a file system when its card fails.
    await plug.machine.run("echo failing > /sys/fs/ext4/vdb/trigger_fs_error");
    let health: { parts: { store: { status: string; detail?: string } } } | undefined;
    for (let tries = 0; tries < 100 && health?.parts.store.status !== "failing"; tries++) {
      await pause(200);
      health = await plug.get("/health", 503);
    }
    assert.match(health?.parts.store.detail ?? "", /the store \/data\/meter\.db/);
    assert.deepEqual(await plug.broken(known), []);
    await plug.machine.run("killall -KILL node; while pidof node >/dev/null; do sleep 0.2; done");
    const env = readerEnv({ READER_SOURCE: 'ina226:{"bus":0,"shuntOhms":"0.002"}', LOT_SECONDS: String(LOT_SECONDS) });
    const { code, output } = await plug.machine.attempt(`${env} ${READER} serve`);
    assert.equal(code, 1, output);
    assert.match(output, /^the store \/data\/meter\.db failed: disk I\/O error \(if its disk or card is failing/);
    await plug.machine.cut();
    assert.ok(await plug.in(), await plug.log());
    assert.deepEqual(await plug.broken(known), []);
  } finally {
    await plug.machine?.cut();
  }
});
