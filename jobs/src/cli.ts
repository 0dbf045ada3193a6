#!/usr/bin/env node
import { ExitCode, explain } from "@bijuli/protocol";
import { runCommand } from "./commands.ts";

try {
  process.exitCode = await runCommand(process.argv.slice(2), process.env);
} catch (error) {
  process.stderr.write(`${explain(error)}\n`);
  process.exitCode = ExitCode.FATAL;
}
