import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const bijuli = fileURLToPath(new URL("../bijuli.mjs", import.meta.url));
const start = fileURLToPath(new URL("../start.ts", import.meta.url));
const run = promisify(execFile);

/** Commands whose --help is shown, in the order of a meter's way to a bill. */
const commands = ["reader", "adapter", "node", "deploy", "feeder", "dashboard", "bill", "verify"];

/** What each command's --help says, asked of the commands themselves. */
export async function commandsReference(): Promise<string> {
  const asked = await Promise.all([
    run(process.execPath, [start, "--help"]),
    run(process.execPath, [bijuli, "--help"]),
    ...commands.map((command) => run(process.execPath, [bijuli, command, "--help"])),
  ]);
  const names = ["npm start --", "npx bijuli", ...commands.map((command) => `npx bijuli ${command}`)];
  return asked.map(({ stdout }, at) => `## ${names[at]}\n\n\`\`\`text\n${stdout.trim()}\n\`\`\``).join("\n\n");
}
