import assert from "node:assert/strict";
import { test } from "node:test";
import { disagreement, Quality, readingFromJson } from "@bijuli/protocol";
import { Machine } from "./machine.ts";
import { makeDisk, openWorkshop, READER, readerEnv, type Workshop } from "./workshop.ts";

/*
 * Power cuts: the store lies on ext4 on a virtual disk that the host does not cache, and the machine's process is killed
 * at random moments. What was not on the disk is gone, as when the plug is pulled.
 */

const CUTS = process.env.BIJULI_DEEP === "1" ? 50 : 5;
const LOT_SECONDS = 2;
const CHECKPOINT_SECONDS = 1;
/** What passes between a sample and its checkpoint besides, in an emulated machine. */
const SLACK_SECONDS = 1;
/** 24 V and 5 A: 120 W, 333⅓ Units a second. */
const UNITS_PER_SECOND = 1000 / 3;
const TOKEN = "for-tests";

/** What a reader once said: it must stand for ever. */
interface Acknowledged {
  readings: Map<string, { reading: object }>;
  /** The greatest forward register that was shown, open lot included. */
  forward: bigint;
}

class Plug {
  readonly #workshop: Workshop;
  readonly #disk: string;
  readonly #preload: string;
  #machine: Machine | undefined;

  constructor(workshop: Workshop, name: string, options: { sync: boolean }) {
    this.#workshop = workshop;
    this.#disk = makeDisk(workshop.folder, name);
    this.#preload = options.sync ? "" : "LD_PRELOAD=/bijuli/lib/nosync.so ";
  }

  get machine(): Machine {
    return this.#machine!;
  }

  /** Power comes: the machine boots, the sensor shows 120 W, the reader starts; returns when it answers, or has ended. */
  async in(): Promise<boolean> {
    const { image, folder } = this.#workshop;
    this.#machine = await Machine.boot({ image, folder, disk: this.#disk });
    const registers = { 1: 0xa00f, 2: 0x004b, 6: 0x0800, 254: 0x4954, 255: 0x6022 };
    const set = Object.entries(registers).map(
      ([register, word]) => `i2cset -y 0 0x40 0x${Number(register).toString(16)} 0x${word.toString(16)} w`,
    );
    await this.machine.run("mount -t ext4 /dev/vdb /data && insmod /modules/i2c-stub.ko chip_addr=0x40");
    await this.machine.run(set.join(" && "));
    const env = readerEnv({
      READER_SOURCE: 'ina226:{"bus":0,"shuntOhms":"0.002","averages":1,"conversion":140}',
      READER_HOST: "0.0.0.0",
      READER_TOKEN: TOKEN,
      LOT_SECONDS: String(LOT_SECONDS),
      READER_SAMPLE_MS: "100",
      READER_CHECKPOINT_SECONDS: String(CHECKPOINT_SECONDS),
    });
    await this.machine.run(`(${this.#preload}${env} ${READER} serve >/tmp/reader.log 2>&1 &) ; true`);
    for (let tries = 0; tries < 600; tries++) {
      if ((await this.get("/live")) !== undefined) return true;
      if (tries > 50 && (await this.machine.attempt("pidof node")).code !== 0) return false;
      await pause(100);
    }
    throw new Error(await this.log());
  }

  log(): Promise<string> {
    return this.machine.run("cat /tmp/reader.log");
  }

  /** What the reader answers; undefined where it has none (yet). */
  async get<T = { forward: string }>(path: string): Promise<T | undefined> {
    try {
      const answer = await fetch(`${this.machine.url}${path}`, {
        headers: { authorization: `Bearer ${TOKEN}` },
        signal: AbortSignal.timeout(5000),
      });
      return answer.status === 200 ? ((await answer.json()) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Looks at the reader all the time for so long; what it said is added to what it must stand by. */
  async watch(known: Acknowledged, ms: number): Promise<void> {
    const until = performance.now() + ms;
    for (let runs = 1; performance.now() < until; runs++) {
      const path = runs % 4 === 0 ? "/readings/latest?lots=3" : "/readings/latest";
      const served = await this.get<{ reading: { lot: string; energies: string } }>(path);
      if (served !== undefined) known.readings.set(`${served.reading.lot}?lots=${runs % 4 === 0 ? 3 : 1}`, served);
      const live = await this.get("/live");
      if (live !== undefined && BigInt(live.forward) > known.forward) known.forward = BigInt(live.forward);
      await pause(20);
    }
  }

  /** What the reader does not stand by any more. */
  async broken(known: Acknowledged): Promise<string[]> {
    const problems: string[] = [];
    const after: object[] = [];
    for (const [path, before] of known.readings) {
      const now = await this.get<{ reading: object }>(`/readings/${path}`);
      if (now === undefined) problems.push(`${path} is lost`);
      else if (JSON.stringify(now) !== JSON.stringify(before)) problems.push(`${path} is another one`);
      if (now !== undefined) after.push(now.reading);
    }
    const all = [...known.readings.values()].map(({ reading }) => reading).concat(after);
    const parsed = all.map((reading) => readingFromJson(reading as Parameters<typeof readingFromJson>[0]));
    for (const a of parsed) {
      const other = parsed.find((b) => disagreement(a, b) !== undefined);
      if (other !== undefined) problems.push(`the readings of ${a.lot} and ${other.lot} disagree`);
    }
    return problems;
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test(`${CUTS} power cuts: no acknowledged lot is lost, nothing disagrees, registers never go back`, async (t) => {
  const plug = new Plug(openWorkshop(), "data.ext4", { sync: true });
  const known: Acknowledged = { readings: new Map(), forward: 0n };
  let worst = 0;
  try {
    for (let cut = 0; cut < CUTS; cut++) {
      assert.ok(await plug.in(), await plug.log());
      assert.deepEqual(await plug.broken(known), []);
      const forward = BigInt((await plug.get("/live"))!.forward);
      const lost = Number(known.forward - forward) / UNITS_PER_SECOND;
      worst = Math.max(worst, lost);
      assert.ok(lost <= CHECKPOINT_SECONDS + SLACK_SECONDS, `cut ${cut} lost the energy of ${lost.toFixed(1)} s`);
      known.forward = forward;
      await plug.watch(known, 1000 + Math.random() * 6000);
      await plug.machine.cut();
    }
    assert.ok(await plug.in(), await plug.log());
    assert.deepEqual(await plug.broken(known), []);
    const readings = [...known.readings.values()] as { reading: { quality: number } }[];
    assert.ok(readings.length >= CUTS, `${readings.length} readings were acknowledged`);
    assert.ok(readings.some(({ reading }) => (reading.quality & Quality.POWER_DOWN) !== 0));
    assert.ok(readings.some(({ reading }) => reading.quality === 0));
    const audited = JSON.parse(await plug.machine.run(`${READER} audit --store /data/meter.db`, 300_000));
    assert.equal(audited.ok, true, JSON.stringify(audited));
    t.diagnostic(
      `${readings.length} readings acknowledged, ${audited.lots} lots in the store; the worst cut lost ${worst.toFixed(2)} s of energy`,
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
