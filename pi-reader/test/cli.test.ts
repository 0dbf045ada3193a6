import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { measureLot } from "../src/course.ts";
import { loadReplay } from "../src/replay.ts";
import { parseSimulation, Simulation } from "../src/simulation.ts";
import { KEY, REGISTRY, tempFolder, writeRecording } from "./bench.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
const START = "2010-07-15T07:49:00Z";

function start(
  t: TestContext,
  args: string[],
  env: Record<string, string>,
): ChildProcess & { output: { stdout: string; stderr: string } } {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env.PATH!, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  child.stdout!.on("data", (data) => (output.stdout += data));
  child.stderr!.on("data", (data) => (output.stderr += data));
  t.after(() => child.exitCode ?? child.kill("SIGKILL"));
  return Object.assign(child, { output });
}

async function run(t: TestContext, args: string[], env: Record<string, string> = {}) {
  const child = start(t, args, env);
  const [code] = await once(child, "close");
  return { code, ...child.output };
}

function settings(t: TestContext, more: Record<string, string> = {}): Record<string, string> {
  const folder = tempFolder(t);
  const clock = join(folder, "clock.json");
  writeFileSync(clock, JSON.stringify({ origin: Date.parse(START), speed: 600, startedAt: Date.now() }));
  return {
    READER_SERIAL: "HOUSE-1",
    READER_KEY: KEY,
    READER_STORE: join(folder, "store.db"),
    READER_SOURCE: `replay:${writeRecording(
      folder,
      START,
      Array.from({ length: 600 }, () => "100.000"),
    )}`,
    READER_PORT: "0",
    CHAIN_ID: "31337",
    REGISTRY_ADDRESS: REGISTRY,
    BIJULI_CLOCK: clock,
    ...more,
  };
}

