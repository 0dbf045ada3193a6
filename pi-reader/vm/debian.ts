import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a Debian package gave: its files, unpacked, none of them installed. */
export interface Debian {
  /** The kernel image. */
  kernel: string;
  /** lib/modules/VERSION of that kernel. */
  modules: string;
  busybox: string;
}

/** A command that must succeed; its output. */
export function must(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", cwd, maxBuffer: 2 ** 26 });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(" ")} failed: ${error?.message ?? stderr.trim()}`);
}

/**
 * The kernel and busybox from Debian's packages, downloaded and unpacked below `cache`, once for each version. Nothing
 * is installed: dpkg -x only unpacks.
 */
export function fetchDebian(cache: string): Debian {
  mkdirSync(cache, { recursive: true });
  const image = kernelPackage();
  const wanted = `${image} busybox-static`;
  const unpacked = join(cache, "debian");
  const stamp = join(unpacked, "packages");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
    const fresh = `${unpacked}.new`;
    for (const folder of [unpacked, fresh]) rmSync(folder, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true });
    must("apt-get", ["download", "-qq", image, "busybox-static"], fresh);
    for (const file of readdirSync(fresh).filter((name) => name.endsWith(".deb"))) {
      must("dpkg", ["-x", file, "."], fresh);
      rmSync(join(fresh, file));
    }
    writeFileSync(join(fresh, "packages"), wanted);
    renameSync(fresh, unpacked);
  }
  const kernel = readdirSync(join(unpacked, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (kernel === undefined) throw new Error(`${image} holds no kernel`);
  // With a merged /usr, newer packages carry these below usr/.
  const at = (path: string) => [join(unpacked, path), join(unpacked, "usr", path)].find(existsSync);
  const modules = at(join("lib/modules", kernel.slice("vmlinuz-".length)));
  const busybox = at("bin/busybox");
  if (modules === undefined || busybox === undefined) throw new Error(`${wanted}: modules or busybox are missing`);
  return { kernel: join(unpacked, "boot", kernel), modules, busybox };
}

/** The package that linux-image-amd64 stands for now. */
function kernelPackage(): string {
  const depends = () => /Depends: (linux-image-\S+)/.exec(must("apt-cache", ["depends", "linux-image-amd64"]))?.[1];
  let found: string | undefined;
  try {
    found = depends();
  } catch {
    // A fresh machine has no package lists.
  }
  if (found !== undefined) return found;
  must("apt-get", ["update", "-qq"]);
  found = depends();
  if (found === undefined) throw new Error("Debian's package lists know no linux-image-amd64");
  return found;
}
