import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, type Plugin, stop } from "esbuild";

/** One file of the page, ready to be sent. */
export interface Asset {
  type: string;
  body: Buffer;
  gzipped: Buffer;
  /** Its name holds its hash: it never changes. */
  immutable: boolean;
}

const source = (path: string) => fileURLToPath(new URL(`../page/${path}`, import.meta.url));

/** The parts that the page shares with servers speak of files and timers; the page uses none of that. */
const withoutNode: Plugin = {
  name: "without-node",
  setup({ onResolve, onLoad, resolve }) {
    // Nothing happens when a module of the protocol is read: what a view does not use is left out.
    onResolve({ filter: /^(@bijuli\/protocol$|\.\/)/ }, async ({ path, importer, resolveDir, kind, pluginData }) => {
      const protocol = path.startsWith("@") || /[/\\]protocol[/\\]src[/\\]/.test(importer);
      if (pluginData === "asked" || !protocol) return undefined;
      return { ...(await resolve(path, { importer, resolveDir, kind, pluginData: "asked" })), sideEffects: false };
    });
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "absent" }));
    onLoad({ filter: /.*/, namespace: "absent" }, () => ({ contents: "module.exports = {}", loader: "js" }));
  },
};

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Builds the page from its sources, in memory: path → what is served there. */
export async function bundlePage(): Promise<Map<string, Asset>> {
  const result = await build({
    entryPoints: [source("main.tsx")],
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minify: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    outdir: "/assets",
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    write: false,
    logLevel: "silent",
    legalComments: "none",
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [withoutNode],
  });
  await stop();
  const assets = new Map<string, Asset>();
  const add = (path: string, contents: Uint8Array | string, immutable = true) => {
    const body = Buffer.from(contents);
    const type = TYPES[path.slice(path.lastIndexOf("."))] ?? "text/html; charset=utf-8";
    assets.set(path, { type, body, gzipped: gzipSync(body), immutable });
    return path;
  };
  const named = (name: string, path: string) => {
    const contents = readFileSync(source(path));
    const hash = createHash("sha256").update(contents).digest("hex").slice(0, 8);
    return add(`/assets/${name.replace(".", `-${hash}.`)}`, contents);
  };
  for (const file of result.outputFiles) add(`/assets/${basename(file.path)}`, file.contents);
  const main = [...assets.keys()].filter((path) => path.startsWith("/assets/main-"));
  const style = main.find((path) => path.endsWith(".css"))!;
  const script = main.find((path) => path.endsWith(".js"))!;
  const icon = named("icon.svg", "icon.svg");
  const html = readFileSync(source("index.html"), "utf8")
    .replace("{style}", `.${style}`)
    .replace("{script}", `.${script}`)
    .replace("{icon}", `.${icon}`);
  add("/", html, false);
  return assets;
}
