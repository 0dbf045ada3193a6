/*
 * node bench/adapter/run.ts [--quick] [--seconds N] [--write]
 *
 * Our adapter answering a cached lot, Chainlink's adapter framework serving a cached value of the same size, plain
 * Express and bare node:http returning the same bytes: one machine, one client, 50 connections, three interleaved
 * rounds. The aims: twice the framework, half of bare node:http, a p99 no worse than the framework's, 120 MB; exit code 1
 * when one is missed. Installs what it compares with in its own folder the first time. --write puts the table in the adapter's README.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { lotOf, meterIdOf } from "@bijuli/protocol";
import { DOMAIN, LOT_SECONDS, SIGNER, serialOf, startMeters } from "./meters.ts";
import { here, type Measurement, measure, type Server, startAdapter, startServer } from "./processes.ts";
import { machine, publish, table } from "./readme.ts";

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
// The first start fills the compile cache; the second is the one that is measured.
(await startAdapter(adapterEnv)).stop("SIGTERM");
await new Promise((resolve) => setTimeout(resolve, 1000));
const adapter = await startAdapter(adapterEnv);
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
  await startServer("the framework", here("servers/framework.cjs"), {
    RESULTS: JSON.stringify(results),
    EA_PORT: "0",
    EA_HOST: "127.0.0.1",
    METRICS_PORT: "0",
    CACHE_MAX_AGE: "3600000",
    LOG_LEVEL: "info",
  }),
  await startServer("plain Express", here("servers/plain-express.mjs"), { BODIES: JSON.stringify(bodies) }),
  await startServer("bare node:http", here("servers/node-http.mjs"), { BODIES: JSON.stringify(bodies) }),
];
try {
  const before = machine();
  const seen = new Map<string, Measurement[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const size of SIZES) {
      for (const server of servers) {
        const ready = server.name === "plain Express" || server.name === "bare node:http";
        const task = {
          path: ready ? `/${size}` : "/",
          body: bodyOf(size),
          connections: 50,
          warmUpMs: 1000,
          measureMs: seconds * 1000,
        };
        const got = await measure(server, task);
        if (got.failures > 0) throw new Error(`${server.name} refused ${got.failures} requests`);
        process.stderr.write(`round ${round + 1}, ${size} meters, ${server.name}: ${got.perSecond.toFixed(0)}/s\n`);
        const key = `${size}:${server.name}`;
        seen.set(key, [...(seen.get(key) ?? []), got]);
      }
    }
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
  const of = (size: number, server: Server, what: keyof Measurement): number =>
    median(seen.get(`${size}:${server.name}`)!.map((m) => m[what]));
  const rows = [["", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "MB", "bytes"]];
  const ratios = [["", "× the framework", "× plain Express", "of bare node:http", "p99: framework's ÷ ours", "MB"]];
  for (const size of SIZES) {
    const label = `${size} ${size === 1 ? "meter" : "meters"}`;
    for (const server of servers) {
      rows.push([
        server === adapter ? `**${label}: this adapter**` : server.name,
        ...(["perSecond", "p50", "p99", "cpuMicros", "memory", "bytes"] as const).map((what) =>
          of(size, server, what).toFixed(what.startsWith("p") && what !== "perSecond" ? 1 : 0),
        ),
      ]);
    }
    const [ours, framework, plain, bare] = servers.map((server) => of(size, server, "perSecond"));
    ratios.push([
      label,
      (ours! / framework!).toFixed(1),
      (ours! / plain!).toFixed(1),
      `${((100 * ours!) / bare!).toFixed(0)} %`,
      (of(size, servers[1]!, "p99") / of(size, adapter, "p99")).toFixed(1),
      of(size, adapter, "memory").toFixed(0),
    ]);
  }
  const missed = SIZES.flatMap((size) => {
    const [ours, framework, , bare] = servers.map((server) => of(size, server, "perSecond"));
    return [
      ours! < 2 * framework! && `${size}: less than twice the framework`,
      ours! < 0.5 * bare! && `${size}: less than half of bare node:http`,
      of(size, adapter, "p99") > of(size, servers[1]!, "p99") && `${size}: a later p99 than the framework's`,
      of(size, adapter, "memory") > 120 && `${size}: more than 120 MB`,
    ].filter((what) => what !== false);
  });
  process.stderr.write(missed.length === 0 ? "all aims hold\n" : `aims missed: ${missed.join("; ")}\n`);
  if (missed.length > 0) process.exitCode = 1;
  const how = `On ${before}; 50 connections, medians of ${ROUNDS} interleaved rounds of ${seconds} s:`;
  publish("bench", `${how}\n\n${table(rows)}\n\n${table(ratios)}`);
} finally {
  for (const server of servers) server.stop("SIGTERM");
}
