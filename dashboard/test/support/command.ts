import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `bijuli bill` or `bijuli verify` as a process of its own. */
export function command(part: "bill" | "verify", args: readonly string[]): Promise<Ended> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL(`../../src/cli/${part}.ts`, import.meta.url)), ...args],
    // Compiled once for all runs: half of what such a short command takes is reading its libraries.
    {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: join(tmpdir(), "bijuli-compile-cache") },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (ended.stdout += chunk));
  child.stderr.on("data", (chunk) => (ended.stderr += chunk));
  return new Promise((resolve) => child.once("close", (code) => resolve({ ...ended, code })));
}
