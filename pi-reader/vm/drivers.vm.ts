import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Quality } from "@bijuli/protocol";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import type { Machine } from "./machine.ts";
import { READER, readerEnv, startMachine } from "./workshop.ts";

/*
 * The unmodified reader with the real addon on a true /dev/i2c-0, and the kernel's own driver for the same chip, bound
 * before and after, as the reference that knows nothing of the reader. i2c-stub keeps the registers.
 */

const LOT_SECONDS = 4;
/** Seconds on each set of values: three whole lots and what the reader takes to start. */
const PHASE = 20;

interface BenchChip {
  name: string;
  address: number;
  /** As the kernel's i2c drivers know it. */
  driver: string;
  source: string;
  found: { kind: string; certain: boolean };
  /** What the chip says of itself. */
  constant: Record<number, number>;
  phases: readonly Record<number, number>[];
  /** The driver's raw values that are compared, and what the datasheet makes of them: µV and µA. */
  raw: readonly string[];
  values: (raw: readonly bigint[]) => { microvolts: bigint; microamps: bigint };
}

const hex = (value: number) => `0x${value.toString(16)}`;

/** Two's complement of 16 bits. */
const word = (value: number) => value & 0xffff;

const chips: BenchChip[] = [
  {
    name: "INA226",
    address: 0x40,
    driver: "ina226",
    source: 'ina226:{"bus":0,"address":"0x40","shuntOhms":"0.002","averages":1,"conversion":140}',
    found: { kind: "ina226", certain: true },
    constant: { 6: 0x0008, 254: 0x5449, 255: 0x2260 },
    // 24 V and 5 A; then 23.9 V and −2.71 A.
    phases: [
      { 1: 4000, 2: 19_200 },
      { 1: word(-2168), 2: 19_117 },
    ],
    raw: ["in_voltage0_raw", "in_voltage1_raw"],
    values: ([shunt, bus]) => ({ microvolts: bus! * 1250n, microamps: shunt! * 1250n }),
  },
  {
    name: "INA219",
    address: 0x41,
    driver: "ina219",
    source: 'ina219:{"bus":0,"address":"0x41","shuntOhms":"0.1","averages":1}',
    found: { kind: "ina219", certain: false },
    // As after power-up; the supply's bit 1 says "converted".
    constant: { 0: 0x399f },
    phases: [
      { 1: 1234, 2: (3001 << 3) | 2 },
      { 1: 31_999, 2: (7999 << 3) | 2 },
    ],
    raw: ["in_voltage0_raw", "in_voltage1_raw"],
    values: ([shunt, bus]) => ({ microvolts: bus! * 4000n, microamps: shunt! * 100n }),
  },
  {
    name: "ADS1115",
    address: 0x48,
    driver: "ads1115",
    source:
      'ads1115:{"bus":0,"rate":860,"voltage":{"channel":0,"range":4096,"voltsPerVolt":"11"},"current":{"channel":1,"range":4096,"amperesPerVolt":"10"}}',
    found: { kind: "ads1115", certain: false },
    constant: { 1: 0x8583, 2: 0x8000, 3: 0x7fff },
    // 1.024 V on both channels, for the stub knows no multiplexer: 11.264 V and 10.24 A.
    phases: [{ 0: 8192 }, { 0: 12_345 }],
    raw: ["in_voltage0_raw", "in_voltage1_raw"],
    values: ([voltage, current]) => ({
      microvolts: voltage! * 125n * 11n,
      microamps: current! * 125n * 10n,
    }),
  },
];

let machine: Machine;
before(async () => {
  ({ machine } = await startMachine());
  const addresses = chips.map(({ address }) => hex(address)).join(",");
  await machine.run(
    `insmod /modules/i2c-stub.ko chip_addr=${addresses}; insmod /modules/ina2xx-adc.ko; insmod /modules/ti-ads1015.ko`,
  );
});
after(() => machine?.cut());

/** The chips are big-endian, SMBus words little-endian. */
const set = (chip: BenchChip, registers: Record<number, number>): Promise<string> =>
  machine.run(
    Object.entries(registers)
      .map(([register, value]) => {
        const swapped = ((value & 0xff) << 8) | (value >> 8);
        return ["i2cset -f -y 0", hex(chip.address), hex(Number(register)), hex(swapped), "w"].join(" ");
      })
      .join(" && ") || "true",
  );

const device = ({ address }: BenchChip) => `0-${address.toString(16).padStart(4, "0")}`;

/** What the kernel's driver reads, bound for `meanwhile` and then unbound. */
async function kernelSays(chip: BenchChip, meanwhile: () => Promise<void> = async () => {}): Promise<bigint[]> {
  const bus = "/sys/bus/i2c/devices/i2c-0";
  await machine.run(`echo ${chip.driver} ${hex(chip.address)} > ${bus}/new_device`);
  const files = chip.raw.map((name) => `/sys/bus/i2c/devices/${device(chip)}/iio:device*/${name}`);
  const raw = (await machine.run(`cat ${files.join(" ")}`)).trim().split("\n").map(BigInt);
  assert.equal(raw.length, chip.raw.length, `${chip.name}: ${raw}`);
  await meanwhile();
  await machine.run(`echo ${hex(chip.address)} > ${bus}/delete_device`);
  return raw;
}

