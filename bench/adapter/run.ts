/*
 * node bench/adapter/run.ts [--quick] [--seconds N]
 *
 * Our adapter answering a cached lot, Chainlink's adapter framework serving a cached value of the same size, plain
 * Express and bare node:http returning the same bytes: one machine, one client, 50 connections, three interleaved
 * rounds. Installs what it compares with in its own folder the first time.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import { lotOf, meterIdOf } from "@bijuli/protocol";
import { DOMAIN, LOT_SECONDS, SIGNER, serialOf, startMeters } from "./meters.ts";
import { here, type Measurement, measure, type Server, startServer } from "./processes.ts";

const seconds =
  Number(process.argv[process.argv.indexOf("--seconds") + 1]) || (process.argv.includes("--quick") ? 1 : 4);
const ROUNDS = process.argv.includes("--quick") ? 1 : 3;
const SIZES = [1, 3, 64];

if (!existsSync(here("node_modules/@chainlink/external-adapter-framework"))) {
  process.stderr.write("installing what the adapter is compared with ...\n");
  // Its postinstall scripts are not needed; npm's own output belongs to stderr.
  const done = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: here("."),
    stdio: ["ignore", 2, 2],
  });
  if (done.status !== 0) process.exit(1);
}

const lot = lotOf(BigInt(Math.floor(Date.now() / 1000)), LOT_SECONDS) - 1n;
const meters = await startMeters();
const count = Math.max(...SIZES);
// Started as the adapter's README says: a compile cache of its own, and a small nursery, for requests leave little.
const adapterEnv = {
  NODE_COMPILE_CACHE: here("node_modules/.compile-cache"),
  EA_PORT: "0",
  CHAIN_ID: DOMAIN.chainId.toString(),
  REGISTRY_ADDRESS: DOMAIN.registry,
  POLL_ENABLED: "false",
  LOG_LEVEL: "info",
  READERS: JSON.stringify(
    Array.from({ length: count }, (_, i) => ({ serial: serialOf(i), url: `${meters.url}/m/${i}`, signer: SIGNER })),
  ),
};
const startAdapter = () =>
  startServer("bijuli adapter", here("../../adapter/src/cli.ts"), adapterEnv, ["--max-semi-space-size=4"]);
// The first start fills the compile cache; the second is the one that is measured.
(await startAdapter()).stop("SIGTERM");
await new Promise((resolve) => setTimeout(resolve, 1000));
const adapter = await startAdapter();
const bodyOf = (size: number): string => {
  const packed = Array.from({ length: size }, (_, i) => meterIdOf(serialOf(i)).slice(2)).join("");
  return JSON.stringify({ id: "8f2a3c1e", data: { meters: `0x${packed}`, lot: lot.toString() }, meta: {} });
};
const bodies: Record<string, string> = {};
const results: Record<string, string> = {};
for (const size of SIZES) {
  const response = await fetch(adapter.url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: bodyOf(size),
  });
  if (response.status !== 200) throw new Error(await response.text());
  bodies[`/${size}`] = await response.text();
  results[JSON.parse(bodyOf(size)).data.meters] = JSON.parse(bodies[`/${size}`]!).data.result;
}
meters.server.close();
meters.server.closeAllConnections();
const servers: Server[] = [
  adapter,
  await startServer("chainlink framework", here("servers/framework.cjs"), {
    RESULTS: JSON.stringify(results),
    EA_PORT: "0",
    EA_HOST: "127.0.0.1",
    METRICS_PORT: "0",
    CACHE_MAX_AGE: "3600000",
    LOG_LEVEL: "info",
  }),
  await startServer("plain express", here("servers/plain-express.mjs"), { BODIES: JSON.stringify(bodies) }),
  await startServer("bare node:http", here("servers/node-http.mjs"), { BODIES: JSON.stringify(bodies) }),
];
try {
  process.stdout.write(
    `${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.version}; load ${os.loadavg()[0]?.toFixed(2)}\n`,
  );
  process.stdout.write(`50 connections, ${ROUNDS} interleaved rounds of ${seconds} s; medians of the rounds\n`);
  const seen = new Map<string, Measurement[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const size of SIZES) {
      for (const server of servers) {
        const ready = server.name === "plain express" || server.name === "bare node:http";
        const task = {
          path: ready ? `/${size}` : "/",
          body: bodyOf(size),
          connections: 50,
          warmUpMs: 1000,
          measureMs: seconds * 1000,
        };
        const got = await measure(server, task);
        if (got.failures > 0) throw new Error(`${server.name} refused ${got.failures} requests`);
        const key = `${size}:${server.name}`;
        seen.set(key, [...(seen.get(key) ?? []), got]);
      }
    }
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
  for (const size of SIZES) {
    const of = (server: Server, what: keyof Measurement): number =>
      median(seen.get(`${size}:${server.name}`)!.map((m) => m[what]));
    process.stdout.write(`\n${size} ${size === 1 ? "meter" : "meters"}\n`);
    process.stdout.write(
      `${"".padEnd(20)}${["req/s", "p50 ms", "p99 ms", "CPU µs/req", "MB", "bytes"].map((h) => h.padStart(12)).join("")}\n`,
    );
    for (const server of servers) {
      const row = [
        of(server, "perSecond").toFixed(0),
        of(server, "p50").toFixed(2),
        of(server, "p99").toFixed(2),
        of(server, "cpuMicros").toFixed(0),
        of(server, "memory").toFixed(0),
        of(server, "bytes").toFixed(0),
      ];
      process.stdout.write(`${server.name.padEnd(20)}${row.map((cell) => cell.padStart(12)).join("")}\n`);
    }
    const [ours, framework, express, bare] = servers.map((server) => of(server, "perSecond")) as [
      number,
      number,
      number,
      number,
    ];
    process.stdout.write(
      `ours is ${(ours / framework).toFixed(2)} × the framework, ${(ours / express).toFixed(2)} × plain Express, ${((100 * ours) / bare).toFixed(0)} % of bare node:http\n`,
    );
  }
} finally {
  for (const server of servers) server.stop();
}
