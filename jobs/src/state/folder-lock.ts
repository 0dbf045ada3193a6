import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BijuliError } from "@bijuli/protocol";

/** Held for as long as the process lives; the operating system gives it back, also after kill -9. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes a folder for this process alone. Two processes on one PGlite folder would silently lose each other's rows.
 * The lock is SQLite's: an exclusive fcntl lock on a file in the folder, which no crash can leave behind.
 * @throws BijuliError folder-in-use
 */
export function lockFolder(folder: string): FolderLock {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new BijuliError("bad-folder", `the data folder ${folder} cannot be made`, { cause, remedy: "set DATA_DIR" });
  }
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(folder, "owner.lock"), { timeout: 0 });
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
    const held = database;
    return { release: () => held.close() };
  } catch (cause) {
    database?.close();
    const busy = cause instanceof Error && /locked|busy/i.test(cause.message);
    throw new BijuliError(
      busy ? "folder-in-use" : "bad-folder",
      busy ? `another process uses the data folder ${folder}` : `the data folder ${folder} cannot be locked`,
      {
        cause,
        remedy: busy ? "stop it, set another DATA_DIR, or share a postgres:// DATABASE_URL" : "look at its permissions",
      },
    );
  }
}
