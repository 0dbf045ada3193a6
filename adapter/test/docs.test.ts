import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { settingsTable } from "@bijuli/protocol";
import { ADAPTER_SETTINGS } from "../src/settings.ts";

const README = new URL("../README.md", import.meta.url);

/** UPDATE_DOCS=1 writes the table anew. */
test("the README's table of settings is the code's", () => {
  const text = readFileSync(README, "utf8");
  const table = settingsTable(ADAPTER_SETTINGS);
  const next = text.replace(
    /<!-- settings -->[\s\S]*<!-- \/settings -->/,
    () => `<!-- settings -->\n${table}\n<!-- /settings -->`,
  );
  if (process.env.UPDATE_DOCS === "1") writeFileSync(README, next);
  else assert.equal(text, next, "run UPDATE_DOCS=1 node --test adapter/test/docs.test.ts");
});
