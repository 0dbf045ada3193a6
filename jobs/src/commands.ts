import { readFileSync } from "node:fs";
import { BijuliError, ExitCode, explain, type Hex, loadSettings, SettingsError, settingsHelp } from "@bijuli/protocol";
import pino, { type Logger } from "pino";
import { type Api, serveApi } from "./api/server.ts";
import { type SendingKey, sendingKey } from "./delivery/keys.ts";
import { createKey, importKey, listKeystore, openKeystore } from "./delivery/keystore.ts";
import { OracleNode } from "./node.ts";
import { type NodeSettings, nodeSettings } from "./settings.ts";
import { parseJob } from "./spec/job.ts";
import { loadJobs } from "./spec/load-jobs.ts";
import { SpecError } from "./spec/problem.ts";

const HELP = `Runs Chainlink directrequest jobs and delivers their callbacks in order.

  bijuli node start                 run the node until it is told to stop
  bijuli node jobs                  the jobs of the running node
  bijuli node jobs check FILE…      read job specs and say what is wrong with them
  bijuli node runs [STATE]          the running node's last runs
  bijuli node run ID                one run, with all that is known about it
  bijuli node run again ID          run it again, on the record
  bijuli node replay BLOCK          have the running node read blocks from there on again
  bijuli node keys                  the addresses that send
  bijuli node keys create           make a key in KEYSTORE, encrypted with KEYSTORE_PASSWORD_FILE
  bijuli node keys import           store NODE_KEY's keys there

All but start and "jobs check" ask the node at NODE_HOST:NODE_PORT, with API_TOKEN.

Settings, from the environment:
`;

/** What is wrong with the configuration or the input: nothing was started. */
const USAGE_CODES = new Set([
  "bad-settings",
  "bad-jobs",
  "bad-spec",
  "bad-key",
  "port-in-use",
  "cannot-listen",
  "folder-in-use",
  "bad-folder",
  "wrong-chain",
  "bad-clock",
  "usage",
]);
const TEMPORARY_CODES = new Set(["rpc-unreachable", "database-unreachable", "queue-unreachable", "deposed"]);

/**
 * Runs one command of `bijuli node`.
 * @returns the exit code
 */
export async function runCommand(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [command = "start", ...rest] = args;
  try {
    if (args.includes("--help") || args.includes("-h") || command === "help") {
      process.stdout.write(`${HELP}${settingsHelp(nodeSettings)}\n`);
      return ExitCode.OK;
    }
    if (command === "start" && rest.length === 0) return await start(env);
    if (command === "jobs" && rest[0] === "check") return check(rest.slice(1));
    if (command === "jobs" && rest.length === 0) return await show(env, "GET", "/jobs");
    if (command === "runs" && rest.length <= 1)
      return await show(env, "GET", `/runs${rest[0] ? `?state=${encodeURIComponent(rest[0])}` : ""}`);
    if (command === "run" && rest[0] === "again" && rest.length === 2) {
      return await show(env, "POST", `/runs/${encodeURIComponent(rest[1]!)}/again`);
    }
    if (command === "run" && rest.length === 1) return await show(env, "GET", `/runs/${encodeURIComponent(rest[0]!)}`);
    if (command === "replay" && rest.length === 1)
      return await show(env, "POST", `/replay/${encodeURIComponent(rest[0]!)}`);
    if (command === "keys" && rest.length <= 1) return keys(env, rest[0]);
    throw new BijuliError("usage", `unknown command: node ${args.join(" ")}`, {
      remedy: "node --help lists what there is",
    });
  } catch (error) {
    if (error instanceof SettingsError) process.stderr.write(`${error.problems.join("\n")}\n`);
    else process.stderr.write(`${explain(error)}\n`);
    const code = error instanceof BijuliError ? error.code : "";
    return USAGE_CODES.has(code) ? ExitCode.USAGE : TEMPORARY_CODES.has(code) ? ExitCode.TEMPORARY : ExitCode.FATAL;
  }
}

async function start(env: NodeJS.ProcessEnv): Promise<number> {
  const settings = loadSettings(nodeSettings, env);
  const loopback = /^(127\.|::1$|localhost$)/.test(settings.NODE_HOST);
  if (!loopback && settings.API_TOKEN === undefined) {
    throw new BijuliError("bad-settings", `API_TOKEN is missing: it is a must when NODE_HOST is ${settings.NODE_HOST}`);
  }
  const jobs = loadJobs(settings);
  const async = jobs.find((job) => job.async);
  if (async !== undefined && settings.BRIDGE_RESPONSE_URL === undefined) {
    throw new BijuliError("bad-settings", `BRIDGE_RESPONSE_URL is missing: job ${async.name} has an async bridge`);
  }
  const keys = loadKeys(settings);
  if (keys.length === 0)
    throw new BijuliError(
      "bad-settings",
      "NODE_KEY is missing: private keys that send (or NODE_KEY_FILE, or KEYSTORE)",
    );
  const logger: Logger = pino({ level: settings.LOG_LEVEL, base: null }, pino.destination({ dest: 2, sync: false }));
  for (const job of jobs) {
    if (job.ignored.length > 0)
      logger.warn({ job: job.name, keys: job.ignored }, "keys of the spec that mean nothing here");
  }
  const node = new OracleNode(settings, jobs, keys, logger);
  let api: Api | undefined;
  try {
    await node.start();
    api = await serveApi(node);
  } catch (error) {
    await node.stop().catch(() => {});
    throw error;
  }
  logger.info({ url: api.url }, "listening");
  let failure: unknown;
  await Promise.race([stopSignal(), node.failed.promise]).catch((error: unknown) => {
    failure = error;
  });
  logger.info(failure === undefined ? {} : { cause: explain(failure) }, "stopping");
  await api.close();
  await node.stop();
  logger.info("stopped");
  if (failure !== undefined) throw failure;
  return ExitCode.OK;
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.once(signal, () => {
        resolve();
        // Whoever asks twice does not want to wait.
        process.once(signal, () => process.exit(1));
      });
    }
  });
}

