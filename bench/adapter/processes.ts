import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ClientResult, ClientTask } from "./client.ts";

export interface Server {
  name: string;
  url: URL;
  pid: number;
  stop: (signal?: NodeJS.Signals) => void;
}

export const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// Whatever ends the bench, no server is left behind: a launcher passes SIGTERM on, and SIGKILL not.
const started: ChildProcess[] = [];
process.on("exit", () => {
  for (const child of started) child.kill("SIGTERM");
});

/** Starts a server that prints its address, as a line or in a log line "listening". */
export async function startServer(
  name: string,
  script: string,
  env: Record<string, string>,
  flags: readonly string[] = [],
  args: readonly string[] = [],
): Promise<Server> {
  const child = spawn(process.execPath, [...flags, script, ...args], {
    cwd: here("."),
    env: { PATH: process.env.PATH, NODE_ENV: "production", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  started.push(child);
  const url = await new Promise<URL>((resolve, reject) => {
    let seen = "";
    const look = (line: string): void => {
      seen += `${line}\n`;
      const found = /^(http:\/\/\S+)$/.exec(line)?.[1] ?? /"url":"(http:[^"]+)".*"msg":"listening"/.exec(line)?.[1];
      if (found !== undefined) resolve(new URL(found));
    };
    createInterface(child.stdout!).on("line", look);
    createInterface(child.stderr!).on("line", look);
    child.on("exit", (code) => reject(new Error(`${name} exited with ${code}:\n${seen}`)));
  });
  return { name, url, pid: child.pid!, stop: (signal = "SIGKILL") => void child.kill(signal) };
}

/**
 * Starts the adapter as an operator does: `npx bijuli adapter` without npx itself. What is measured is the adapter's own
 * process, not its launcher's.
 */
export async function startAdapter(env: Record<string, string>): Promise<Server> {
  const launched = await startServer("bijuli adapter", here("../../scripts/bijuli.mjs"), env, [], ["adapter"]);
  const children = readFileSync(`/proc/${launched.pid}/task/${launched.pid}/children`, "utf8").trim().split(" ");
  const pid = Number(children[0]);
  // The launcher ends with what it launched; killed itself, it would leave it behind.
  return { ...launched, pid, stop: (signal = "SIGKILL") => void process.kill(pid, signal) };
}

/** CPU seconds that a process has used, user and system. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory now, MB. */
export function memoryMB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

export interface Measurement extends ClientResult {
  perSecond: number;
  cpuMicros: number;
  memory: number;
}

/** Runs the client against a server and reads what the server used meanwhile. */
export async function measure(server: Server, task: Omit<ClientTask, "host" | "port">): Promise<Measurement> {
  const whole: ClientTask = { host: server.url.hostname, port: Number(server.url.port), ...task };
  const client: ChildProcess = spawn(process.execPath, [here("client.ts"), JSON.stringify(whole)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let before = 0;
  let used = 0;
  let result: ClientResult | undefined;
  for await (const line of createInterface(client.stdout!)) {
    if (line === "measuring") before = cpuSeconds(server.pid);
    else if (line === "measured") used = cpuSeconds(server.pid) - before;
    else result = JSON.parse(line);
  }
  if (result === undefined) throw new Error(`the client of ${server.name} failed`);
  return {
    ...result,
    perSecond: result.requests / result.seconds,
    cpuMicros: (used / result.requests) * 1e6,
    memory: memoryMB(server.pid),
  };
}
