// Samples a second of each chip: the reader as it is, with the real addon, on the shim that takes as long as the bus.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildShim, ShimChip } from "../../pi-reader/test/shim/shimChip.ts";

const CLI = fileURLToPath(new URL("../../pi-reader/src/cli.ts", import.meta.url));
const BUS_HZ = 400_000;
/** Clock ticks of /proc/PID/stat. */
const TICKS = 100;

/** Chips that always have a conversion ready: what is measured is the bus and the reader. */
const CHIPS: {
  name: string;
  source: string;
  address?: number;
  words: Record<number, number>;
  wide?: [number, bigint][];
}[] = [
  {
    name: "INA219",
    source: 'ina219:{"shuntOhms":"0.1","averages":1}',
    words: { 1: 1500, 2: (3000 << 3) | 2 },
  },
  {
    name: "INA226",
    source: 'ina226:{"shuntOhms":"0.002","averages":1,"conversion":140}',
    words: { 1: 4000, 2: 19_200, 6: 0x0008, 254: 0x5449, 255: 0x2260 },
  },
  {
    name: "INA228",
    source: 'ina228:{"shuntOhms":"0.001","averages":1,"conversion":50}',
    words: { 1: 0xfb68, 11: 0x0003, 62: 0x5449, 63: 0x2281 },
    wide: [
      [0x05, 245_760n << 4n],
      [0x04, 32_000n << 4n],
    ],
  },
  {
    name: "ADS1115",
    source:
      'ads1115:{"rate":860,"voltage":{"channel":0,"voltsPerVolt":"11"},"current":{"channel":1,"amperesPerVolt":"10"}}',
    address: 0x48,
    words: { 0: 8192, 1: 0x8583, 2: 0x8000, 3: 0x7fff },
  },
];

interface Measured {
  perSecond: number;
  bitsPerSample: number;
  cpuPercent: number;
  megabytes: number;
}

/** One table row a chip. */
export async function chipRows(folder: string, seconds: number, env: Record<string, string>): Promise<string[]> {
  const library = buildShim(folder);
  const rows = [
    "| chip | on the wire, a sample | the bus allows | sustained | CPU of a core | without the bus's time | at 10 Hz | memory |",
    "|---|---|---|---|---|---|---|---|",
  ];
  for (const chip of CHIPS) {
    const run = (busHz: number, sampleMs: number) => measure(chip, { folder, library, seconds, env, busHz, sampleMs });
    const [fast, free, slow] = [await run(BUS_HZ, 1), await run(0, 1), await run(BUS_HZ, 100)];
    const allowed = BUS_HZ / fast.bitsPerSample;
    const count = (value: number) => Math.round(value).toLocaleString("en");
    rows.push(
      `| ${chip.name} | ${count(fast.bitsPerSample)} cycles | ${count(allowed)} /s | ${count(fast.perSecond)} /s, ${Math.round((100 * fast.perSecond) / allowed)} % | ${fast.cpuPercent.toFixed(0)} % | ${count(free.perSecond)} /s | ${slow.cpuPercent.toFixed(1)} % CPU | ${slow.megabytes.toFixed(0)} MB, ${fast.megabytes.toFixed(0)} MB at the maximum |`,
    );
  }
  return rows;
}

async function measure(
  chip: (typeof CHIPS)[number],
  options: {
    folder: string;
    library: string;
    seconds: number;
    env: Record<string, string>;
    busHz: number;
    sampleMs: number;
  },
): Promise<Measured> {
  const shim = new ShimChip(options.folder, options.library, chip.words);
  if (chip.address !== undefined) shim.address = chip.address;
  for (const [register, value] of chip.wide ?? []) shim.wide(register, value, 3);
  shim.busHz = options.busHz;
  const child = spawn(process.execPath, [CLI, "serve"], {
    env: {
      ...options.env,
      ...shim.env,
      READER_STORE: join(mkdtempSync(join(options.folder, "chip-")), "store.db"),
      READER_SOURCE: chip.source,
      READER_SAMPLE_MS: String(options.sampleMs),
      READER_CLOCK_SYNC: "always",
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  while (!said.includes('"listening"')) {
    if (child.exitCode !== null) throw new Error(`${chip.name}: ${said}`);
    await pause(20);
  }
  const url = /"url":"([^"]+)"/.exec(said)![1];
  const look = async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const samples = Number(/^bijuli_reader_source_samples\{[^}]*\} (\d+)$/m.exec(metrics)![1]);
    const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return {
      samples,
      bits: Number(shim.bits),
      cpuS: (Number(fields[11]) + Number(fields[12])) / TICKS,
      at: performance.now(),
    };
  };
  await pause(2000);
  const before = await look();
  await pause(options.seconds * 1000);
  const after = await look();
  const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, "utf8");
  child.kill("SIGTERM");
  await once(child, "close");
  shim.close();
  const spanS = (after.at - before.at) / 1000;
  const samples = after.samples - before.samples;
  return {
    perSecond: samples / spanS,
    bitsPerSample: (after.bits - before.bits) / samples,
    cpuPercent: (100 * (after.cpuS - before.cpuS)) / spanS,
    megabytes: Number(/Private_Dirty:\s+(\d+)/.exec(rollup)![1]) / 1000,
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
