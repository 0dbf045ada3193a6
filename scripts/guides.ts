// `npm run test:guides`: types what the guides say, step by step in one shell, as a new user would. Steps are the code blocks
// of docs/guides whose fence says "sh N"; those of one number run in the order in which they stand. Exit code 0 when every
// command succeeded. It takes about five minutes: lots are a minute long. What it makes lies in valley/, its processes end with it.
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = new URL("../docs/guides/", import.meta.url);
const LIMIT_MS = 15 * 60_000;

interface Step {
  number: number;
  guide: string;
  commands: string;
}

function steps(): Step[] {
  const found: Step[] = [];
  for (const guide of readdirSync(folder)) {
    const text = readFileSync(new URL(guide, folder), "utf8");
    for (const [, number, commands] of text.matchAll(/^```sh (\d+)\n([\s\S]*?)^```$/gm)) {
      found.push({ number: Number(number), guide, commands: commands! });
    }
  }
  return found.sort((a, b) => a.number - b.number);
}

process.chdir(root);
rmSync("valley", { recursive: true, force: true });
mkdirSync("valley");
const all = steps();
const script = all.map(
  ({ number, guide, commands }) => `echo; echo "== step ${number}, docs/guides/${guide}" >&2\n${commands}`,
);
// A command that fails inside $(…) or a pipe counts as well: a guide may not go on over it.
writeFileSync("valley/steps.sh", `set -euo pipefail\n${script.join("\n")}`);

// A process group of its own, so that what the guides leave running ends with them.
const shell = spawn("bash", ["valley/steps.sh"], {
  stdio: ["ignore", "inherit", "inherit"],
  detached: true,
  env: { ...process.env, npm_config_loglevel: "error" },
});
const end = (): void => {
  try {
    process.kill(-shell.pid!, "SIGTERM");
  } catch {
    // all have ended
  }
};
const late = setTimeout(() => {
  process.stderr.write(`the guides took longer than ${LIMIT_MS / 60_000} minutes\n`);
  end();
}, LIMIT_MS);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
shell.once("exit", (code, signal) => {
  clearTimeout(late);
  end();
  process.stdout.write(`\n${all.length} blocks of ${new Set(all.map(({ guide }) => guide)).size} guides: `);
  process.stdout.write(code === 0 ? "all as written\n" : `stopped with ${signal ?? code}; logs lie in valley/\n`);
  process.exitCode = code === 0 ? 0 : 1;
});
