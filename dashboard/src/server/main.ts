import { BijuliError, ExitCode, explain, loadSettings, SettingsError, settingsHelp } from "@bijuli/protocol";
import pino from "pino";
import { startDashboard } from "./dashboard.ts";
import { dashboardSettings } from "./settings.ts";

const HELP = `bijuli dashboard    serves the page: follows the chain's events, keeps what the page needs, and answers over HTTP

Settings, from the environment:
`;
const USAGE = new Set([
  "bad-settings",
  "bad-market",
  "wrong-chain",
  "other-chain",
  "bad-folder",
  "port-in-use",
  "bad-clock",
  "usage",
]);

async function run(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${HELP}${settingsHelp(dashboardSettings)}\n`);
    return ExitCode.OK;
  }
  try {
    if (args.length > 0) throw new BijuliError("usage", `bijuli dashboard takes no arguments: ${args.join(" ")}`);
    const settings = loadSettings(dashboardSettings);
    const log = pino({ level: settings.LOG_LEVEL, base: null }, pino.destination({ dest: 2, sync: true }));
    const dashboard = await startDashboard(settings, log);
    log.info({ url: dashboard.url }, "listening");
    await new Promise<void>((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    });
    log.info("stopping");
    await dashboard.close();
    return ExitCode.OK;
  } catch (error) {
    process.stderr.write(`${error instanceof SettingsError ? error.problems.join("\n") : explain(error)}\n`);
    const code = error instanceof BijuliError ? error.code : "";
    return USAGE.has(code) ? ExitCode.USAGE : code === "rpc-unreachable" ? ExitCode.TEMPORARY : ExitCode.FATAL;
  }
}

process.exit(await run(process.argv.slice(2)));
