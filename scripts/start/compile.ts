import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { BijuliError } from "@bijuli/protocol";

const SCRIPT = fileURLToPath(new URL("../../contracts/scripts/compile.ts", import.meta.url));

/**
 * Unpacks the committed build of the contracts, or compiles them where their sources are no longer those it was made
 * from. A process of its own, for the compiler holds its thread for half a minute, and Ctrl-C must be answered meanwhile.
 * @throws BijuliError not-compiled with what the compiler said
 */
export function compileContracts(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SCRIPT], { stdio: ["ignore", "pipe", "pipe"], detached: true });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    signal.addEventListener("abort", () => child.kill("SIGKILL"));
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0 || signal.aborted) resolve();
      else reject(new BijuliError("not-compiled", `the contracts could not be compiled:\n${said.trim()}`));
    });
  });
}
