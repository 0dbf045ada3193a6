import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import type { Machine } from "./machine.ts";
import { READER, readerEnv, startMachine } from "./workshop.ts";

/*
 * The unmodified reader with the real addon on a true /dev/i2c-0, and the kernel's own driver for the same chip, bound
 * before and after, as the reference that knows nothing of the reader. i2c-stub keeps the registers.
 */

const LOT_SECONDS = 4;
/** An emulated machine on a host that is busy with other things takes its time. */
const PATIENCE_MS = 180_000;

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
        await machine.run(`${readerEnv({ READER_SOURCE: chip.source })} ${READER} read --once`, PATIENCE_MS),
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
  voltage: { min: number; max: number } | null;
  current: { min: number; max: number } | null;
}

/** µV, µA and femtojoules of a whole lot at what the driver's raw values say. */
function expectedOf(chip: BenchChip, raw: readonly bigint[]) {
  const { microvolts, microamps } = chip.values(raw);
  return { microvolts, microamps, femtojoules: microvolts * microamps * BigInt(LOT_SECONDS) * 1000n };
}

/**
 * The lots through which a reader saw nothing but these values. The first of them may begin with the straight line from
 * what was there before, whose end only is among its samples.
 */
async function wholeLots(index: number, microvolts: bigint, microamps: bigint): Promise<Lot[]> {
  const { lots } = JSON.parse(await machine.run(`wget -qO- http://127.0.0.1:${8430 + index}/lots`)) as { lots: Lot[] };
  const same = (spread: Lot["voltage"], value: bigint) =>
    spread !== null && Math.round(spread.min * 1e6) === Number(value) && Math.round(spread.max * 1e6) === Number(value);
  return lots
    .filter((lot) => lot.quality === 0 && same(lot.voltage, microvolts) && same(lot.current, microamps))
    .slice(1);
}

test("energy over lots is what the kernel driver's values make it, within the last Unit, in both directions", async () => {
  const raw: bigint[][][] = [];
  for (const chip of chips) {
    const phases: bigint[][] = [];
    for (const phase of [...chip.phases].reverse()) {
      await set(chip, { ...chip.constant, ...phase });
      phases.unshift(await kernelSays(chip));
    }
    raw.push(phases);
    await set(chip, chip.constant);
  }
  for (const [index, chip] of chips.entries()) {
    const env = readerEnv({
      READER_SOURCE: chip.source,
      READER_STORE: `/tmp/${chip.driver}.db`,
      READER_PORT: String(8430 + index),
      READER_HOST: "127.0.0.1",
      LOT_SECONDS: String(LOT_SECONDS),
      READER_SAMPLE_MS: "100",
    });
    await machine.run(`(${env} ${READER} serve >/tmp/${chip.driver}.log 2>&1 &) ; true`);
  }
  await machine.run(
    "for port in 8430 8431 8432; do until wget -qO- http://127.0.0.1:$port/live; do sleep 0.3; done; done",
    PATIENCE_MS,
  );
  for (const [phase] of chips[0]!.phases.entries()) {
    for (const chip of chips) await set(chip, chip.phases[phase]!);
    for (const [index, chip] of chips.entries()) {
      const { microvolts, microamps, femtojoules } = expectedOf(chip, raw[index]![phase]!);
      let whole: Lot[] = [];
      for (const until = performance.now() + PATIENCE_MS; whole.length < 2 && performance.now() < until; ) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        whole = await wholeLots(index, microvolts, microamps);
      }
      assert.ok(
        whole.length >= 2,
        `${chip.name} at ${microvolts} µV: ${await machine.run(`cat /tmp/${chip.driver}.log`)}`,
      );
      for (const lot of whole) {
        assert.equal(lot.coveredMs, LOT_SECONDS * 1000);
        const [counted, other] = femtojoules > 0n ? [lot.energy, lot.reverseEnergy] : [lot.reverseEnergy, lot.energy];
        const off = BigInt(counted) - (femtojoules > 0n ? femtojoules : -femtojoules) / FEMTOJOULES_PER_UNIT;
        assert.ok(off === 0n || off === 1n, `${chip.name}: lot ${lot.lot} has ${counted} Units, ${off} too many`);
        assert.equal(other, "0");
      }
    }
  }
  await machine.run("killall -TERM node; while pidof node >/dev/null; do sleep 0.2; done", PATIENCE_MS);
  for (const [index, chip] of chips.entries()) {
    // Bound once more, the driver still reads what it read before.
    assert.deepEqual(await kernelSays(chip), raw[index]!.at(-1));
    const audited = JSON.parse(await machine.run(`${READER} audit --store /tmp/${chip.driver}.db`, PATIENCE_MS));
    assert.equal(audited.ok, true);
  }
});
