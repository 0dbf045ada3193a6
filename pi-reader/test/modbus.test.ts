import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ServerTCP } from "modbus-serial";
import { audit } from "../src/audit.ts";
import { storedLots, storeIdentity } from "../src/exportFile.ts";
import { storedFindings } from "../src/findings.ts";
import type { Sensor } from "../src/sensor.ts";
import { openSensor } from "../src/sensors/open.ts";
import { Store } from "../src/store.ts";
import { KEY, REGISTRY, tempFolder } from "./bench.ts";
import { BenchBus } from "./chips.ts";
import { EastronMeter, rtuOverTcp, serialLine } from "./eastronMeter.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
const SDM120 = { 0: 230.5, 6: 8.25, 12: 1897.5, 72: 1551.375, 74: 12.5 };
const FJ_PER_WH = 3600n * 10n ** 15n;

async function open(t: TestContext, options: object): Promise<Sensor> {
  const sensor = await openSensor("modbus", JSON.stringify({ timeoutMs: 200, ...options }), async () => new BenchBus());
  t.after(() => sensor.close());
  return sensor;
}

/** modbus-serial's own server, which is another implementation of the far end than the fixture's. */
async function modbusTcp(t: TestContext, meter: EastronMeter): Promise<number> {
  const getMultipleInputRegisters = (register: number, count: number, unit: number) => {
    if (unit !== meter.unit) throw Object.assign(new Error("gateway"), { modbusErrorCode: 11 });
    return meter.words(register, count);
  };
  // It takes port 0 for 502, so a free one is found for it.
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  const server = new ServerTCP({ getMultipleInputRegisters }, { host: "127.0.0.1", port, unitID: 255 });
  server.on("error", () => {});
  await once(server, "initialized");
  t.after(() => server.close(() => {}));
  return port;
}

test("SDM120 on Modbus TCP: power, voltage, current and its own counters, in either direction", async (t) => {
  const meter = new EastronMeter(1, SDM120);
  const port = await modbusTcp(t, meter);
  const sensor = await open(t, { meter: "sdm120", host: "127.0.0.1", port });
  await sensor.open();
  const sample = await sensor.sample();
  assert.deepEqual([sample.voltage, sample.current, sample.power], [230_500_000n, 8_250_000n, 1_897_500_000n]);
  assert.ok(sample.windowNs > 0n && sample.windowNs < 1_000_000_000n);
  assert.deepEqual(await sensor.counters!(), {
    energy: { forward: 1_551_375n * FJ_PER_WH, reverse: 12_500n * FJ_PER_WH },
    step: FJ_PER_WH,
    restarted: false,
  });
  meter.values.set(0x0c, -2000);
  assert.equal((await sensor.sample()).power, -2_000_000_000n);
  const turned = await open(t, { meter: "sdm120", host: "127.0.0.1", port, forward: "export" });
  await turned.open();
  assert.equal((await turned.sample()).power, 2_000_000_000n);
  assert.deepEqual((await turned.counters!()).energy, {
    forward: 12_500n * FJ_PER_WH,
    reverse: 1_551_375n * FJ_PER_WH,
  });
  meter.values.set(0x0c, Number.NaN);
  await assert.rejects(sensor.sample(), { kind: "invalid", message: /shows NaN W, which cannot be/ });
  meter.values.set(0x0c, 3e7);
  await assert.rejects(sensor.sample(), { kind: "invalid", message: /30000000 W/ });
  // At 100 MWh a float steps by 8 Wh.
  meter.values.set(0x48, 100_000);
  assert.equal((await sensor.counters!()).step, 7_813n * (FJ_PER_WH / 1000n));
});

test("a unit that is not there, and a server that is not there, are absent", async (t) => {
  const port = await modbusTcp(t, new EastronMeter(1, SDM120));
  const other = await open(t, { meter: "sdm120", host: "127.0.0.1", port, unit: 7 });
  await assert.rejects(other.open(), { kind: "absent", message: /^unit 7 on 127\.0\.0\.1:\d+/ });
  const nobody = await open(t, { meter: "sdm120", host: "127.0.0.1", port: 1 });
  await assert.rejects(nobody.open(), { kind: "absent", message: /127\.0\.0\.1:1 cannot be reached/ });
  const nowhere = await open(t, { meter: "sdm120", device: "/dev/ttyNOWHERE" });
  await assert.rejects(nowhere.open(), { kind: "absent", message: /\/dev\/ttyNOWHERE cannot be opened/ });
});

const python = spawnSync("python3", ["-c", "import pty"]).status === 0 ? false : "needs python3 for a pseudo terminal";
test("SDM630 on a serial line: three phases from one question", { skip: python }, async (t) => {
  const meter = new EastronMeter(5, {
    ...{ 0: 230, 2: 231, 4: 232, 6: 1, 8: 2, 10: 3.5, 12: 230, 14: 462, 16: 812, 52: 1504 },
    ...{ 72: 10, 74: 0 },
  });
  const sensor = await open(t, { meter: "sdm630", device: await serialLine(t, meter), unit: 5, baud: 19_200 });
  await sensor.open();
  meter.asked = 0;
  const sample = await sensor.sample();
  assert.deepEqual([sample.voltage, sample.current, sample.power], [231_000_000n, 6_500_000n, 1_504_000_000n]);
  assert.equal(meter.asked, 1);
  // Single-phase on L1.
  for (const register of [0x02, 0x04, 0x08, 0x0a]) meter.values.set(register, 0);
  assert.equal((await sensor.sample()).voltage, 230_000_000n);
});

