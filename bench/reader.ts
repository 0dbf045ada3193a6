// What one reader costs: `node bench/reader.ts [--write]`. Prints tables, and with --write puts them into pi-reader's README; needs
// no network and no hardware. With a C compiler and the addon i2c-bus it measures each chip's driver, too.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { keySigner, LiveSource, Meter, openSource, Store } from "@bijuli/pi-reader";
import { type Clock, type Hex, readingDomain } from "@bijuli/protocol";
import { shimMissing } from "../pi-reader/test/shim/shimChip.ts";
import { chipRows } from "./reader/chips.ts";

const KEY: Hex = `0x${"11".repeat(32)}`;
const REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const domain = readingDomain({ chainId: 31337n, registry: REGISTRY });
const folder = mkdtempSync(join(tmpdir(), "bijuli-bench-"));
const START = Date.parse("2021-01-01T00:00:00Z");
const FIVE_YEARS_MS = 5 * 365 * 86_400_000;

const rows: string[] = ["| | |", "|---|---|"];
const show = (what: string, value: string) => {
  rows.push(`| ${what} | ${value} |`);
  console.log(rows.at(-1));
};
const perSecond = (count: number, ms: number) => `${Math.round((count / ms) * 1000).toLocaleString("en")} /s`;

/** Settings of a reader as a process. */
const readerEnv: Record<string, string> = {
  PATH: process.env.PATH!,
  READER_SERIAL: "BENCH",
  READER_KEY: KEY,
  READER_PORT: "0",
  CHAIN_ID: "31337",
  REGISTRY_ADDRESS: REGISTRY,
  NODE_COMPILE_CACHE: join(folder, "compile-cache"),
  NODE_OPTIONS: "--max-semi-space-size=1",
};

/** Stands where it is put. */
function clockAt(ms: number): Clock & { at: number } {
  return {
    at: ms,
    nowMs() {
      return this.at;
    },
    started: () => true,
    realMs: (span) => span,
    sleepUntil: async () => {},
  };
}

function meterOn(
  path: string,
  clock: Clock,
  source = 'simulate:{"watts":1080,"intervalSeconds":300,"noise":0,"from":"2021-01-01T00:00:00Z"}',
) {
  const store = Store.open(path);
  const meter = new Meter({
    serial: "BENCH",
    domain,
    lotSeconds: 300,
    signer: keySigner(KEY),
    store,
    source: openSource(source, clock, 300, START),
  });
  return { store, meter };
}

async function integrating(): Promise<void> {
  let now = 0n;
  const source = new LiveSource({
    sensor: {
      description: { kind: "bench" },
      open: async () => {},
      close: async () => {},
      sample: async () => ({ power: now % 1_000_000_007n, voltage: 230_000_000n, current: 4_000_000n, windowNs: 0n }),
    },
    timebase: { monotonicNs: () => now, wallMs: () => START + Number(now / 1_000_000n), synchronised: () => true },
    lotSeconds: 300,
    sampleMs: 100,
    gapLimitMs: 5000,
  });
  const count = 300_000;
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    now += 100_000_000n;
    await source.cycle();
    if (i % 3000 === 0) source.stored(source.closedThrough() ?? 0n);
  }
  show("integrating, samples a second that one core sustains", perSecond(count, performance.now() - began));
}

async function closing(): Promise<void> {
  const clock = clockAt(START);
  const { store, meter } = meterOn(join(folder, "one-by-one.db"), clock);
  const lots = 500;
  let began = performance.now();
  for (let lot = 0; lot < lots; lot++) {
    clock.at += 300_000;
    await meter.closeDue();
  }
  show(
    "closing one lot: measure, sign, store (one transaction, fsync)",
    `${((performance.now() - began) / lots).toFixed(2)} ms`,
  );
  for (const n of [1, 12, 288]) {
    began = performance.now();
    const rounds = 100;
    for (let i = 0; i < rounds; i++) await meter.reading(meter.newestLot! - BigInt(i), n);
    show(
      `a reading of ${n} lots${n === 1 ? " (stored signature)" : ", signed anew"}`,
      `${((performance.now() - began) / rounds).toFixed(2)} ms`,
    );
  }
  store.close();
}

