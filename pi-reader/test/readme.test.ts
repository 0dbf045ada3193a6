import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { renewed } from "./write-readme.ts";

test("the README's tables of settings and of accuracy are what the code says", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  assert.equal(readme, renewed(readme), "node pi-reader/test/write-readme.ts renews them");
});
