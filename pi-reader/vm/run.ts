// `npm run test:pi`: the unmodified reader on a true /dev/i2c-0 and on a disk that loses power, in a virtual machine with
// Debian's kernel. BIJULI_DEEP=1 cuts the power 50 times instead of 5. Needs Debian packages, which it names when they are missing.
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

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
const { status } = spawnSync(process.execPath, ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files], {
  cwd: here,
  stdio: "inherit",
});
process.exitCode = status ?? 1;
