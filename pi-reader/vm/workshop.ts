import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchDebian, must } from "./debian.ts";
import { type Image, makeImage } from "./image.ts";
import { Machine } from "./machine.ts";

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/bijuli-vm", import.meta.url));

/** The reader in the machine. */
export const READER = "/bijuli/bin/node /bijuli/pi-reader/src/cli.ts";

/** Settings of a reader in the machine, as the shell takes them. The key is for tests only. */
export function readerEnv(more: Readonly<Record<string, string>>): string {
  const env: Record<string, string> = {
    READER_SERIAL: "HOUSE-1",
    READER_KEY: `0x${"11".repeat(32)}`,
    READER_STORE: "/data/meter.db",
    READER_CLOCK_SYNC: "always",
    NODE_COMPILE_CACHE: "/tmp/compiled",
    CHAIN_ID: "31337",
    REGISTRY_ADDRESS: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    ...more,
  };
  return Object.entries(env)
    .map(([name, value]) => `${name}='${value}'`)
    .join(" ");
}

export interface Workshop {
  image: Image;
  /** For disks and logs; on a real disk, for cache=none. */
  folder: string;
}

/** Kernel, initramfs and system disk, made anew from the working tree; the folder goes away with the process. */
export function openWorkshop(): Workshop {
  const debian = fetchDebian(CACHE);
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, "run-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return { image: makeImage(debian, folder), folder };
}

/** A machine without a disk of its own. */
export async function startMachine(): Promise<{ machine: Machine } & Workshop> {
  const workshop = openWorkshop();
  return { machine: await Machine.boot(workshop), ...workshop };
}

/** An empty ext4 that a machine can lose power on. */
export function makeDisk(folder: string, name: string): string {
  const disk = join(folder, name);
  must("mkfs.ext4", ["-q", disk, "64M"]);
  return disk;
}
