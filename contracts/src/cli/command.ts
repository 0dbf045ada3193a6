import { BijuliError, ExitCode } from "@bijuli/protocol";
import { isError } from "ethers";

/** Bad usage, configuration or input: nothing was sent. */
const USAGE = new Set([
  "usage",
  "bad-networks",
  "bad-key",
  "wrong-chain",
  "bad-address-book",
  "deployment-unfinished",
  "deployment-differs",
  "bad-contract",
  "bad-charter",
  "bad-identity",
  "bad-serial",
  "bad-reading",
  "bad-lot-seconds",
  "unknown",
]);
/** What may succeed when the same command is run again. */
const TEMPORARY = new Set([
  "rpc-unreachable",
  "no-funds",
  "not-mined",
  "account-busy",
  "reader-unreachable",
  "scheduled",
]);

/**
 * Runs a command line: one clear line for what goes wrong, and the exit code that goes with it.
 * @param secrets texts that may stand in errors (an RPC's URL with its API key) and what to print instead
 */
export async function main(run: () => Promise<number>, secrets: Map<string, string>): Promise<void> {
  try {
    process.exitCode = await run();
  } catch (error) {
    let text = brief(error);
    for (const [secret, instead] of secrets) text = text.replaceAll(secret, instead);
    process.stderr.write(`${text}\n`);
    const code = codeOf(error);
    process.exitCode = USAGE.has(code) ? ExitCode.USAGE : TEMPORARY.has(code) ? ExitCode.TEMPORARY : ExitCode.FATAL;
  }
}

function codeOf(error: unknown): string {
  if (error instanceof BijuliError) return error.code;
  const connection = ["NETWORK_ERROR", "TIMEOUT", "SERVER_ERROR"] as const;
  if (connection.some((code) => isError(error, code)) || (error as NodeJS.ErrnoException)?.code === "ECONNREFUSED") {
    return "rpc-unreachable";
  }
  if (String((error as NodeJS.ErrnoException)?.code).startsWith("ERR_PARSE_ARGS")) return "usage";
  return "";
}

/** An error and its causes on one line. Of ethers' own, whose messages quote whole transactions, the short form. */
export function brief(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && at !== null && parts.length < 4; ) {
    const { shortMessage, message, code } = at as { shortMessage?: string; message?: string; code?: unknown };
    const text = (shortMessage ?? message ?? String(at)) || String(code);
    if (text !== "" && !parts.some((part) => part.includes(text))) parts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  const remedy = error instanceof BijuliError && error.remedy ? ` (${error.remedy})` : "";
  return parts.join(": ").replaceAll(/\s*\n\s*/g, " ") + remedy;
}

/** Progress and notes: never on stdout, which is for results. */
export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}
