import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { BijuliError, loadSettings } from "@bijuli/protocol";
import pino from "pino";
import { startAdapter } from "../src/adapter.ts";
import { ADAPTER_SETTINGS } from "../src/settings.ts";
import { CHAIN_ID, FixtureReader, LOT, post, REGISTRY } from "./fixtures.ts";

// Compiled once for all tests: a start takes half the time.
const COMPILE_CACHE =
  process.env.NODE_COMPILE_CACHE ?? fileURLToPath(new URL("../../.bijuli/compile-cache", import.meta.url));
const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

interface Run {
  child: ChildProcess;
  stderr: () => string;
  exited: Promise<number | null>;
}

function run(env: Record<string, string>, args: string[] = []): Run {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
    stdio: "pipe",
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  child.stdout.resume();
  const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
  return { child, stderr: () => stderr, exited };
}

async function listening({ stderr, child }: Run): Promise<string> {
  for (let i = 0; i < 400; i++) {
    const line = stderr()
      .split("\n")
      .find((text) => text.includes('"msg":"listening"'));
    if (line !== undefined) return JSON.parse(line).url;
    assert.equal(child.exitCode, null, stderr());
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`never listened: ${stderr()}`);
}

const envFor = (reader: FixtureReader): Record<string, string> => ({
  EA_PORT: "0",
  CHAIN_ID: String(CHAIN_ID),
  REGISTRY_ADDRESS: REGISTRY,
  POLL_ENABLED: "false",
  READERS: JSON.stringify([{ serial: reader.serial, url: reader.url, signer: reader.signer, token: "s3cr3t-token" }]),
});

test("SIGTERM under load, sent twice: what was accepted is answered, and the process ends with 0", async () => {
  const reader = await new FixtureReader("SLOW").start();
  reader.delayMs = 150;
  const adapter = run(envFor(reader));
  try {
    const url = await listening(adapter);
    // Each asks for another lot, so that each is under way at its reader when the signal comes.
    const answers = Array.from({ length: 40 }, (_, i) =>
      post(url, { data: { meters: ["SLOW"], lot: (LOT - BigInt(i)).toString() } }),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    adapter.child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 20));
    adapter.child.kill("SIGTERM");
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
    assert.equal(await adapter.exited, 0);
    assert.ok(!adapter.stderr().includes("s3cr3t-token"), "no secret in the log");
  } finally {
    adapter.child.kill("SIGKILL");
    await reader.stop();
  }
});

/**
 * A client that keeps its connection and asks again and again until the server ends it, as HTTP/1.1 lets it: by saying
 * so in an answer, or by closing while nothing is asked. Resolves with how many requests it wrote, how many whole answers
 * it got, and what went wrong.
 */