test("RTU frames: what is silent, broken, another's, refused or late is a fault, and the next answer is the right one", async (t) => {
  const meter = new EastronMeter(3, SDM120);
  const sensor = await open(t, {
    meter: "sdm120",
    host: "127.0.0.1",
    port: await rtuOverTcp(t, meter),
    framing: "rtu",
    unit: 3,
  });
  await sensor.open();
  for (const [fault, kind, message] of [
    ["silent", "absent", /gives no usable answer \(timed out\)/],
    ["garbage", "absent", /gives no usable answer \(crc error\)/],
    ["other-unit", "absent", /gives no usable answer \(timed out\)/],
    ["exception", "wrong-chip", /refuses registers 0 to 13 \(exception 2\): is it another meter\?/],
    ["late", "absent", /gives no usable answer \(timed out\)/],
  ] as const) {
    meter.fault = fault;
    await assert.rejects(sensor.sample(), { kind, message });
    meter.fault = undefined;
    // Until it is opened again it says nothing: the late answer is of the old connection.
    await assert.rejects(sensor.sample(), { message: /is not connected/ });
    await sensor.open();
    assert.equal((await sensor.sample()).power, 1_897_500_000n);
  }
});

test("options that make no sense are refused by name", async (t) => {
  await assert.rejects(open(t, { meter: "sdm120" }), /modbus: needs either device \(a serial line\) or host/);
  await assert.rejects(open(t, { meter: "sdm120", host: "a", device: "/dev/ttyS0" }), /needs either device/);
  await assert.rejects(open(t, { meter: "sdm999", host: "a" }), /modbus: meter: /);
  await assert.rejects(open(t, { meter: "sdm120", host: "a", unit: 0 }), /modbus: unit: /);
  await assert.rejects(open(t, { meter: "sdm120", device: "ttyS0" }), /must be a path/);
});

test("a reader on a Modbus meter: lots to the Unit, and what it missed while the line was dead is told from the meter's counter", async (t) => {
  const folder = tempFolder(t);
  const meter = new EastronMeter(1, { 0: 230, 2: 230, 4: 230, 6: 52, 8: 52, 10: 52, 52: 36_000 });
  const began = performance.now();
  // 36 kW: 10 Wh a second.
  const counting = setInterval(() => meter.values.set(0x48, 100 + (performance.now() - began) / 100_000), 10);
  t.after(() => clearInterval(counting));
  const store = join(folder, "store.db");
  const child = spawn(process.execPath, [CLI, "serve"], {
    env: {
      PATH: process.env.PATH!,
      READER_SERIAL: "HOUSE-1",
      READER_KEY: KEY,
      READER_STORE: store,
      READER_SOURCE: `modbus:${JSON.stringify({ meter: "sdm630", host: "127.0.0.1", port: await rtuOverTcp(t, meter), framing: "rtu", timeoutMs: 200 })}`,
      READER_PORT: "0",
      READER_SAMPLE_MS: "50",
      READER_GAP_LIMIT_MS: "700",
      READER_CLOCK_SYNC: "always",
      LOT_SECONDS: "1",
      CHAIN_ID: "31337",
      REGISTRY_ADDRESS: REGISTRY,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.after(() => child.exitCode ?? child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (data) => (said += data));
  const until = async (what: RegExp) => {
    for (const end = performance.now() + 20_000; !what.test(said); ) {
      assert.ok(child.exitCode === null && performance.now() < end, `${what}: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return what.exec(said)!;
  };
  const [, url] = await until(/"url":"([^"]+)"/);
  let whole: { energy: string; quality: number }[] = [];
  for (const end = performance.now() + 20_000; whole.length === 0 && performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { lots } = (await (await fetch(`${url}/lots`)).json()) as { lots: typeof whole };
    whole = lots.filter((lot) => lot.quality === 0);
  }
  assert.ok(whole.length >= 1, said);
  for (const { energy } of whole) assert.equal(energy, "100000");
  meter.fault = "silent";
  await until(/gives no usable answer/);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal((await fetch(`${url}/health`)).status, 503);
  meter.fault = undefined;
  const missed = Number((await until(/a gap has missed (\d+) Units/))[1]);
  assert.ok(missed > 100_000 && missed < 1_000_000, `${missed} Units`);
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "close"), [0, null]);
  const opened = Store.openReadOnly(store);
  t.after(() => opened.close());
  assert.deepEqual(
    storedFindings(opened).map(({ counter, differenceUnits }) => [counter, differenceUnits]),
    [["gap", `${missed}`]],
  );
  assert.deepEqual(audit(storeIdentity(opened), storedLots(opened)).problems, []);
});
