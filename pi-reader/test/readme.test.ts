import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { settingsTable } from "@bijuli/protocol";
import { readerSettings } from "../src/settings.ts";

test("the README's table of settings is the settings", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  assert.ok(readme.includes(settingsTable(readerSettings)), settingsTable(readerSettings));
});
