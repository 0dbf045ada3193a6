import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Image } from "./image.ts";

const QEMU = "qemu-system-x86_64";
/** A boot takes about ten seconds under emulation on an idle machine. */
const BOOT_MS = 120_000;

export interface MachineOptions {
  image: Image;
  /** Where its console and its socket go. */
  folder: string;
  /** A disk that it writes to, with every flush honoured and nothing cached by the host. */
  disk?: string;
}

/** No machine outlives the test that started it. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A virtual machine that runs Debian's kernel under emulation. */
export class Machine {
  /** The reader's port in the machine, as it is reached from here. */
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #line: Socket;
  readonly #console: string;
  #heard = "";
  #commands = 0;

  private constructor(child: ChildProcess, line: Socket, url: string, console: string) {
    this.#child = child;
    this.#line = line;
    this.url = url;
    this.#console = console;
    line.setEncoding("utf8");
    line.on("data", (text) => {
      this.#heard += text;
    });
    line.on("error", () => {});
  }

  /** Starts it and waits until its shell is there. */
  static async boot({ image, folder, disk }: MachineOptions): Promise<Machine> {
    const serial = createServer();
    serial.listen(join(folder, `line-${process.pid}-${Math.random().toString(36).slice(2)}.sock`));
    await once(serial, "listening");
    const port = await freePort();
    const console = join(folder, "console.log");
    const log = openSync(console, "w");
    const drive = (file: string, more: string) => ["-drive", `file=${file},format=raw,if=virtio,${more}`];
    const child = spawn(
      QEMU,
      [
        // No AVX: this QEMU's emulation of it is young, and now and then a Node that uses it dies of a segmentation fault. One
        // thread for both processors: with two, a Node crashed in one boot of six to fifty; why was not found.
        ...["-M", "pc", "-cpu", "Nehalem", "-accel", "tcg,thread=single", "-smp", "2", "-m", "768"],
        ...["-display", "none", "-no-reboot", "-nodefaults", "-kernel", image.kernel, "-initrd", image.initramfs],
        ...["-append", "console=ttyS0 quiet panic=-1 tsc=unstable mitigations=off"],
        ...["-serial", "stdio", "-serial", `unix:${serial.address() as string}`],
        ...drive(image.system, "readonly=on"),
        ...(disk === undefined ? [] : drive(disk, "cache=none")),
        ...[
          "-netdev",
          `user,id=net,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:8420`,
          "-device",
          "virtio-net,netdev=net,romfile=",
        ],
      ],
      { stdio: ["ignore", log, log] },
    );
    closeSync(log);
    running.add(child);
    child.once("exit", () => running.delete(child));
    const ended = once(child, "exit").then(() => {
      throw new Error(`the machine did not start: ${readFileSync(console, "utf8").slice(-2000)}`);
    });
    const [line] = (await Promise.race([once(serial, "connection"), ended])) as [Socket];
    ended.catch(() => {});
    serial.close();
    const machine = new Machine(child, line, `http://127.0.0.1:${port}`, console);
    await machine.#hear("ready\n", BOOT_MS);
    return machine;
  }

  /** What the kernel said. */
  get console(): string {
    return readFileSync(this.#console, "utf8");
  }

  /** Does a shell command in the machine, on one line; what it printed. @throws when it fails */
  async run(command: string, timeoutMs = 60_000): Promise<string> {
    const { code, output } = await this.attempt(command, timeoutMs);
    if (code !== 0) throw new Error(`${command} ended with ${code}: ${output}`);
    return output;
  }

  /** The same for a command that may fail. */
  async attempt(command: string, timeoutMs = 60_000): Promise<{ code: number; output: string }> {
    const mark = `done-${++this.#commands}`;
    this.#heard = "";
    this.#line.write(`( ${command} ) </dev/null 2>&1; echo "${mark}"-$?\n`);
    const text = await this.#hear(new RegExp(`${mark}-(\\d+)\n`), timeoutMs);
    const [output = "", code] = text.trimEnd().split(`${mark}-`);
    return { code: Number(code), output };
  }

  async #hear(what: RegExp | string, timeoutMs: number): Promise<string> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const found = typeof what === "string" ? this.#heard.includes(what) : what.test(this.#heard);
      if (found) return this.#heard;
      if (performance.now() > until || this.#child.exitCode !== null) {
        throw new Error(`the machine said no ${what}: ${this.#heard.slice(-2000)}\n${this.console.slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Power goes: the process is killed, and with it all that was not on its disk. */
  async cut(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
    this.#line.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
