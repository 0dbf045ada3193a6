import { BijuliError, ExitCode, SettingsError } from "@bijuli/protocol";
import { SensorFault } from "../sensor.ts";

/** One of the reader's commands. */
export interface Command {
  /** What --help prints. */
  help: string;
  /** Runs to its exit code. */
  run(args: string[]): Promise<number>;
}

/** Wrong usage: the message, then where to read more. */
export function usageError(message: string): BijuliError {
  return new BijuliError("usage", message, { remedy: "see --help" });
}

const CODES: Readonly<Record<string, number>> = {
  "store-locked": ExitCode.TEMPORARY,
  "store-full": ExitCode.TEMPORARY,
  "sensor-absent": ExitCode.TEMPORARY,
  "store-failed": ExitCode.FATAL,
  "lot-overflow": ExitCode.FATAL,
  "audit-failed": ExitCode.FATAL,
  "export-failed": ExitCode.FATAL,
};

/**
 * The exit code of a command that failed: 75 for what may succeed when tried again, so that systemd does; 2 for what
 * a person must put right first; 1 for the rest.
 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof SettingsError) return ExitCode.USAGE;
  if (error instanceof BijuliError) return CODES[error.code] ?? ExitCode.USAGE;
  if (error instanceof SensorFault) return error.kind === "wrong-chip" ? ExitCode.USAGE : ExitCode.TEMPORARY;
  const code = (error as { code?: string }).code ?? "";
  return code.startsWith("ERR_PARSE_ARGS") ? ExitCode.USAGE : ExitCode.FATAL;
}
