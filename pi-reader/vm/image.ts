import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Debian, must } from "./debian.ts";
import { inLoadingOrder } from "./kernelModules.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GUEST = fileURLToPath(new URL("guest", import.meta.url));

/** Loaded at boot. The drivers of the chips are loaded when a test asks for them: see DRIVERS. */
const AT_BOOT = ["crc32c_generic", "ext4", "virtio_pci", "virtio_blk", "virtio_net", "i2c-dev"];
/** Only there to be loaded; what they depend on is loaded at boot. */
const DRIVERS = ["i2c-stub", "ina2xx-adc", "ti-ads1015"];

export interface Image {
  kernel: string;
  initramfs: string;
  /** A read-only ext4: Node, its libraries, the reader and what it depends on. */
  system: string;
}

/** Makes initramfs and system disk in `folder`. */
export function makeImage(debian: Debian, folder: string): Image {
  const stage = join(folder, "stage");
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  const initramfs = makeInitramfs(debian, stage, join(folder, "initramfs"));
  const system = makeSystem(stage, join(folder, "system.ext4"));
  rmSync(stage, { recursive: true });
  return { kernel: debian.kernel, initramfs, system };
}

function makeInitramfs(debian: Debian, stage: string, out: string): string {
  const root = join(stage, "initramfs");
  for (const path of ["bin", "lib", "proc", "sys", "dev", "tmp", "bijuli", "data", "modules"]) {
    mkdirSync(join(root, path), { recursive: true });
  }
  // Where Debian's loader looks for libraries.
  symlinkSync("/bijuli/lib", join(root, "lib64"));
  symlinkSync("/bijuli/lib", join(root, "lib/x86_64-linux-gnu"));
  cpSync(debian.busybox, join(root, "bin/busybox"));
  symlinkSync("busybox", join(root, "bin/sh"));
  const drivers = DRIVERS.map((name) => `${name}.ko`);
  const files = inLoadingOrder(debian.modules, [...AT_BOOT, ...DRIVERS]);
  for (const file of files) cpSync(file, join(root, "modules", basename(file)));
  const order = files.map((file) => basename(file)).filter((name) => !drivers.includes(name));
  writeFileSync(join(root, "modules/order"), order.join("\n"));
  cpSync(join(GUEST, "init"), join(root, "init"));
  chmodSync(join(root, "init"), 0o755);
  must("sh", ["-c", `find . | "${debian.busybox}" cpio -o -H newc > "${out}"`], root);
  return out;
}

function makeSystem(stage: string, out: string): string {
  const root = join(stage, "system");
  const node = realpathSync(process.execPath);
  mkdirSync(join(root, "lib"), { recursive: true });
  mkdirSync(join(root, "bin"));
  cpSync(node, join(root, "bin/node"));
  // "libm.so.6 => /lib/…/libm.so.6 (0x…)", and the loader itself without an arrow.
  for (const [, library] of must("ldd", [node]).matchAll(/(?:=> |^\s*)(\/\S+) \(/gm)) {
    cpSync(realpathSync(library!), join(root, "lib", basename(library!)));
  }
  must("cc", ["-shared", "-fPIC", "-O1", "-o", join(root, "lib/nosync.so"), join(GUEST, "nosync.c")]);
  for (const path of ["package.json", "protocol", "pi-reader/package.json", "pi-reader/src"]) {
    cpSync(join(ROOT, path), join(root, path), { recursive: true });
  }
  for (const folder of dependenciesOf(join(ROOT, "pi-reader"), new Set())) {
    cpSync(join(ROOT, folder), join(root, folder), { recursive: true, verbatimSymlinks: true });
  }
  rmSync(out, { force: true });
  must("mkfs.ext4", ["-q", "-d", root, "-m", "0", "-O", "^has_journal", out, "600M"]);
  return out;
}

/** The folders of a package's dependencies, as Node finds them, relative to the project. */
function dependenciesOf(folder: string, found: Set<string>): Set<string> {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  ) as { dependencies?: object; optionalDependencies?: object };
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    for (let at = folder; at.startsWith(ROOT.slice(0, -1)); at = dirname(at)) {
      const candidate = join(at, "node_modules", name);
      if (!existsSync(candidate)) continue;
      const path = candidate.slice(ROOT.length);
      if (!found.has(path)) dependenciesOf(realpathSync(candidate), found.add(path));
      break;
    }
  }
  return found;
}
