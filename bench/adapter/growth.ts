/*
 * node bench/adapter/growth.ts [meters …] [--write]
 *
 * How one adapter grows with its meters: start-up, memory, how long a poll of all of them takes (every reading fetched
 * over HTTP, its signature verified), and what a request for a cached lot waits meanwhile and afterwards. By default
 * 10, 1,000 and 100,000 meters. The simulated readers share this machine: one process answers for all of them, with
 * readings that it signed beforehand.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { lotOf } from "@bijuli/protocol";
import { DOMAIN, SIGNER, serialOf } from "./meters.ts";
import { here, memoryMB, startAdapter } from "./processes.ts";
import { machine, publish, table } from "./readme.ts";

/** Long, so that a poll of 100,000 meters is over before its lot is. */
const LOT_SECONDS = 7200;
const given = process.argv.slice(2).map(Number).filter(Number.isFinite);
const counts = given.length > 0 ? given : [10, 1000, 100_000];
const folder = mkdtempSync(join(tmpdir(), "bijuli-growth-"));

const readers = spawn(process.execPath, [here("meters-server.ts"), String(Math.max(...counts))], {
  env: { ...process.env, BENCH_LOT_SECONDS: String(LOT_SECONDS) },
  stdio: ["ignore", "pipe", "inherit"],
});
const readersUrl = await new Promise<string>((resolve) => createInterface(readers.stdout!).once("line", resolve));

/** Asks for one cached reading again and again for a while; returns the latencies' p50 and p99. */
async function latency(url: string, body: string, until: () => boolean): Promise<{ p50: number; p99: number }> {
  const seen: number[] = [];
  do {
    const began = performance.now();
    const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    await response.arrayBuffer();
    if (response.status === 200) seen.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 2));
  } while (!until());
  seen.sort((a, b) => a - b);
  const at = (share: number): number => seen[Math.min(seen.length - 1, Math.floor(seen.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

const before = machine();
const rows = [
  [
    "meters",
    "start-up ms",
    "MB at start",
    "a poll of all, s",
    "MB after",
    "a cached request meanwhile, p50 / p99 ms",
    "afterwards",
  ],
];
try {
  for (const count of counts) {
    const file = join(folder, "readers.json");
    const entries = Array.from({ length: count }, (_, i) => ({
      serial: serialOf(i),
      url: `${readersUrl}/m/${i}`,
      signer: SIGNER,
    }));
    writeFileSync(file, JSON.stringify(entries));
    const began = performance.now();
    const adapter = await startAdapter({
      NODE_COMPILE_CACHE: here("node_modules/.compile-cache"),
      EA_PORT: "0",
      CHAIN_ID: DOMAIN.chainId.toString(),
      REGISTRY_ADDRESS: DOMAIN.registry,
      LOT_SECONDS: String(LOT_SECONDS),
      STALE_SECONDS: String(3 * LOT_SECONDS),
      READERS_FILE: file,
      POLL_JITTER: "0",
      LOG_LEVEL: "info",
    });
    const started = performance.now() - began;
    const atStart = memoryMB(adapter.pid);
    const lot = lotOf(BigInt(Math.floor(Date.now() / 1000)), LOT_SECONDS) - 1n;
    const body = JSON.stringify({ id: "1", data: { meters: [serialOf(0)], lot: lot.toString() } });
    let poll = { read: 0, seconds: 0 };
    let finished = false;
    const watch = (async () => {
      for (;;) {
        const response = await fetch(`${adapter.url}ready`);
        await response.arrayBuffer();
        const status = (await (await fetch(`${adapter.url}status`)).json()) as {
          poll: { read: number; seconds: number };
        };
        poll = status.poll;
        if (poll.read >= count && poll.seconds > 0) break;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      finished = true;
    })();
    const during = await latency(adapter.url.href, body, () => finished);
    await watch;
    const after = memoryMB(adapter.pid);
    const stop = performance.now() + 3000;
    const quiet = await latency(adapter.url.href, body, () => performance.now() > stop);
    const pair = ({ p50, p99 }: { p50: number; p99: number }): string => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;
    rows.push([
      count.toLocaleString("en"),
      started.toFixed(0),
      atStart.toFixed(0),
      poll.seconds.toFixed(1),
      after.toFixed(0),
      pair(during),
      pair(quiet),
    ]);
    adapter.stop("SIGTERM");
  }
  publish("growth", `On ${before}, the readers' process on the same cores:\n\n${table(rows)}`);
} finally {
  readers.kill();
  rmSync(folder, { recursive: true });
}
