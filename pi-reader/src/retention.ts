import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { BijuliError, lotStart } from "@bijuli/protocol";
import { exportLines, storeIdentity } from "./exportFile.ts";
import { pause } from "./pause.ts";
import type { ClosedLot, Store } from "./store.ts";

export interface RetentionOptions {
  store: Store;
  lotSeconds: number;
  /** Days of lots that stay in the store: more than the longest reading covers. */
  days: number;
  /** Folder of the archive. */
  archive: string;
}

const SECONDS_A_DAY = 86_400;
/** Lots in one file at most, and so at once in memory. */
const LOTS_A_FILE = 2016n;
const LOOK_MS = 3_600_000;

/**
 * Keeps the store's size bounded: days that are old enough go to the archive, as exports that `audit` reads, and only
 * what lies there, read back and on the disk, is taken out of the store. The registers' chain goes on: each file and
 * the store say which registers they go on from.
 */
export class Retention {
  readonly #options: RetentionOptions;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Looks every hour until aborted. What fails is told and tried again; nothing is pruned meanwhile. */
  async run(signal: AbortSignal, onFailure: (error: Error) => void, onArchived: (file: string) => void): Promise<void> {
    while (!signal.aborted) {
      try {
        for (let file = this.archiveOne(); file !== undefined && !signal.aborted; file = this.archiveOne()) {
          onArchived(file);
          await pause(10, signal);
        }
      } catch (error) {
        onFailure(error as Error);
      }
      await pause(LOOK_MS, signal);
    }
  }

  /**
   * Archives and prunes the oldest whole days that are due, a file's worth.
   * @returns the file; undefined when nothing is due
   * @throws BijuliError archive-failed when it cannot be written, or does not say what the store says
   */
  archiveOne(): string | undefined {
    const { store, lotSeconds, days, archive } = this.#options;
    const newest = store.newest()?.lot;
    const oldest = store.nextLot(0n);
    if (newest === undefined || oldest === undefined) return undefined;
    const lotsADay = BigInt(Math.ceil(SECONDS_A_DAY / lotSeconds));
    const keptFrom = newest + 1n - lotsADay * BigInt(days);
    const end = keptFrom - 1n < oldest + LOTS_A_FILE - 1n ? keptFrom - 1n : oldest + LOTS_A_FILE - 1n;
    // A file a day is enough, however long a lot is.
    if (end - oldest + 1n < lotsADay) return undefined;
    const lots = store.lots(oldest, end);
    const file = join(archive, this.#name(lots));
    this.#write(file, `${[...exportLines(storeIdentity(store), lots)].join("\n")}\n`);
    store.prune(lots.at(-1)!);
    return file;
  }

  #name(lots: readonly ClosedLot[]): string {
    const [first, last] = [lots[0]!.lot, lots.at(-1)!.lot];
    const day = new Date(Number(lotStart(first, this.#options.lotSeconds)) * 1000).toISOString().slice(0, 10);
    return `lots-${day}-${first}-${last}.jsonl`;
  }

  /** Complete or not at all; read back before it counts. A file that a power cut left behind is written again. */
  #write(file: string, text: string): void {
    const { archive } = this.#options;
    try {
      mkdirSync(archive, { recursive: true, mode: 0o700 });
      if (existsSync(file) && readFileSync(file, "utf8") !== text) {
        throw new BijuliError("archive-failed", `${file} exists and says otherwise than the store`, {
          remedy: "it may be another meter's archive: move it, or set READER_ARCHIVE to a folder of this meter's own",
        });
      }
      const fresh = `${file}.new`;
      const handle = openSync(fresh, "w", 0o600);
      try {
        writeFileSync(handle, text);
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
      if (readFileSync(fresh, "utf8") !== text) throw new Error("what was read back is not what was written");
      renameSync(fresh, file);
      const folder = openSync(archive, "r");
      try {
        fsyncSync(folder);
      } finally {
        closeSync(folder);
      }
    } catch (cause) {
      if (cause instanceof BijuliError) throw cause;
      throw new BijuliError("archive-failed", `the archive ${archive} cannot be written: all lots stay in the store`, {
        cause,
        remedy: "check the folder, its owner and its room",
      });
    }
  }
}
