import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Quality } from "@bijuli/protocol";
import { KEY, REGISTRY, tempFolder } from "./bench.ts";
import { buildShim, ShimChip, shimMissing } from "./shim/shimChip.ts";

/*
 * The unmodified reader with the real i2c-bus addon, on a shim in the kernel's place. It needs a C compiler and an
 * addon that was built for this Node.
 */
const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
const skip = shimMissing();

let library = "";
before((t) => {
  if (skip === false) library = buildShim(tempFolder(t as TestContext));
});

function shimChip(t: TestContext, words: Readonly<Record<number, number>>): ShimChip {
  const chip = new ShimChip(tempFolder(t), library, words);
  t.after(() => chip.close());
  return chip;
}

/** 24 V and 10 mV over 2 mΩ: 5 A, 120 W; always converted. */
const INA226 = { 0: 0x4127, 1: 4000, 2: 19_200, 6: 0x0008, 254: 0x5449, 255: 0x2260 };
const SOURCE = 'ina226:{"shuntOhms":"0.002","averages":1,"conversion":140}';

function reader(t: TestContext, chip: ShimChip, args: string[], more: Record<string, string> = {}) {
  const env = {
    PATH: process.env.PATH!,
    ...chip.env,
    READER_SERIAL: "HOUSE-1",
    READER_KEY: KEY,
    READER_STORE: join(tempFolder(t), "store.db"),
    READER_SOURCE: SOURCE,
    READER_PORT: "0",
    READER_SAMPLE_MS: "20",
    READER_GAP_LIMIT_MS: "300",
    READER_CLOCK_SYNC: "always",
    LOT_SECONDS: "1",
    CHAIN_ID: "31337",
    REGISTRY_ADDRESS: REGISTRY,
    ...more,
  };
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (data) => (output.stdout += data));
  child.stderr.on("data", (data) => (output.stderr += data));
  t.after(() => child.exitCode ?? child.kill("SIGKILL"));
  return Object.assign(child as ChildProcess, { output });
}

async function run(t: TestContext, chip: ShimChip, args: string[], more: Record<string, string> = {}) {
  const child = reader(t, chip, args, more);
  const [code] = await once(child, "close");
  return { code, ...child.output };
}

