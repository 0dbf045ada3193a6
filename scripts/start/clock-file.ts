import { renameSync, writeFileSync } from "node:fs";
import type { ClockFile } from "@bijuli/protocol";

/** Writes the clock that all parts share; replaced atomically, for they read it while we write. */
export function writeClock(path: string, clock: ClockFile): void {
  writeFileSync(`${path}.new`, JSON.stringify(clock));
  renameSync(`${path}.new`, path);
}
