#!/usr/bin/env node
import { ExitCode, explain, SettingsError } from "@bijuli/protocol";
import { type Command, exitCodeOf } from "./commands/command.ts";

// Each command is loaded when it is asked for: what a meter does not need at its start costs it nothing.
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./commands/serve.ts")).serve,
  keygen: async () => (await import("./commands/keygen.ts")).keygen,
  identity: async () => (await import("./commands/identity.ts")).identity,
  read: async () => (await import("./commands/read.ts")).read,
  audit: async () => (await import("./commands/audit.ts")).audit,
  export: async () => (await import("./commands/export.ts")).exportLots,
  recover: async () => (await import("./commands/recover.ts")).recover,
  calibrate: async () => (await import("./commands/calibrate.ts")).calibrate,
  scan: async () => (await import("./commands/scan.ts")).scan,
  simulate: async () => (await import("./commands/simulate.ts")).simulate,
};

const HELP = `bijuli reader: a meter that measures, closes lots, signs and serves readings

  serve      measures and answers over HTTP
  keygen     makes a meter's key
  identity   prints serial, meterId and signer
  read       prints what the source shows now
  audit      checks a store or an export offline
  export     writes lots as JSON lines or CSV
  recover    brings an old copy of a store up to what was signed since
  calibrate  compares the sensor with a reference
  scan       looks for sensors on an I2C bus
  simulate   prints a simulated meter's CSV

COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage, configuration or input, 75 try again later.
`;

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? process.stderr : process.stdout).write(HELP);
    return name === undefined ? ExitCode.USAGE : ExitCode.OK;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    process.stderr.write(`unknown command ${JSON.stringify(name)} (one of ${Object.keys(COMMANDS).join(", ")})\n`);
    return ExitCode.USAGE;
  }
  const command = await COMMANDS[name]!();
  if (rest.includes("--help") || rest.includes("-h")) {
    process.stdout.write(`bijuli reader ${command.help}`);
    return ExitCode.OK;
  }
  return command.run(rest);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const lines = error instanceof SettingsError ? error.problems : [explain(error)];
  for (const line of lines) process.stderr.write(`${line}\n`);
  process.exitCode = exitCodeOf(error);
}
