import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readerSettings } from "../src/settings.ts";
import { tempFolder } from "./bench.ts";

const UNIT = fileURLToPath(new URL("../systemd/bijuli-reader.service", import.meta.url));
const analyze = (...args: string[]) => spawnSync("systemd-analyze", args, { encoding: "utf8" });
const noSystemd = analyze("--version").status === 0 ? false : "needs systemd-analyze";

test("the service's unit is one that systemd takes, and as hardened as the README says", { skip: noSystemd }, () => {
  const { stderr } = analyze("verify", UNIT);
  // What it starts is not installed here; nothing else is wrong.
  const wrong = stderr.split("\n").filter((line) => line.includes("bijuli-reader") && !/is not executable/.test(line));
  assert.deepEqual(wrong, []);
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const promised = Number(/systemd-analyze security`: ([\d.]+)/.exec(readme)![1]);
  const level = /exposure level for bijuli-reader.service: ([\d.]+)/.exec(
    analyze("security", "--offline=true", UNIT).stdout,
  );
  if (level !== null) assert.ok(Number(level[1]) <= promised, `${level[1]}`);
});

test("the installer is a shell script without a slip, and the settings file names settings that there are", () => {
  const installer = fileURLToPath(new URL("../install.sh", import.meta.url));
  assert.deepEqual([spawnSync("sh", ["-n", installer]).status], [0]);
  const settings = readFileSync(new URL("../systemd/reader.env", import.meta.url), "utf8");
  const named = [...settings.matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name!);
  assert.ok(named.length >= 5);
  for (const name of named) assert.ok(Object.hasOwn(readerSettings, name), name);
});

test(
  "the installer does not take away the clone that it runs in",
  { skip: process.getuid?.() !== 0 && "needs root" },
  (t) => {
    const clone = tempFolder(t);
    const installer = join(clone, "pi-reader", "install.sh");
    mkdirSync(dirname(installer));
    copyFileSync(fileURLToPath(new URL("../install.sh", import.meta.url)), installer);
    const { status, stderr } = spawnSync("sh", [installer, "--prefix", clone], { encoding: "utf8" });
    assert.equal(status, 2);
    assert.match(stderr, /clone the project to another folder/);
    assert.ok(existsSync(installer));
  },
);
