import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { BijuliError } from "@bijuli/protocol";

/** How long a part may take to drain before it is killed. */
const DRAIN_MS = 8_000;
const START_MS = 30_000;
const LAST_LINES = 5;

interface Part {
  name: string;
  child: ChildProcess;
  exited: Promise<void>;
  lastLines: string[];
  /** Told to end: that it does is no failure. */
  ending: boolean;
}

/**
 * The parts of the network as processes of their own. What they log goes to a file each; one that ends before it was
 * told to is a failure of the whole.
 */
export class Processes {
  readonly #dir: string;
  readonly #compileCache: string;
  readonly #parts: Part[] = [];
  #stopping = false;
  /** Rejects when a part ends by itself. */
  readonly failed: Promise<never>;
  #fail!: (error: BijuliError) => void;

  /** @param dir this run's folder @param compileCache a folder that outlives the run: parts start in half the time */
  constructor(dir: string, compileCache: string) {
    this.#compileCache = compileCache;
    this.#dir = join(dir, "logs");
    mkdirSync(this.#dir, { recursive: true });
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
  }

  /**
   * Starts a part and waits until `ready` recognises one of its lines; resolves to what `ready` returned.
   * A part gets the environment that it is given and PATH, HOME and TMPDIR of ours: nothing else leaks in.
   */
  start<T>(
    name: string,
    command: string,
    args: readonly string[],
    env: Record<string, string>,
    ready: (line: string) => T | undefined,
  ): Promise<T> {
    const inherited = Object.fromEntries(
      ["PATH", "HOME", "TMPDIR"].flatMap((key) => (process.env[key] ? [[key, process.env[key]]] : [])),
    );
    // A group of its own: Ctrl-C at the terminal reaches us alone, and we stop the parts in their order.
    const child = spawn(command, args, {
      env: { ...inherited, NODE_COMPILE_CACHE: this.#compileCache, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const log = createWriteStream(join(this.#dir, `${name}.log`), { flags: "a" });
    const lastLines: string[] = [];
    const part: Part = {
      name,
      child,
      lastLines,
      ending: false,
      exited: new Promise((resolve) => child.once("close", () => resolve())),
    };
    // A part that is started again takes the place of its earlier life: the order in which all are stopped stays.
    const earlier = this.#parts.findIndex((other) => other.name === name);
    if (earlier >= 0) this.#parts[earlier] = part;
    else this.#parts.push(part);

    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(this.#failure(part, `was not ready within ${START_MS / 1000} s`)),
        START_MS,
      );
      const settle = (run: () => void) => {
        clearTimeout(timer);
        run();
      };
      for (const stream of [child.stdout!, child.stderr!]) {
        createInterface({ input: stream }).on("line", (line) => {
          log.write(`${line}\n`);
          lastLines.push(line);
          if (lastLines.length > LAST_LINES) lastLines.shift();
          const found = ready(line);
          if (found !== undefined) settle(() => resolve(found));
        });
      }
      child.once("error", (cause) =>
        settle(() => reject(this.#failure(part, `could not be started: ${cause.message}`))),
      );
      child.once("close", (code, signal) => {
        log.end();
        const failure = this.#failure(part, `ended by itself (${signal ?? `exit code ${code}`})`);
        settle(() => reject(failure));
        if (!this.#stopping && !part.ending) this.#fail(failure);
      });
    });
  }

  /** Whether a part lives. */
  runs(name: string): boolean {
    const part = this.#parts.find((other) => other.name === name);
    return part !== undefined && !part.ending && part.child.exitCode === null && part.child.signalCode === null;
  }

  /** Stops one part, as a person would who wants to see what happens then. */
  async stopOne(name: string): Promise<void> {
    const part = this.#parts.find((other) => other.name === name);
    if (part === undefined) return;
    part.ending = true;
    await this.#end(part);
  }

  /**
   * Stops all parts, each given time to drain. The chain was started first and goes last, for the others may need it
   * to drain; `beforeChain` runs when only it is left. Returns when no process is left.
   */
  async stop(beforeChain: () => Promise<void> = async () => {}): Promise<void> {
    this.#stopping = true;
    const [chain, ...others] = this.#parts;
    await Promise.all(others.map((part) => this.#end(part)));
    await beforeChain();
    if (chain) await this.#end(chain);
  }

  async #end({ child, exited }: Part): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), DRAIN_MS);
    await exited;
    clearTimeout(timer);
  }

  #failure(part: Part, what: string): BijuliError {
    const said = part.lastLines.length > 0 ? `; it said: ${part.lastLines.at(-1)}` : "";
    return new BijuliError("part-failed", `${part.name} ${what}${said}`, {
      remedy: `see ${join(this.#dir, `${part.name}.log`)}`,
    });
  }
}

/** Recognises the line with which every part of Bijuli reports where it listens. */
export function listeningUrl(line: string): string | undefined {
  if (!line.includes('"listening"')) return undefined;
  try {
    const { msg, url } = JSON.parse(line) as { msg?: unknown; url?: unknown };
    return msg === "listening" && typeof url === "string" ? url : undefined;
  } catch {
    return undefined;
  }
}
