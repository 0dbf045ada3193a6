import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const START = fileURLToPath(new URL("../../scripts/start.ts", import.meta.url));

export const householdGrid = fileURLToPath(new URL("../data/household/household.grid.json", import.meta.url));

/** One run of `npm start` without npm: the process that it starts, in a folder of its own. */
export interface Run {
  child: ChildProcess;
  stdout: string;
  stderr: string;
  dir: string;
  /** Resolves to the exit code. */
  ended: Promise<number | null>;
  /** Resolves once stderr or stdout shows the text. */
  saw(text: string | RegExp): Promise<RegExpMatchArray>;
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts a network; `--port` and `--dir` are given, so that runs do not meet. */
export async function start(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const dir = mkdtempSync(join(tmpdir(), "bijuli-run-"));
  const port = await freePort();
  const child = spawn(process.execPath, [START, "--port", `${port}`, "--dir", dir, ...args], {
    env: { ...process.env, ...env, NODE_TEST_CONTEXT: undefined },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const run: Run = {
    child,
    stdout: "",
    stderr: "",
    dir,
    ended: new Promise((resolve) => child.once("close", (code) => resolve(code))),
    saw: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = (run.stderr + run.stdout).match(text);
          if (match) resolve(match);
        };
        child.stdout!.on("data", look);
        child.stderr!.on("data", look);
        child.once("close", (code) => reject(new Error(`ended with ${code} before it said ${text}:\n${run.stderr}`)));
        look();
      }),
  };
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    run.stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    run.stderr += text;
  });
  return run;
}

/** Ends what is left of a run, for a test that failed would wait for it for ever, and removes its folder. */
export function tidy(run: Run): void {
  for (const pid of processesOf(run)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
  rmSync(run.dir, { recursive: true, force: true });
}

/** The pids of all living processes whose command line names the run's folder. */
export function processesOf(run: Run): number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const mine = readFileSync(`/proc/${pid}/environ`, "utf8") + readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return mine.includes(run.dir);
      } catch {
        return false;
      }
    });
}
