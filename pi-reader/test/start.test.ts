import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openLive } from "../src/openLive.ts";
import { Store } from "../src/store.ts";
import { KEY, REGISTRY, tempFolder } from "./bench.ts";
import { BenchBus, BenchIna226 } from "./chips.ts";
import { EastronMeter, rtuOverTcp } from "./eastronMeter.ts";
import { BenchTimebase } from "./liveBench.ts";

/*
 * A start that must not succeed: with settings under which the meter would run and count nothing, or something else
 * than the energy, it is refused; and a start that fails half-way ends the process, so that systemd can go on.
 */
const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

/** An AC meter that exports 1 kW, on a line to it. */
async function exportingMeter(t: TestContext): Promise<string> {
  const port = await rtuOverTcp(t, new EastronMeter(1, { 0: 230, 6: 10, 12: -1000, 72: 5, 74: 7 }));
  return `modbus:${JSON.stringify({ meter: "sdm120", host: "127.0.0.1", port, framing: "rtu", timeoutMs: 500 })}`;
}

async function run(t: TestContext, args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env.PATH!, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.exitCode ?? child.kill("SIGKILL"));
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  const ended = await Promise.race([
    once(child, "close"),
    new Promise((resolve) => setTimeout(() => resolve(["still running"]), 15_000)),
  ]);
  return { code: (ended as unknown[])[0], said };
}

test("a reader that cannot listen ends, though it is connected to its meter already", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.after(() => taken.close());
  const { port } = taken.address() as { port: number };
  const { code, said } = await run(t, ["serve"], {
    READER_SERIAL: "HOUSE-1",
    READER_KEY: KEY,
    READER_STORE: join(tempFolder(t), "store.db"),
    READER_SOURCE: await exportingMeter(t),
    READER_CLOCK_SYNC: "always",
    READER_PORT: String(port),
    CHAIN_ID: "31337",
    REGISTRY_ADDRESS: REGISTRY,
  });
  assert.match(said, /READER_PORT=\d+ on 127\.0\.0\.1 is in use/);
  assert.equal(code, 2);
});

test("a calibration is not laid over a meter that measures power by itself: V × A is not its power", async (t) => {
  const calibration = join(tempFolder(t), "calibration.json");
  const none = { offset: "0", gain: "1" };
  writeFileSync(calibration, JSON.stringify({ version: 1, voltage: none, current: none }));
  const READER_SOURCE = await exportingMeter(t);
  const { code, said } = await run(t, ["read", "--once"], { READER_SOURCE, READER_CALIBRATION: calibration });
  assert.match(said, /a modbus meter measures power by itself/);
  assert.equal(code, 2);
  const zero = await run(t, ["calibrate", "zero", "--out", `${calibration}.2`], { READER_SOURCE });
  assert.match(zero.said, /a modbus meter measures power by itself/);
  assert.equal(zero.code, 2);
  const plain = await run(t, ["read", "--once"], { READER_SOURCE });
  assert.equal(JSON.parse(plain.said).power, -1000);
});

async function start(t: TestContext, more: object, source = 'ina226:{"shuntOhms":"0.002","averages":1}') {
  const store = Store.open(join(tempFolder(t), "store.db"));
  t.after(() => store.close());
  const bus = new BenchBus();
  bus.chips.set(0x40, new BenchIna226());
  const timebase = new BenchTimebase("2026-03-01T12:00:00Z");
  return openLive({
    source,
    timebase,
    store,
    lotSeconds: 300,
    sampleMs: 1000,
    gapLimitMs: 5000,
    openBus: async () => bus,
    ...more,
  });
}

test("a meter that samples too slowly for its gap limit would count nothing: it does not start", async (t) => {
  await assert.rejects(start(t, { sampleMs: 10_000 }), {
    code: "bad-settings",
    message: "READER_GAP_LIMIT_MS=5000 is too short: READER_SAMPLE_MS is 10000 ms",
    remedy: /set it to 20000 at least/,
  });
  const slow = 'ina226:{"shuntOhms":"0.002","averages":1024,"conversion":8244}';
  await assert.rejects(start(t, {}, slow), { message: /the sensor's averaging takes 16884 ms/ });
  await start(t, {});
  await start(t, { gapLimitMs: 40_000 }, slow);
});

test("a calibration without gain, or with a negative one, is refused", async (t) => {
  const calibration = join(tempFolder(t), "calibration.json");
  const none = { offset: "0", gain: "1" };
  for (const gain of ["0", "0.000000", "-1"]) {
    writeFileSync(calibration, JSON.stringify({ version: 1, voltage: none, current: { offset: "0", gain } }));
    await assert.rejects(start(t, { calibration }), {
      code: "bad-calibration",
      message: /current\.gain must be above/,
    });
  }
});
