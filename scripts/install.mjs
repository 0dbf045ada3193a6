// Runs before `npm start` and `npm test`, the first time on whatever Node the machine has: plain JavaScript, nothing
// imported from node_modules. Installs when the lock file changed since the last installation, and only then.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stamp = `${root}node_modules/.bijuli-installed`;
const lock = createHash("sha256")
  .update(readFileSync(`${root}package-lock.json`))
  .digest("hex");

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  const began = Date.now();
  process.stderr.write(
    "bijuli: installing dependencies (about half a minute, once for each change of the lock file) ...\n",
  );
  // The bundled Node lies in the folder that `npm ci` replaces, so npm runs on the Node that it was started with.
  const node = process.env.npm_node_execpath ?? process.execPath;
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [node, [npm, "ci"]] : ["npm", ["ci"]];
  // stdout belongs to the command that follows (`npm start -- --json`); what npm has to say is shown if it fails.
  // Native addons (I2C) are built for the bundled Node, whose package brings its headers.
  const env = { ...process.env, npm_config_nodedir: `${root}node_modules/node-linux-${process.arch}` };
  const result = spawnSync(command, [...args, "--no-progress", "--loglevel=error"], {
    cwd: root,
    encoding: "utf8",
    env,
  });
  if (result.status !== 0) {
    process.stderr.write(
      `${result.stdout ?? ""}${result.stderr ?? ""}bijuli: npm ci failed${result.error ? `: ${result.error.message}` : ""}; nothing was started\n`,
    );
    process.exit(1);
  }
  writeFileSync(stamp, lock);
  process.stderr.write(`bijuli: installed in ${((Date.now() - began) / 1000).toFixed(0)} s\n`);
}