interface Shown {
  voltage: number;
  current: number;
  power: number;
}

test("scan finds the three chips on the true bus", async () => {
  for (const chip of chips) await set(chip, { ...chip.constant, ...chip.phases[0]! });
  const found = (await machine.run(`${READER} scan --bus 0`)).trim().split("\n");
  assert.deepEqual(
    found.map((line) => JSON.parse(line)),
    chips.map(({ address, found: what }) => ({ bus: 0, address: hex(address), ...what })),
  );
});

for (const chip of chips) {
  test(`${chip.name}: the reader and the kernel's driver read the same; while that one has it, the reader says so`, async () => {
    for (const phase of chip.phases) {
      await set(chip, { ...chip.constant, ...phase });
      const raw = await kernelSays(chip, async () => {
        if (phase !== chip.phases[0]) return;
        const { code, output } = await machine.attempt(
          `${readerEnv({ READER_SOURCE: chip.source })} ${READER} read --once`,
        );
        assert.equal(code, 75, output);
        assert.match(output, /is held by a kernel driver: unbind it/);
      });
      // What the driver's probing and leaving changed, the chip itself would set again.
      await set(chip, chip.constant);
      const { microvolts, microamps } = chip.values(raw);
      const shown: Shown = JSON.parse(
        await machine.run(`${readerEnv({ READER_SOURCE: chip.source })} ${READER} read --once`),
      );
      assert.deepEqual(
        [shown.voltage, shown.current],
        [Number(microvolts) / 1e6, Number(microamps) / 1e6],
        `${chip.name}, raw ${raw}`,
      );
    }
  });
}

interface Lot {
  lot: string;
  energy: string;
  reverseEnergy: string;
  quality: number;
  coveredMs: number;
  samples: number;
  voltage?: { min: string; max: string };
  current?: { min: string; max: string };
}

test("energy over lots is what the kernel driver's values make it, within the last Unit, in both directions", async () => {
  const store = (chip: BenchChip) => `/tmp/${chip.driver}.db`;
  for (const chip of chips) {
    await set(chip, { ...chip.constant, ...chip.phases[0]! });
    const env = readerEnv({
      READER_SOURCE: chip.source,
      READER_STORE: store(chip),
      READER_PORT: "0",
      READER_HOST: "127.0.0.1",
      LOT_SECONDS: String(LOT_SECONDS),
      READER_SAMPLE_MS: "100",
    });
    await machine.run(`(${env} ${READER} serve >/tmp/${chip.driver}.log 2>&1 &) ; true`);
  }
  await machine.run(`sleep ${PHASE + 8}`);
  for (const chip of chips) await set(chip, chip.phases[1]!);
  await machine.run(`sleep ${PHASE}`);
  await machine.run("killall -TERM node; while pidof node >/dev/null; do sleep 0.2; done");
  for (const chip of chips) {
    const raw = await kernelSays(chip);
    await set(chip, chip.phases[0]!);
    const expected = [await kernelSays(chip), raw].map((values) => {
      const { microvolts, microamps } = chip.values(values);
      return { microvolts, microamps, femtojoules: microvolts * microamps * BigInt(LOT_SECONDS) * 1000n };
    });
    const log = await machine.run(`cat /tmp/${chip.driver}.log`);
    const lines = (await machine.run(`${READER} export --store ${store(chip)}`)).trim().split("\n");
    const lots = lines.slice(1).map((line) => JSON.parse(line) as Lot);
    for (const { microvolts, microamps, femtojoules } of expected) {
      const same = (spread: Lot["voltage"], value: bigint) =>
        spread !== undefined && BigInt(spread.min) === value && BigInt(spread.max) === value;
      const whole = lots.filter(
        (lot) => lot.quality === 0 && same(lot.voltage, microvolts) && same(lot.current, microamps),
      );
      assert.ok(
        whole.length >= 2,
        `${chip.name}: ${whole.length} whole lots at ${microvolts} µV\n${lines.join("\n")}\n${log}`,
      );
      for (const lot of whole) {
        assert.equal(lot.coveredMs, LOT_SECONDS * 1000);
        const counted = femtojoules > 0n ? lot.energy : lot.reverseEnergy;
        const off = BigInt(counted) - (femtojoules > 0n ? femtojoules : -femtojoules) / FEMTOJOULES_PER_UNIT;
        assert.ok(off === 0n || off === 1n, `${chip.name}: lot ${lot.lot} has ${counted} Units, ${off} too many`);
        assert.equal(femtojoules > 0n ? lot.reverseEnergy : lot.energy, "0");
      }
    }
    const faults = lots.filter((lot) => lot.quality & Quality.SENSOR_FAULT);
    assert.deepEqual(faults, [], log);
    const audited = JSON.parse(await machine.run(`${READER} audit --store ${store(chip)}`));
    assert.deepEqual([audited.ok, audited.lots], [true, lots.length]);
  }
});