async function urlOf(child: ReturnType<typeof reader>): Promise<string> {
  for (;;) {
    const line = child.output.stderr.split("\n").find((text) => text.includes('"msg":"listening"'));
    if (line) return JSON.parse(line).url;
    assert.equal(child.exitCode, null, child.output.stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Lot {
  energy: string;
  quality: number;
  coveredMs: number;
}
const lotsOf = async (url: string) => ((await (await fetch(`${url}/lots`)).json()) as { lots: Lot[] }).lots;
const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000));

/** Waits until the sensor is well again. */
async function healthy(url: string): Promise<void> {
  for (;;) {
    const { status } = (await (await fetch(`${url}/health`)).json()) as { status: string };
    if (status === "ok") return;
    await seconds(0.05);
  }
}

test("scan and read --once see the chip", { skip }, async (t) => {
  const chip = shimChip(t, INA226);
  const found = await run(t, chip, ["scan"]);
  assert.deepEqual(JSON.parse(found.stdout), { bus: 1, address: "0x40", kind: "ina226", certain: true });
  const sample = JSON.parse((await run(t, chip, ["read", "--once"])).stdout);
  assert.deepEqual([sample.voltage, sample.current, sample.power], [24, 5, 120]);
});

test("INA228's wide registers come over the addon's block reads", { skip }, async (t) => {
  const chip = shimChip(t, { 1: 0xfb68, 11: 0x0003, 62: 0x5449, 63: 0x2281 });
  chip.wide(0x05, 245_760n << 4n, 3); // 48 V
  chip.wide(0x04, -32_000n << 4n, 3); // −10 mV over 1 mΩ
  const source = 'ina228:{"shuntOhms":"0.001","averages":1,"conversion":50}';
  const sample = JSON.parse((await run(t, chip, ["read", "--once"], { READER_SOURCE: source })).stdout);
  assert.deepEqual([sample.voltage, sample.current, sample.power], [48, -10, -480]);
});

test("calibrates against a reference, first zero, then gain", { skip }, async (t) => {
  const chip = shimChip(t, { ...INA226, 1: 8 }); // 20 µV: 10 mA where none flow
  const out = join(tempFolder(t), "calibration.json");
  const calibrate = (...args: string[]) => run(t, chip, ["calibrate", ...args, "--out", out, "--samples", "5"]);
  assert.equal((await calibrate("zero")).code, 0);
  chip.word(0x01, 4000); // 5 A shown
  const done = await calibrate("gain", "--amperes", "5.0898", "--volts", "23.976", "--note", "bench");
  assert.equal(done.code, 0, done.stderr);
  const { hash, ...calibration } = JSON.parse(done.stdout);
  assert.match(hash, /^0x[0-9a-f]{64}$/);
  assert.deepEqual(calibration, {
    version: 2,
    note: "bench",
    voltage: { offset: "0", gain: "0.999" },
    current: { offset: "0.01", gain: "1.02" },
  });
  const sample = JSON.parse((await run(t, chip, ["read", "--once"], { READER_CALIBRATION: out })).stdout);
  assert.deepEqual([sample.voltage, sample.current], [23.976, 5.0898]);
  const slip = await calibrate("gain", "--amperes", "50.898");
  assert.equal(slip.code, 2);
  assert.match(slip.stderr, /the current differs too much/);
});

test(
  "measures through refused transfers, a brown-out and a chip that vanishes, and flags what it missed",
  { skip },
  async (t) => {
    const chip = shimChip(t, INA226);
    const child = reader(t, chip, ["serve"]);
    const url = await urlOf(child);
    await seconds(2.5);
    const [, whole] = await lotsOf(url);
    // 120 W for a second is 333.3 Units.
    assert.ok(whole && (whole.energy === "333" || whole.energy === "334"), JSON.stringify(whole));
    assert.deepEqual([whole.quality, whole.coveredMs], [0, 1000]);

    chip.nakEvery = 23;
    await seconds(2.5);
    chip.nakEvery = 0;
    const refused = (await lotsOf(url)).at(-1)!;
    assert.ok(refused.quality & Quality.SENSOR_FAULT);
    assert.ok(refused.coveredMs > 800, `${refused.coveredMs} ms covered`);

    const told = () => child.output.stderr.split("\n").filter((line) => line.includes('"level":40'));
    assert.equal(told().length, 1, "a fault that comes and goes is told once a minute");

    await healthy(url);
    chip.word(0x00, 0x4127);
    await seconds(0.5);
    assert.match(told().at(-1)!, /lost its configuration \(0x4127 instead of 0x4007\)/);

    chip.absent = true;
    await seconds(1.2);
    const health = (await (await fetch(`${url}/health`)).json()) as {
      status: string;
      parts: { source: { detail: string } };
    };
    assert.equal(health.status, "failing");
    assert.match(health.parts.source.detail, /0x40 on \/dev\/i2c-1 does not answer/);
    await seconds(1);
    chip.absent = false;
    await seconds(3.5);
    const after = await lotsOf(url);
    assert.ok(after.some((lot) => (lot.quality & Quality.GAP) !== 0 && lot.coveredMs < 700));
    assert.equal(after.at(-1)!.quality, 0);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /bijuli_reader_source_sensor_faults\{serial="HOUSE-1"\} [1-9]/);
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "close"), [0, null]);
  },
);