async function listening(child: ReturnType<typeof start>): Promise<string> {
  while (child.exitCode === null) {
    const line = child.output.stderr.split("\n").find((text) => text.includes('"msg":"listening"'));
    if (line) return JSON.parse(line).url;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the reader exited: ${child.output.stderr}`);
}

test("serves, closes lots under the virtual clock, drains on SIGTERM, survives kill -9", async (t) => {
  const env = settings(t);
  const first = start(t, ["serve"], env);
  const url = await listening(first);
  const latest = async (at: string): Promise<{ reading: { lot: string } }> => {
    for (;;) {
      const response = await fetch(`${at}/readings/latest`);
      if (response.status === 200) return (await response.json()) as { reading: { lot: string } };
      assert.equal(response.status, 425);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const before = await latest(url);
  const second = await run(t, ["serve"], env);
  assert.equal(second.code, 75);
  assert.match(second.stderr, /another reader is running/);
  assert.ok(!second.stderr.includes(KEY));
  first.kill("SIGKILL");
  await once(first, "close");

  const again = start(t, ["serve"], env);
  const kept = await (await fetch(`${await listening(again)}/readings/${before.reading.lot}`)).json();
  assert.deepEqual(kept, before);
  again.kill("SIGTERM");
  assert.deepEqual(await once(again, "close"), [0, null]);
  assert.equal(first.output.stdout + again.output.stdout, "");
});

test("a port in use: one line that names it, exit code 2", async (t) => {
  const holder = start(t, ["serve"], settings(t));
  const port = new URL(await listening(holder)).port;
  const refused = await run(t, ["serve"], settings(t, { READER_PORT: port }));
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, new RegExp(`^READER_PORT=${port} on 127\\.0\\.0\\.1 is in use[^\n]*\n$`));
});

test("refuses to serve with wrong settings: one line for each, no secret in any, exit code 2", async (t) => {
  const refused = await run(t, ["serve"], settings(t, { READER_SERIAL: "", READER_KEY: "0xsecret", LOT_SECONDS: "0" }));
  assert.equal(refused.code, 2);
  const [serial, key, lot, ...more] = refused.stderr.trimEnd().split("\n");
  assert.match(serial!, /^READER_SERIAL is missing/);
  assert.equal(key, "READER_KEY (secret) is not valid");
  assert.equal(lot, 'LOT_SECONDS="0": must be at least 1');
  assert.deepEqual(more, []);
});

const wrong: [name: string, change: Record<string, string>, expected: RegExp][] = [
  ["a source it does not know", { READER_SOURCE: "guess:1" }, /^READER_SOURCE="guess:1" names no source/],
  ["a missing recording", { READER_SOURCE: "replay:/nowhere/a.csv" }, /^\/nowhere\/a\.csv: no such file/],
  [
    "an address beyond loopback without a token",
    { READER_HOST: "0.0.0.0" },
    /^READER_HOST=0\.0\.0\.0 is beyond loopback/,
  ],
  [
    "no clock where one is named",
    { BIJULI_CLOCK: "/nowhere/clock.json" },
    /^the clock file \/nowhere\/clock\.json cannot be read/,
  ],
];
for (const [name, change, expected] of wrong) {
  test(`refuses to serve with ${name}: one line, exit code 2`, async (t) => {
    const refused = await run(t, ["serve"], settings(t, change));
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, expected);
    assert.equal(refused.stderr.trimEnd().split("\n").length, 1);
    assert.equal(refused.stdout, "");
  });
}

const noLimits = spawnSync("prlimit", ["--version"]).status === 0 ? false : "needs prlimit";
test(
  "a full disk stops lots, not the meter; with room again it goes on and says the same",
  { skip: noLimits },
  async (t) => {
    const env = settings(t, { READER_SOURCE: 'simulate:{"watts":500}' });
    const first = start(t, ["serve"], env);
    const url = await listening(first);
    let latest: { reading: { lot: string } } | undefined;
    while (latest === undefined) {
      const answer = await fetch(`${url}/readings/latest`);
      if (answer.status === 200) latest = (await answer.json()) as { reading: { lot: string } };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // From now on no file may grow: SQLite sees it as a disk without room.
    assert.equal(spawnSync("prlimit", ["--pid", String(first.pid), "--fsize=1000:unlimited"]).status, 0);
    const health = async (at: string) => {
      const answer = await fetch(`${at}/health`);
      return { status: answer.status, body: (await answer.json()) as { parts: { store: { detail?: string } } } };
    };
    let ailing = await health(url);
    for (let tries = 0; ailing.status !== 503 && tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      ailing = await health(url);
    }
    assert.equal(ailing.status, 503);
    assert.match(ailing.body.parts.store.detail!, /the store .* (failed|is full)/);
    assert.deepEqual(await (await fetch(`${url}/readings/${latest.reading.lot}`)).json(), latest);
    assert.equal(spawnSync("prlimit", ["--pid", String(first.pid), "--fsize=unlimited:unlimited"]).status, 0);
    const after = Number(latest.reading.lot) + 6;
    for (let status = 425; status !== 200; ) {
      const answer = await fetch(`${url}/readings/${after}?lots=7`);
      status = answer.status;
      assert.ok(status === 200 || status === 425 || status === 503, String(status));
      if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal((await health(url)).status, 200);
    first.kill("SIGTERM");
    assert.deepEqual(await once(first, "close"), [0, null]);
  },
);

test("keygen keeps the key to its owner and never overwrites; identity says what to register", async (t) => {
  const out = join(tempFolder(t), "key");
  const made = await run(t, ["keygen", "--out", out]);
  assert.equal(made.code, 0);
  const { signer } = JSON.parse(made.stdout);
  assert.equal(statSync(out).mode & 0o777, 0o600);
  assert.ok(!made.stdout.includes(readFileSync(out, "utf8").trim()));
  assert.equal((await run(t, ["keygen", "--out", out])).code, 2);
  const identity = await run(t, ["identity"], { READER_SERIAL: "HOUSE-1", READER_KEY_FILE: out });
  assert.equal(JSON.parse(identity.stdout).signer, signer);
});

test("simulate prints a recording that replays to the same energy", async (t) => {
  const options = '{"watts":360,"noise":0.3,"seed":4}';
  const csv = await run(t, ["simulate", options, "--from", "2026-01-01T00:00:00Z", "--hours", "1"]);
  assert.equal(csv.code, 0);
  const path = join(tempFolder(t), "simulated.csv");
  writeFileSync(path, csv.stdout);
  const replay = loadReplay(path, 300);
  assert.equal(replay.lots, 12);
  const simulation = new Simulation(parseSimulation(options), replay.beginMs);
  for (let lot = replay.firstLot; lot <= replay.lastLot; lot++) {
    assert.deepEqual(measureLot(replay, lot, 300, replay.endMs), measureLot(simulation, lot, 300, replay.endMs));
  }
});

test("read --once shows the present values", async (t) => {
  const once = await run(t, ["read", "--once"], { READER_SOURCE: 'simulate:{"watts":360,"noise":0}' });
  assert.equal(JSON.parse(once.stdout).power, 360);
});

test("says how it is used", async (t) => {
  assert.match((await run(t, ["--help"])).stdout, /bijuli reader/);
  assert.match((await run(t, ["serve", "--help"])).stdout, /READER_SOURCE/);
  const unknown = await run(t, ["sell"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /unknown command "sell"/);
  assert.equal((await run(t, ["keygen", "--in", "x"])).code, 2);
});