type KeySettings = Pick<NodeSettings, "NODE_KEY" | "NODE_KEY_FILE" | "KEYSTORE" | "KEYSTORE_PASSWORD_FILE">;

/** The keys that send: NODE_KEY, those in NODE_KEY_FILE, and those in KEYSTORE. */
export function loadKeys(settings: KeySettings): SendingKey[] {
  const texts = [...(settings.NODE_KEY ?? [])];
  if (settings.NODE_KEY_FILE !== undefined)
    texts.push(...readSecret("NODE_KEY_FILE", settings.NODE_KEY_FILE).split(/\s+/));
  const plain = texts.filter(Boolean).map((key) => sendingKey(key as Hex));
  return settings.KEYSTORE === undefined ? plain : [...plain, ...openKeystore(settings.KEYSTORE, passwordOf(settings))];
}

function passwordOf(settings: KeySettings): string {
  if (settings.KEYSTORE_PASSWORD_FILE === undefined) {
    throw new BijuliError("bad-settings", "KEYSTORE_PASSWORD_FILE is missing: the keystore is encrypted");
  }
  return readSecret("KEYSTORE_PASSWORD_FILE", settings.KEYSTORE_PASSWORD_FILE).split(/\r?\n/)[0]!;
}

function readSecret(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new BijuliError("bad-settings", `${name}: ${file} cannot be read`, { cause });
  }
}

function keys(env: NodeJS.ProcessEnv, action: string | undefined): number {
  const { NODE_KEY, NODE_KEY_FILE, KEYSTORE, KEYSTORE_PASSWORD_FILE } = nodeSettings;
  const settings = loadSettings({ NODE_KEY, NODE_KEY_FILE, KEYSTORE, KEYSTORE_PASSWORD_FILE }, env);
  const say = (address: string) => process.stdout.write(`${address}\n`);
  if (action === undefined) {
    const { KEYSTORE: folder, ...plain } = settings;
    for (const { address } of loadKeys({ ...plain, KEYSTORE: undefined })) say(address);
    if (folder !== undefined) listKeystore(folder).forEach(say);
    return ExitCode.OK;
  }
  if (settings.KEYSTORE === undefined)
    throw new BijuliError("bad-settings", "KEYSTORE is missing: the folder to store keys in");
  if (action === "create") say(createKey(settings.KEYSTORE, passwordOf(settings)));
  else if (action === "import") {
    for (const key of settings.NODE_KEY ?? []) say(importKey(settings.KEYSTORE, passwordOf(settings), key));
  } else
    throw new BijuliError("usage", `unknown command: node keys ${action}`, {
      remedy: "node --help lists what there is",
    });
  return ExitCode.OK;
}

function check(files: readonly string[]): number {
  if (files.length === 0) throw new BijuliError("usage", "node jobs check wants files");
  let bad = false;
  for (const file of files) {
    try {
      const job = parseJob(readFileSync(file, "utf8"), file);
      process.stdout.write(`${file}: ${job.name}, ${job.pipeline.length} tasks, ${job.ordering.mode}\n`);
      for (const key of job.ignored) process.stdout.write(`${file}: ${key}: means nothing here, and is left aside\n`);
    } catch (error) {
      bad = true;
      process.stdout.write(`${explain(error instanceof SpecError ? error.inFile(file) : error)}\n`);
    }
  }
  return bad ? ExitCode.USAGE : ExitCode.OK;
}

async function show(env: NodeJS.ProcessEnv, method: string, path: string): Promise<number> {
  const { NODE_HOST, NODE_PORT, API_TOKEN } = nodeSettings;
  const settings = loadSettings({ NODE_HOST, NODE_PORT, API_TOKEN }, env);
  const host = settings.NODE_HOST.includes(":") ? `[${settings.NODE_HOST}]` : settings.NODE_HOST;
  let response: Response;
  try {
    response = await fetch(`http://${host}:${settings.NODE_PORT}${path}`, {
      method,
      headers: settings.API_TOKEN === undefined ? {} : { authorization: `Bearer ${settings.API_TOKEN}` },
      signal: AbortSignal.timeout(10_000),
    });
  } catch (cause) {
    throw new BijuliError("rpc-unreachable", `no node answers at ${host}:${settings.NODE_PORT}`, { cause });
  }
  const body: unknown = await response.json();
  process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
  return response.ok ? ExitCode.OK : ExitCode.FATAL;
}
