import { BijuliError, ExitCode, explain, loadSettings, SettingsError, settingsHelp } from "@bijuli/protocol";
import pino from "pino";
import { startAdapter } from "./adapter.ts";
import { ADAPTER_SETTINGS, type AdapterSettings } from "./settings.ts";

const HELP = `bijuli adapter: a Chainlink external adapter for the signed readings of meters

  npx bijuli adapter

It takes no arguments; the environment configures it:

${settingsHelp(ADAPTER_SETTINGS)}

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failure, 2 bad configuration (nothing was started).
`;

/** What clients that keep their connection without asking have, at the end, to learn of it by an answer. */
const LINGER_MS = 1000;

/** Why an address cannot be listened on, by Node's code. */
const CANNOT_LISTEN: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use",
  EACCES: "may not be used",
  EADDRNOTAVAIL: "is not this machine's",
  ENOTFOUND: "is no host that is known here",
  EAI_AGAIN: "is no host that is known here",
};

/** Runs the adapter until it is told to stop; returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(HELP);
    return ExitCode.OK;
  }
  if (args.length > 0) {
    process.stderr.write(`adapter: unknown argument ${args[0]}; it takes none (--help lists its settings)\n`);
    return ExitCode.USAGE;
  }
  let settings: AdapterSettings | undefined;
  try {
    settings = loadSettings(ADAPTER_SETTINGS);
    const log = pino({ level: settings.LOG_LEVEL }, pino.destination({ fd: 2, sync: true }));
    const adapter = await startAdapter(settings, { log });
    await new Promise<void>((resolve) => {
      // Each time, not once: systemd signals the launcher and this process, the launcher sends it on, and the second would
      // cut off what is being answered.
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve());
    });
    await adapter.close(LINGER_MS);
    return ExitCode.OK;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof SettingsError) {
      for (const problem of error.problems) process.stderr.write(`adapter: ${problem}\n`);
      return ExitCode.USAGE;
    }
    const why = code === undefined ? undefined : CANNOT_LISTEN[code];
    if (why !== undefined) {
      const { address = settings?.EA_HOST, port } = error as { address?: string; port?: number };
      const named = port !== undefined && port === settings?.METRICS_PORT ? "METRICS_PORT" : "EA_PORT";
      const where = port === undefined ? address : `${address}:${port}`;
      process.stderr.write(`adapter: EA_HOST and ${named}: ${where} ${why}\n`);
      return ExitCode.USAGE;
    }
    process.stderr.write(`adapter: ${explain(error)}\n`);
    // What the adapter itself refuses before it listens is its configuration.
    return error instanceof BijuliError ? ExitCode.USAGE : ExitCode.FATAL;
  }
}
