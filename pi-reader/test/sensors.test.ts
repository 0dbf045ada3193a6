import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { calibrated, calibrationHash, readCalibration } from "../src/sensors/calibration.ts";
import { openSensor } from "../src/sensors/open.ts";
import { scan } from "../src/sensors/scan.ts";
import { tempFolder } from "./bench.ts";
import { BenchAds1115, BenchBus, BenchIna219, BenchIna226, BenchIna228 } from "./chips.ts";

test("INA219: 4 mV and 10 µV a step, window of the averages, negative current", async () => {
  const bus = new BenchBus();
  const chip = new BenchIna219();
  bus.chips.set(0x41, chip);
  const sensor = await openSensor("ina219", '{"address":"0x41","shuntOhms":"0.1","averages":16}', async () => bus);
  await sensor.open();
  // 32 V, 320 mV, 16 averages each, both continuously.
  assert.equal(chip.config, 0b0011_1110_0110_0111);
  chip.bus = 3000; // 12 V
  chip.shunt = 0x10000 - 1500; // −15 mV: −0.15 A
  assert.deepEqual(await sensor.sample(), {
    voltage: 12_000_000n,
    current: -150_000n,
    power: -1_800_000n,
    windowNs: 17_020_000n,
  });
  assert.equal(chip.converted, false);
  assert.equal((await sensor.sample()).voltage, 12_000_000n);
  chip.shunt = 32_000;
  await assert.rejects(sensor.sample(), { kind: "range" });
  chip.config = 0x399f;
  await assert.rejects(sensor.sample(), { kind: "reset", message: /lost its configuration \(0x399f/ });
  bus.chips.delete(0x41);
  await assert.rejects(sensor.sample(), { kind: "absent" });
  await sensor.close();
  assert.ok(bus.closed);
});

test("INA226: 1.25 mV and 2.5 µV a step, identity, conversion ready, overflow, reset", async () => {
  const bus = new BenchBus();
  const chip = new BenchIna226();
  bus.chips.set(0x40, chip);
  const sensor = await openSensor("ina226", '{"shuntOhms":0.002,"averages":4,"conversion":140}', async () => bus);
  await sensor.open();
  assert.equal(chip.config, 0x4000 | (1 << 9) | 7);
  chip.bus = 38_400 / 2; // 24 V
  chip.shunt = 4000; // 10 mV: 5 A
  const sample = { voltage: 24_000_000n, current: 5_000_000n, power: 120_000_000n, windowNs: 1_120_000n };
  assert.deepEqual(await sensor.sample(), sample);
  assert.deepEqual(await sensor.sample(), sample);
  chip.overflow = true;
  await assert.rejects(sensor.sample(), { kind: "range" });
  chip.overflow = false;
  chip.config = 0x4127;
  await assert.rejects(sensor.sample(), { kind: "reset" });
  await sensor.open();
  chip.dead = true;
  await sensor.sample();
  await assert.rejects(sensor.sample(), { kind: "invalid", message: /finishes no conversion/ });
  chip.ids[0xff] = 0x2270;
  await assert.rejects(sensor.open(), { kind: "wrong-chip", message: /die id is 0x2270/ });
});

test("INA228: 195.3125 µV and 312.5 nV a step, 20 bits in 24, its own energy register", async () => {
  const bus = new BenchBus();
  const chip = new BenchIna228();
  bus.chips.set(0x45, chip);
  const sensor = await openSensor("ina228", '{"address":69,"shuntOhms":"0.001"}', async () => bus);
  await sensor.open();
  assert.equal(chip.words[1], 0xb000 | (5 << 9) | (5 << 6) | (5 << 3) | 3);
  chip.wide[0x05] = 245_760n << 4n; // 48 V
  chip.wide[0x04] = -32_000n << 4n; // −10 mV: −10 A
  const sample = await sensor.sample();
  assert.deepEqual([sample.voltage, sample.current, sample.power], [48_000_000n, -10_000_000n, -480_000_000n]);
  assert.equal(sample.windowNs, 134_656_000n);
  chip.wide[0x09] = 1_000_000n;
  chip.wide[0x0a] = -1_000_000n;
  // 16 · 3.2 · 312.5 nV / 1 mΩ = 16 mJ a step of the energy, 312.5 µAs one of the charge.
  assert.deepEqual(await sensor.counters!(), {
    energy: { absolute: 16_000n * 10n ** 15n },
    charge: -(3125n * 10n ** 14n),
    step: 16n * 10n ** 12n,
    wrap: 2n ** 40n * 16n * 10n ** 12n,
    chargeWrap: 2n ** 40n * 3125n * 10n ** 8n,
    restarted: true,
  });
  // Opened again with its configuration kept, it counts on; one that lost its supply does not.
  await sensor.open();
  assert.equal((await sensor.counters!()).restarted, false);
  chip.words[1] = 0xfb68;
  await sensor.open();
  assert.equal((await sensor.counters!()).restarted, true);
  chip.words[0x0b] = 0x0002;
  await assert.rejects(sensor.sample(), { kind: "range", message: /trim memory/ });
  chip.words[0x0b] = 0x0003;
  chip.wide[0x04] = 0x7ffffn << 4n;
  await assert.rejects(sensor.sample(), { kind: "range" });
  chip.words[1] = 0xfb68;
  await assert.rejects(sensor.sample(), { kind: "reset" });
});

test("INA228: a chip that is reset while its conversion is waited for gives no sample: its range is the other one then", async () => {
  const bus = new BenchBus();
  const chip = new BenchIna228();
  bus.chips.set(0x40, chip);
  const sensor = await openSensor("ina228", '{"shuntOhms":"0.001","shuntRange":41}', async () => bus);
  await sensor.open();
  chip.wide[0x05] = 245_760n << 4n;
  chip.wide[0x04] = 32_000n << 4n; // 2.5 mV
  assert.equal((await sensor.sample()).current, 2_500_000n);
  const read = chip.read.bind(chip);
  chip.read = (register) => {
    // Asked whether it has converted, it says so, and has lost its supply before.
    if (register === 0x0b) Object.assign(chip.words, { 0: 0, 1: 0xfb68 });
    return read(register);
  };
  await assert.rejects(sensor.sample(), {
    kind: "reset",
    message: /lost its configuration \(0x0000 instead of 0x0010/,
  });
});

test("ADS1115: a divider for the voltage, a Hall sensor around its zero for the current", async () => {
  const bus = new BenchBus();
  const chip = new BenchAds1115();
  bus.chips.set(0x48, chip);
  const options = {
    rate: 860,
    voltage: { channel: 0, range: 4096, voltsPerVolt: "11" },
    current: { channel: 1, range: 6144, amperesPerVolt: "10", zeroVolts: "2.5" },
  };
  const sensor = await openSensor("ads1115", JSON.stringify(options), async () => bus);
  await sensor.open();
  chip.inputs[0] = 1200; // 13.2 V
  chip.inputs[1] = 2400; // −1 A
  const sample = await sensor.sample();
  assert.equal(sample.voltage, 13_200_000n);
  assert.equal(sample.current, -1_000_000n);
  assert.equal(sample.power, -13_200_000n);
  chip.inputs[0] = 5000;
  await assert.rejects(sensor.sample(), { kind: "range", message: /channel 0/ });
});

test("options that make no sense are refused by name", async () => {
  const open = (kind: Parameters<typeof openSensor>[0], json: string) =>
    openSensor(kind, json, async () => new BenchBus());
  await assert.rejects(open("ina226", "{}"), /ina226: shuntOhms/);
  await assert.rejects(open("ina226", '{"shuntOhms":"0"}'), /shuntOhms: must be above zero/);
  await assert.rejects(open("ina226", "{}"), /shuntOhms: is missing/);
  await assert.rejects(open("ina226", '{"shuntohms":"0.002"}'), /Unrecognized key: "shuntohms"/);
  await assert.rejects(open("ina226", '{"shuntOhms":"0.002","address":"0x50"}'), /must be from 0x40 to 0x4f/);
  await assert.rejects(open("ina226", '{"shuntOhms":"0.1","adress":64}'), /adress/);
  await assert.rejects(open("ina219", '{"shuntOhms":"0.1","address":"0x60"}'), /address/);
  await assert.rejects(open("ina219", "nonsense"), /not JSON/);
});

test("scan finds what answers, and says where it is not certain", async () => {
  const bus = new BenchBus();
  bus.chips.set(0x40, new BenchIna226());
  bus.chips.set(0x44, new BenchIna219());
  bus.chips.set(0x45, new BenchIna228());
  bus.chips.set(0x49, new BenchAds1115());
  bus.chips.set(0x4c, { read: () => 0xffff, write: () => {} });
  assert.deepEqual(await scan(bus), [
    { address: 0x40, kind: "ina226", certain: true },
    { address: 0x44, kind: "ina219", certain: false },
    { address: 0x45, kind: "ina228", certain: true },
    { address: 0x49, kind: "ads1115", certain: false },
  ]);
});

test("calibration corrects zero and gain, and its hash tells every change", async (t) => {
  const path = join(tempFolder(t), "calibration.json");
  const calibration = {
    version: 3,
    voltage: { offset: "0.1", gain: "1.001" },
    current: { offset: "-0.002", gain: "0.999" },
  };
  writeFileSync(path, JSON.stringify(calibration));
  assert.deepEqual(readCalibration(path), calibration);
  const bus = new BenchBus();
  const chip = new BenchIna226();
  bus.chips.set(0x40, chip);
  chip.bus = 19_200;
  chip.shunt = 4000;
  const raw = await openSensor("ina226", '{"shuntOhms":0.002,"averages":1,"conversion":140}', async () => bus);
  const sensor = calibrated(raw, calibration);
  await sensor.open();
  const sample = await sensor.sample();
  assert.equal(sample.voltage, 23_923_900n); // (24 − 0.1) · 1.001
  assert.equal(sample.current, 4_996_998n); // (5 + 0.002) · 0.999
  assert.equal(sample.power, 119_547_680n); // 23.9239 V · 4.996998 A, to the nearest µW
  const { voltage, current, version } = calibration;
  assert.equal(calibrationHash({ current, version, voltage }), calibrationHash(calibration));
  assert.notEqual(calibrationHash({ ...calibration, version: 4 }), calibrationHash(calibration));
  writeFileSync(path, JSON.stringify({ ...calibration, voltage: { offset: "0", gain: "1.0000001" } }));
  assert.throws(() => readCalibration(path), /voltage\.gain 1\.0000001 has more than six decimals/);
});
