import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ADAPTER_ENDPOINTS } from "../adapter/src/endpoints.ts";
import { DASHBOARD_ENDPOINTS } from "../dashboard/src/server/endpoints.ts";
import { NODE_ENDPOINTS } from "../jobs/src/api/endpoints.ts";
import { READER_ENDPOINTS } from "../pi-reader/src/endpoints.ts";
import type { Endpoint } from "../protocol/src/index.ts";
import { references } from "../scripts/reference.ts";

const at = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

test("docs/reference is what the code says: node scripts/reference.ts writes it", async () => {
  const pages = await references();
  assert.deepEqual(readdirSync(new URL("../docs/reference", import.meta.url)).sort(), Object.keys(pages).sort());
  for (const [name, text] of Object.entries(pages)) {
    // The first line that differs says more than two pages of text.
    const [committed, made] = [at(`docs/reference/${name}`).split("\n"), text.split("\n")];
    const line = made.findIndex((content, number) => content !== committed[number]);
    assert.equal(committed[line], made[line], `docs/reference/${name}, line ${line + 1}`);
    assert.equal(committed.length, made.length, `docs/reference/${name} ends differently`);
  }
});

/** The routes that a part's sources register, as "GET /path". */
function routesOf(files: readonly string[], pattern: RegExp): string[] {
  const routes = files.flatMap((file) =>
    [...at(file).matchAll(pattern)].map(([, method, path]) => `${method!.toUpperCase()} ${path || "/"}`),
  );
  return [...new Set(routes)].sort();
}
const listed = (endpoints: readonly Endpoint[]): string[] =>
  endpoints.map(({ method, path }) => `${method} ${path}`).sort();

test("every endpoint that a part serves is listed, and none that it does not", () => {
  const adapter = routesOf(["adapter/src/app.ts"], /app\.(get|post)\(at\("([^"]*)"\)/g);
  assert.deepEqual(adapter, listed(ADAPTER_ENDPOINTS));

  const node = routesOf(["jobs/src/api/server.ts"], /app\.(get|post|patch)\(\s*"([^"]+)"/g);
  assert.deepEqual(node, listed(NODE_ENDPOINTS.filter(({ path }) => path !== "/board")));

  const dashboard = routesOf(["dashboard/src/server/app.ts"], /app\.(get|post)\(\s*"([^"]+)"/g);
  // The page itself is a folder of files.
  assert.deepEqual(dashboard, listed(DASHBOARD_ENDPOINTS.filter(({ path }) => path !== "/")));

  const reader = routesOf(["pi-reader/src/server.ts"], /()"(\/[a-z:/]+)": \[/g).map((route) => `GET${route}`);
  assert.deepEqual(reader, listed(READER_ENDPOINTS));
});
