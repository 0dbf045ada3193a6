import { once } from "node:events";
import { rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { BijuliError } from "@bijuli/protocol";

const REMEDY = "check its folder, its owner and its room";

/**
 * Writes lines to a new file, or to stdout: all of them, or it fails; a file that could not be finished is taken away
 * again, so that none passes for a whole one. Who stops reading stdout, as `head` does, has what he wanted.
 * @throws BijuliError bad-export when the file exists or cannot be made; export-failed when it cannot be written
 */
export async function writeLines(lines: Iterable<string>, file?: string): Promise<void> {
  if (file === undefined) return toStdout(lines);
  let handle: FileHandle;
  try {
    handle = await open(file, "wx", 0o600);
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === "EEXIST";
    throw new BijuliError("bad-export", `${file} ${exists ? "exists and is not overwritten" : "cannot be written"}`, {
      cause: exists ? undefined : cause,
      remedy: exists ? "name another one" : REMEDY,
    });
  }
  try {
    for (const chunk of chunksOf(lines)) await handle.writeFile(chunk);
    await handle.sync();
    await handle.close();
  } catch (cause) {
    await handle.close().catch(() => {});
    rmSync(file, { force: true });
    if (cause instanceof BijuliError) throw cause;
    throw new BijuliError("export-failed", `${file} cannot be written and was taken away`, { cause, remedy: REMEDY });
  }
}

async function toStdout(lines: Iterable<string>): Promise<void> {
  let failed: NodeJS.ErrnoException | undefined;
  process.stdout.on("error", (error) => {
    failed = error;
  });
  for (const chunk of chunksOf(lines)) {
    const written = process.stdout.write(chunk);
    if (!written && failed === undefined) await once(process.stdout, "drain").catch(() => {});
    else await new Promise(setImmediate);
    if (failed?.code === "EPIPE") return;
    if (failed !== undefined) {
      throw new BijuliError("export-failed", "stdout cannot be written", { cause: failed, remedy: REMEDY });
    }
  }
}

/** Many lines at once: a write for each would take longer than making it. */
function* chunksOf(lines: Iterable<string>): Generator<string> {
  let chunk = "";
  for (const line of lines) {
    chunk += `${line}\n`;
    if (chunk.length < 65_536) continue;
    yield chunk;
    chunk = "";
  }
  yield chunk;
}