async function catchingUp(): Promise<void> {
  const clock = clockAt(START);
  const { store, meter } = meterOn(join(folder, "month.db"), clock);
  clock.at = START + 31 * 86_400_000;
  const began = performance.now();
  await meter.closeDue();
  show("catching up after an outage, 288 lots a transaction", perSecond(8928, performance.now() - began));
  store.close();
}

/** The store's rows are made here, under one signature: how they are signed was measured above. */
async function fiveYears(): Promise<void> {
  const path = join(folder, "five-years.db");
  const clock = clockAt(START);
  const lots = FIVE_YEARS_MS / 300_000;
  const first = BigInt(START / 300_000);
  const { store, meter } = meterOn(path, clock);
  clock.at += 300_000;
  await meter.closeDue();
  const one = store.newest()!;
  for (let at = 1; at < lots; at += 8928) {
    const counts = Array.from({ length: Math.min(8928, lots - at) }, (_, i) => BigInt(at + i));
    store.append(counts.map((count) => ({ ...one, lot: first + count, forward: one.energy * (count + 1n) })));
  }
  store.close();
  show(`a store of five years (${lots.toLocaleString("en")} lots)`, `${(statSync(path).size / 1e6).toFixed(0)} MB`);
  clock.at = START + FIVE_YEARS_MS;
  let began = performance.now();
  const again = meterOn(path, clock);
  show("opening it", `${(performance.now() - began).toFixed(0)} ms`);
  began = performance.now();
  await again.meter.reading(again.meter.newestLot!, 8928);
  show("a reading of 8,928 lots", `${(performance.now() - began).toFixed(0)} ms`);
  again.store.close();
  await starting("with the store of five years", path, START + FIVE_YEARS_MS);
  await starting("with an empty store", join(folder, "empty.db"), START);
}

async function starting(what: string, store: string, origin: number): Promise<void> {
  const clock = join(folder, "clock.json");
  writeFileSync(clock, JSON.stringify({ origin, speed: 1, startedAt: Date.now() }));
  const env = {
    ...readerEnv,
    READER_STORE: store,
    READER_SOURCE: 'simulate:{"watts":1080,"intervalSeconds":300,"noise":0,"from":"2021-01-01T00:00:00Z"}',
    BIJULI_CLOCK: clock,
  };
  const cli = fileURLToPath(new URL("../pi-reader/src/cli.ts", import.meta.url));
  for (const round of ["first", "second"]) {
    const began = performance.now();
    const child: ChildProcess = spawn(process.execPath, [cli, "serve"], { env, stdio: ["ignore", "ignore", "pipe"] });
    await once(child.stderr!, "data");
    const ms = performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, "utf8");
    const dirty = Number(/Private_Dirty:\s+(\d+)/.exec(rollup)![1]) / 1000;
    if (round === "second") {
      show(`a reader's start until it listens, ${what}`, `${ms.toFixed(0)} ms`);
      show(`its own memory, ${what}`, `${dirty.toFixed(0)} MB`);
    }
    child.kill("SIGTERM");
    await once(child, "close");
  }
}

/** Puts a table between its marks in pi-reader's README. */
function writeTable(name: string, lines: readonly string[]): void {
  const readme = fileURLToPath(new URL("../pi-reader/README.md", import.meta.url));
  const text = readFileSync(readme, "utf8");
  const [begin, end] = [`<!-- bench:${name} -->\n`, `\n<!-- /bench:${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < 0) throw new Error(`${readme} has no place for the table ${name}`);
  writeFileSync(readme, `${text.slice(0, from + begin.length)}${lines.join("\n")}${text.slice(to)}`);
}

const write = process.argv.includes("--write");
const machine = `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Node ${process.version}`;
console.log(machine);
try {
  await integrating();
  await closing();
  await catchingUp();
  await fiveYears();
  if (write) writeTable("reader", [`On a machine with ${machine}:`, "", ...rows]);
  const missing = shimMissing();
  if (missing !== false) console.log(`the chips were not measured: ${missing}`);
  else {
    const table = await chipRows(folder, Number(process.env.BENCH_SECONDS ?? 10), readerEnv);
    console.log(`\n${table.join("\n")}`);
    if (write) writeTable("chips", table);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
