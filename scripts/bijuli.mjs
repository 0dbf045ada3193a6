#!/usr/bin/env node
// `npx bijuli <part> …`: hands over to the part's own command line, on the Node that the project brings along.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const parts = {
  reader: { file: "pi-reader/src/cli.ts", about: "the meter: samples, signs and serves readings" },
  adapter: {
    file: "adapter/src/cli.ts",
    about: "the Chainlink external adapter that serves the meters' readings",
    // Its garbage is young and small, and one worker thread of V8 suffices: 25 MB less, at no cost in speed (adapter/README.md).
    node: ["--max-semi-space-size=4", "--v8-pool-size=1"],
    // One heap of the C library for all threads: each of its own would keep what it once held.
    env: { MALLOC_ARENA_MAX: "1" },
  },
  node: { file: "jobs/src/cli.ts", about: "the oracle node: runs job specs, opens lots, delivers in order" },
  dashboard: {
    file: "dashboard/src/server/main.ts",
    about: "the page: follows the chain, serves lots, bills and alarms",
  },
  deploy: { file: "contracts/src/cli/deploy.ts", about: "deploys the contracts and writes their address book" },
  feeder: { file: "contracts/src/cli/feeder.ts", about: "registers meters and sets up a feeder" },
  bill: { file: "dashboard/src/cli/bill.ts", about: "writes an account's bill with everything that it follows from" },
  verify: { file: "dashboard/src/cli/verify.ts", about: "checks a bill offline, from the signatures up" },
};
const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const [name, ...args] = process.argv.slice(2);
const part = Object.hasOwn(parts, name ?? "") ? parts[name] : undefined;

if (part === undefined || !existsSync(at(part.file))) {
  const lines = Object.entries(parts)
    .filter(([, { file }]) => existsSync(at(file)))
    .map(([key, { about }]) => `  bijuli ${key.padEnd(8)} ${about}`);
  const asked = name === undefined || ["--help", "-h", "help"].includes(name);
  const text = `usage: bijuli <part> [options]   (each part has --help)\n\n${lines.join("\n")}\n`;
  if (asked) process.stdout.write(text);
  else process.stderr.write(`bijuli: there is no part called ${JSON.stringify(name)}\n${text}`);
  process.exit(asked ? 0 : 2);
}

const bundled = at("node_modules/.bin/node");
const child = spawn(
  existsSync(bundled) ? bundled : process.execPath,
  [...(part.node ?? []), at(part.file), ...args],
  // What was compiled once is kept: the next start takes half the time and a third less memory.
  { stdio: "inherit", env: { NODE_COMPILE_CACHE: at(".bijuli/compile-cache"), ...part.env, ...process.env } },
);
// Ctrl-C at a terminal reaches the part by itself: sent on, it would count twice.
process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`bijuli ${name}: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
