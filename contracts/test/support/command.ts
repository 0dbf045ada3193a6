import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cli = (part: string) => fileURLToPath(new URL(`../../src/cli/${part}.ts`, import.meta.url));

const CACHE = join(tmpdir(), "bijuli-compile-cache");

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs `bijuli deploy` or `bijuli feeder` as a process of its own.
 * @param killAt SIGKILL as soon as it has said so many lines
 */
export function command(
  part: "deploy" | "feeder",
  args: readonly string[],
  options: { cwd: string; env?: Record<string, string>; killAt?: number },
): Promise<Ended> {
  const child = spawn(process.execPath, [cli(part), ...args], {
    cwd: options.cwd,
    // Compiled once for all runs: half of what such a short command takes is reading its libraries.
    env: { PATH: process.env.PATH, HOME: options.cwd, NODE_COMPILE_CACHE: CACHE, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    if (options.killAt !== undefined && stderr.split("\n").length > options.killAt) child.kill("SIGKILL");
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
}