test(
  "at the start: no chip is worth another try, another chip and a kernel driver need a person",
  { skip },
  async (t) => {
    const chip = shimChip(t, { ...INA226, 255: 0x2380 });
    const wrong = await run(t, chip, ["serve"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /its die id is 0x2380: another chip \(`scan` shows/);
    chip.absent = true;
    const absent = await run(t, chip, ["serve"]);
    assert.equal(absent.code, 75);
    assert.match(absent.stderr, /does not answer/);
    chip.absent = false;
    chip.busy = true;
    const busy = await run(t, chip, ["serve"]);
    assert.equal(busy.code, 75);
    assert.match(busy.stderr, /held by a kernel driver: unbind it/);
    chip.busy = false;
    chip.denied = true;
    const denied = await run(t, chip, ["serve"]);
    assert.equal(denied.code, 2);
    assert.match(denied.stderr, /^\/dev\/i2c-1 is not permitted.*add the reader's user to the group i2c/);
    const bus = await run(t, chip, ["serve"], { READER_SOURCE: 'ina226:{"bus":7,"shuntOhms":"0.002"}' });
    assert.equal(bus.code, 2);
    assert.match(bus.stderr, /\/dev\/i2c-7 cannot be opened.*enable I2C/);
  },
);

test(
  "a meter whose chip is gone when it starts serves what it closed, and measures on once the chip is back",
  { skip },
  async (t) => {
    const chip = shimChip(t, INA226);
    const settings = { READER_STORE: join(tempFolder(t), "store.db") };
    const first = reader(t, chip, ["serve"], settings);
    const before = await urlOf(first);
    while ((await lotsOf(before)).length < 3) await seconds(0.1);
    const served = await (await fetch(`${before}/readings/latest`)).json();
    first.kill("SIGKILL");
    await once(first, "close");

    chip.absent = true;
    const second = reader(t, chip, ["serve"], settings);
    const url = await urlOf(second);
    const { reading } = served as { reading: { lot: string } };
    assert.deepEqual(await (await fetch(`${url}/readings/${reading.lot}`)).json(), served);
    const health = await fetch(`${url}/health`);
    assert.equal(health.status, 503);
    assert.match(await health.text(), /0x40 on \/dev\/i2c-1 does not answer/);
    assert.match(second.output.stderr, /0x40 on \/dev\/i2c-1 does not answer/);
    await seconds(1.5);
    chip.absent = false;
    await healthy(url);
    await seconds(2.5);
    const lots = await lotsOf(url);
    assert.equal(lots.at(-1)!.quality, 0);
    const missed = lots.filter((lot) => lot.quality & Quality.POWER_DOWN);
    assert.ok(missed.length > 0 && missed.every((lot) => lot.quality & Quality.GAP));
    second.kill("SIGTERM");
    assert.deepEqual(await once(second, "close"), [0, null]);
  },
);

test(
  "killed at random moments: no lot that was seen is lost or changed, registers never go back, a checkpoint bounds the loss",
  { skip },
  async (t) => {
    const chip = shimChip(t, INA226);
    const settings = {
      READER_STORE: join(tempFolder(t), "store.db"),
      READER_CHECKPOINT_SECONDS: "1",
      LOT_SECONDS: "3",
    };
    const seen = new Map<string, unknown>();
    let running = 0;
    for (let kill = 0; kill < 4; kill++) {
      const child = reader(t, chip, ["serve"], settings);
      const url = await urlOf(child);
      const began = performance.now();
      const until = began + 1500 + Math.random() * 2000;
      while (performance.now() < until) {
        const answer = await fetch(`${url}/readings/latest`);
        if (answer.status === 200) {
          const served = (await answer.json()) as { reading: { lot: string } };
          seen.set(served.reading.lot, served);
        }
        await seconds(0.05);
      }
      running += performance.now() - began;
      child.kill("SIGKILL");
      await once(child, "close");
    }
    const child = reader(t, chip, ["serve"], settings);
    const url = await urlOf(child);
    await seconds(3.5);
    assert.ok(seen.size >= 2, `${seen.size} lots were seen`);
    for (const [lot, served] of seen) assert.deepEqual(await (await fetch(`${url}/readings/${lot}`)).json(), served);
    const live = (await (await fetch(`${url}/live`)).json()) as { forward: string };
    child.kill("SIGTERM");
    await once(child, "close");
    const audited = spawnSync(process.execPath, [CLI, "audit", "--store", settings.READER_STORE], { encoding: "utf8" });
    assert.equal(audited.status, 0, audited.stdout);
    // 120 W; what a kill costs is at most a checkpoint's second, and what the reader's start and end take.
    const joules = Number(live.forward) * 0.36;
    assert.ok(joules > 120 * (running / 1000 - 4 * 1.5), `${joules} J in ${running} ms and 4 kills`);
    assert.ok(joules < 120 * (running / 1000 + 5 * 2), `${joules} J in ${running} ms and 4 kills`);
  },
);