function keepAsking(url: string, bodies: () => string, thinkMs: number) {
  const { hostname, port } = new URL(url);
  const seen = { written: 0, answered: 0, toldToClose: false, problem: undefined as string | undefined };
  return new Promise<typeof seen>((resolve) => {
    const socket = connect(Number(port), hostname).setEncoding("latin1").setNoDelay(true);
    let got = "";
    const ask = (): void => {
      if (socket.destroyed || socket.readableEnded) return;
      const body = bodies();
      seen.written++;
      socket.write(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    };
    socket.on("connect", ask);
    socket.on("data", (text: string) => {
      got += text;
      const end = got.indexOf("\r\n\r\n");
      if (end === -1) return;
      const head = got.slice(0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
      if (got.length < end + 4 + length) return;
      if (!head.startsWith("HTTP/1.1 200 ")) seen.problem ??= got;
      seen.answered++;
      seen.toldToClose = /\r\nconnection: close/i.test(head);
      got = "";
      if (seen.toldToClose) socket.end();
      else if (thinkMs === 0) ask();
      else setTimeout(ask, thinkMs);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (seen.written > seen.answered) seen.problem ??= `${error.code} with a request under way`;
    });
    socket.on("close", () => {
      if (seen.written !== seen.answered) seen.problem ??= `closed with ${got.length} bytes of an answer`;
      resolve(seen);
    });
  });
}

test("SIGTERM under sustained load: kept connections get every answer that they asked for, then are told to close", async () => {
  const reader = await new FixtureReader("BUSY").start();
  reader.delayMs = 10;
  const adapter = run(envFor(reader));
  try {
    const url = await listening(adapter);
    let lot = LOT;
    const cached = (): string => JSON.stringify({ data: { meters: ["BUSY"], lot: LOT.toString() } });
    // Now and then one that a reader has to be asked for.
    const fresh = (): string => JSON.stringify({ data: { meters: ["BUSY"], lot: (lot--).toString() } });
    const clients = [
      ...Array.from({ length: 20 }, () => keepAsking(url, cached, 0)),
      ...Array.from({ length: 10 }, () => keepAsking(url, cached, 15)),
      ...Array.from({ length: 4 }, () => keepAsking(url, fresh, 5)),
    ];
    await new Promise((resolve) => setTimeout(resolve, 250));
    adapter.child.kill("SIGTERM");
    const seen = await Promise.all(clients);
    assert.deepEqual(
      seen.map(({ problem }) => problem),
      seen.map(() => undefined),
    );
    assert.ok(
      seen.every(({ written, answered, toldToClose }) => written > 1 && answered === written && toldToClose),
      JSON.stringify(seen),
    );
    assert.equal(await adapter.exited, 0);
  } finally {
    adapter.child.kill("SIGKILL");
    await reader.stop();
  }
});

test("connections on which nothing, or half a request, is said do not hold up the end", async () => {
  const reader = await new FixtureReader("QUIET").start();
  const adapter = run(envFor(reader));
  const sockets: Socket[] = [];
  try {
    const { hostname, port } = new URL(await listening(adapter));
    for (const said of ["", "POST / HT"]) {
      const socket = connect(Number(port), hostname).on("error", () => {});
      sockets.push(socket);
      await new Promise((resolve) => socket.once("connect", resolve));
      if (said !== "") socket.write(said);
    }
    const began = performance.now();
    adapter.child.kill("SIGTERM");
    assert.equal(await adapter.exited, 0);
    assert.ok(performance.now() - began < 5000, `${performance.now() - began} ms`);
  } finally {
    adapter.child.kill("SIGKILL");
    for (const socket of sockets) socket.destroy();
    await reader.stop();
  }
});

test("a reader that hangs while it is polled does not hold up the end", async () => {
  const reader = await new FixtureReader("HANGS").start();
  reader.fault = "silent";
  const adapter = run({
    ...envFor(reader),
    POLL_ENABLED: "true",
    POLL_JITTER: "0",
    POLL_DELAY: "0",
    API_TIMEOUT: "30000",
  });
  try {
    await listening(adapter);
    for (let i = 0; reader.requests.length === 0; i++) {
      assert.ok(i < 200, "never polled");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const began = performance.now();
    adapter.child.kill("SIGTERM");
    assert.equal(await adapter.exited, 0);
    assert.ok(performance.now() - began < 5000);
  } finally {
    adapter.child.kill("SIGKILL");
    await reader.stop();
  }
});

test("a configuration that cannot work: a line for each problem, exit 2, no secret shown", async (t) => {
  const reader = await new FixtureReader("CONFIG").start();
  t.after(() => reader.stop());
  const good = envFor(reader);
  const list = (...entries: unknown[]) => JSON.stringify(entries);
  const entry = { serial: "CONFIG", url: reader.url, signer: reader.signer };
  const adapter = run({ ...good, CHAIN_ID: "", LOT_SECONDS: "0", READERS: '[{"token":"s3cr3t"' });
  assert.equal(await adapter.exited, 2, adapter.stderr());
  assert.match(adapter.stderr(), /^adapter: CHAIN_ID is missing.*\nadapter: LOT_SECONDS="0".*\n$/);
  // The others in this process, for each start takes half a second.
  const cases: [Record<string, string>, RegExp][] = [
    [{ READERS: "" }, /READERS or READERS_FILE/],
    [{ READERS: '[{"token":"s3cr3t"' }, /READERS is not JSON/],
    [{ READERS: list({ ...entry, tokn: "s3cr3t" }) }, /entry 0 \(CONFIG\).*tokn/],
    [{ READERS: list(entry, entry) }, /entry 1 \(CONFIG\): serial stands in entry 0/],
    [{ READERS: list({ ...entry, url: "ftp://x" }) }, /url must be an http/],
    [{ READERS: list({ ...entry, url: "http://user:s3cr3t@x" }) }, /credentials/],
    [{ READERS: list({ ...entry, url: `${reader.url}?` }) }, /url must end with its path/],
    [{ READERS: list({ ...entry, token: "s3cr3t\n" }) }, /entry 0 \(CONFIG\): token must be visible ASCII/],
    [{ EVIDENCE_FILE: "/nowhere/evidence.jsonl" }, /EVIDENCE_FILE=\/nowhere\/evidence\.jsonl cannot be written/],
    [{ READERS: list({ serial: "CONFIG", url: reader.url }) }, /signer is missing/],
    [{ READERS: list({ ...entry, serial: "x".repeat(65) }) }, /1–64 bytes/],
    [{ READERS: "", READERS_FILE: "/nowhere/readers.json" }, /READERS_FILE.*cannot be read/],
    [{ BIJULI_CLOCK: "/nowhere/clock.json" }, /clock/],
  ];
  for (const [env, message] of cases) {
    const settings = loadSettings(ADAPTER_SETTINGS, { ...good, ...env });
    await assert.rejects(startAdapter(settings, { log: pino({ level: "silent" }) }), (error: Error) => {
      // What the command line turns into lines and exit 2.
      assert.ok(error instanceof BijuliError, String(error));
      assert.match(error.message, message);
      assert.ok(!error.message.includes("s3cr3t"), error.message);
      return true;
    });
  }
});

test("a port in use: one clear line, exit 2; an unknown argument likewise; --help lists the settings", async (t) => {
  const reader = await new FixtureReader("PORT").start();
  t.after(() => reader.stop());
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  t.after(() => squatter.close());
  const { port } = squatter.address() as { port: number };
  const taken = run({ ...envFor(reader), EA_PORT: String(port) });
  const takenForMetrics = run({ ...envFor(reader), METRICS_PORT: String(port) });
  const nowhere = run({ ...envFor(reader), EA_HOST: "nowhere.invalid", EA_TOKEN: "x" });
  const unknown = run({}, ["--port=1"]);
  const help = run({}, ["--help"]);
  assert.equal(await taken.exited, 2);
  assert.match(taken.stderr(), new RegExp(`^adapter: .*127.0.0.1:${port} is in use\n$`));
  assert.equal(await takenForMetrics.exited, 2);
  assert.match(takenForMetrics.stderr(), new RegExp(`^adapter: .*METRICS_PORT: 127.0.0.1:${port} is in use\n$`));
  assert.equal(await nowhere.exited, 2);
  assert.match(nowhere.stderr(), /^adapter: EA_HOST and EA_PORT: nowhere\.invalid .*\n$/);
  assert.equal(await unknown.exited, 2);
  assert.equal(await help.exited, 0);
});
