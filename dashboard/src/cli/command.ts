import { constants } from "node:buffer";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BijuliError, ExitCode, explain, type Hex, isHex } from "@bijuli/protocol";

/** A text can hold no more: a small file that swells to fill the memory is refused. */
const LONGEST = constants.MAX_STRING_LENGTH;

/** Bad usage or input: nothing was done. */
const USAGE = new Set(["usage", "bad-file", "not-a-bill", "no-registry", "no-such-account", "bad-serial"]);
/** What may succeed when the same command is run again. */
const TEMPORARY = new Set(["rpc-unreachable", "not-cleared"]);

/** Runs a command line: one clear line for what goes wrong, and the exit code that goes with it. */
export async function main(run: (args: string[]) => Promise<number>): Promise<void> {
  try {
    process.exitCode = await run(process.argv.slice(2));
  } catch (error) {
    say(explain(error));
    const parsing = String((error as NodeJS.ErrnoException)?.code).startsWith("ERR_PARSE_ARGS");
    const code = error instanceof BijuliError ? error.code : "";
    process.exitCode =
      parsing || USAGE.has(code) ? ExitCode.USAGE : TEMPORARY.has(code) ? ExitCode.TEMPORARY : ExitCode.FATAL;
  }
}

/**
 * One line on stderr. What a file or a chain says can stand in it: characters that would move a terminal's cursor, and so
 * write something else over it, are shown as what they are.
 */
export function say(text: string): void {
  const shown = text.replace(
    /[\p{Cc}\p{Bidi_Control}]/gu,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  process.stderr.write(`${shown}\n`);
}

/** @throws BijuliError usage */
export const usage = (message: string): BijuliError =>
  new BijuliError("usage", message, { remedy: "--help tells what there is" });

/** A file's JSON, compressed or not. @throws BijuliError bad-file */
export function readJson(path: string): unknown {
  try {
    const bytes = readFileSync(path);
    const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return JSON.parse((zipped ? gunzipSync(bytes, { maxOutputLength: LONGEST }) : bytes).toString("utf8"));
  } catch (cause) {
    throw new BijuliError("bad-file", `${path}: ${(cause as Error).message}`);
  }
}

/** An option that must be so many bytes of hex. @throws BijuliError usage */
export function hexOption(name: string, value: string | undefined, bytes: number): Hex | undefined {
  if (value === undefined) return undefined;
  if (isHex(value, bytes)) return value.toLowerCase() as Hex;
  throw usage(`--${name} ${JSON.stringify(value)} must be 0x and ${2 * bytes} hex digits`);
}
