// `npm run test:pi`: the unmodified reader on a true /dev/i2c-0 and on a disk that loses power, in a virtual machine with
// Debian's kernel. BIJULI_DEEP=1 cuts the power 50 times instead of 5. Needs Debian packages, which it names when they are missing.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

const ATTEMPTS = 3;
const CRASH_OF_EMULATION = /Segmentation fault|# Fatal error in|# Check failed/;

const TOOLS = {
  "qemu-system-x86_64": "qemu-system-x86",
  "mkfs.ext4": "e2fsprogs",
  cc: "gcc libc6-dev",
  dpkg: "dpkg",
  "apt-get": "apt",
};

/** Why it cannot run here; undefined where it can. */
function missing(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64")
    return `needs Linux on x64, not ${process.platform} on ${process.arch}`;
  const absent = Object.entries(TOOLS).filter(([tool]) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  if (absent.length > 0) {
    const [tools, packages] = [absent.map(([tool]) => tool), absent.map(([, name]) => name)];
    return `${tools.join(", ")} not found: apt-get install ${packages.join(" ")}`;
  }
  const addon = spawnSync(process.execPath, ["-e", 'require("i2c-bus")'], { cwd: here });
  return addon.status === 0 ? undefined : "the addon i2c-bus is not built for this Node: npm rebuild i2c-bus";
}

const why = missing();
if (why !== undefined) {
  process.stdout.write(`test:pi skipped: ${why}\n`);
  // Where everything is meant to be installed, a skip would hide that it is not.
  process.exit(process.env.CI === "true" ? 1 : 0);
}
const files = globSync("*.vm.ts", { cwd: here }).sort();
for (const file of files) {
  if (!(await passes(file))) process.exitCode = 1;
}

/**
 * Runs a file of tests. Emulated by QEMU, a Node crashes now and then by itself: a segmentation fault, or V8 that finds its
 * own books wrong. That says nothing of the reader, so the file is run again, said aloud; whatever else fails has failed.
 */
async function passes(file: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const child = spawn(process.execPath, ["--test", "--test-reporter=spec", file], { cwd: here });
    let said = "";
    for (const [from, to] of [[child.stdout, process.stdout] as const, [child.stderr, process.stderr] as const]) {
      from.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        to.write(text);
      });
    }
    const [status] = await once(child, "close");
    if (status === 0) return true;
    if (attempt === ATTEMPTS || !CRASH_OF_EMULATION.test(said)) return false;
    process.stdout.write(`${file}: a Node crashed under emulation; run again (${attempt + 1} of ${ATTEMPTS})\n`);
  }
}
