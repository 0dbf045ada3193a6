import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Clock, type Hex, readingDomain } from "@bijuli/protocol";
import { Meter } from "../src/meter.ts";
import { openSource } from "../src/openSource.ts";
import { keySigner } from "../src/signer.ts";
import type { NextSigner } from "../src/signerHistory.ts";
import { Store } from "../src/store.ts";

/** Keys for tests only. */
export const KEY: Hex = `0x${"11".repeat(32)}`;
export const OTHER_KEY: Hex = `0x${"22".repeat(32)}`;
export const REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
export const DOMAIN = readingDomain({ chainId: 31337n, registry: REGISTRY });

/** A folder that goes away with its test. */
export function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-reader-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A recording with a row a minute from `start` on; undefined is a gap. */
export function writeRecording(
  folder: string,
  start: string,
  watts: readonly (string | undefined)[],
  name = "meter.csv",
) {
  const rows = watts.map((power, minute) => {
    const time = new Date(Date.parse(start) + minute * 60_000).toISOString().replace(".000Z", "Z");
    return power === undefined ? `${time},,,` : `${time},230.000,1.000,${power}`;
  });
  const path = join(folder, name);
  writeFileSync(path, `time,voltage,current,power\n${rows.join("\n")}\n`);
  return path;
}

/** A meter on a store of its own. */
export function startMeter(
  t: TestContext,
  options: {
    source: string;
    clock: Clock;
    store: string;
    key?: Hex;
    serial?: string;
    lotSeconds?: number;
    began?: number;
    next?: NextSigner;
  },
): { meter: Meter; store: Store } {
  const lotSeconds = options.lotSeconds ?? 300;
  const store = Store.open(options.store);
  t.after(() => {
    try {
      store.close();
    } catch {
      // The test closed it.
    }
  });
  let meter: Meter;
  try {
    meter = new Meter({
      serial: options.serial ?? "HOUSE-1",
      domain: DOMAIN,
      lotSeconds,
      signer: keySigner(options.key ?? KEY),
      source: openSource(options.source, options.clock, lotSeconds, options.began ?? options.clock.nowMs()),
      store,
      next: options.next,
    });
  } catch (error) {
    store.close();
    throw error;
  }
  return { meter, store };
}
