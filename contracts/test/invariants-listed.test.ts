import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

const folder = new URL("../", import.meta.url);
const root = new URL("../../", import.meta.url);

/** What a document names as `file` "test", and whether the file has a test, or a group of them, of that name. */
function named(document: string): [string, string][] {
  return [...document.matchAll(/`((?:contracts\/|\.\.\/)?test\/[\w-]+\.test\.ts)` "([^"]+)"/g)].map(
    ([, file, name]) => [file!.replace(/^contracts\//, ""), name!],
  );
}

function missing(tests: [string, string][]): string[] {
  return tests.flatMap(([file, name]) => {
    const path = new URL(file, folder);
    if (!existsSync(path)) return [`${file} is not there`];
    const titles = [
      ...readFileSync(path, "utf8").matchAll(/\b(?:test|it|describe)\(\s*(["`])((?:\\.|(?!\1)[^\\])*)\1/g),
    ];
    return titles.some(([, , title]) => title!.includes(name)) ? [] : [`${file} has no test "${name}"`];
  });
}

describe("what the documents say of the tests is there", () => {
  test("PROPERTIES.md: each property names a test, and each test exists", () => {
    const text = readFileSync(new URL("PROPERTIES.md", folder), "utf8");
    const rows = text.split("\n").filter((line) => /^\| [A-Z]\d+ \|/.test(line));
    assert.ok(rows.length >= 20);
    for (const row of rows) assert.ok(named(row).length > 0, row);
    assert.deepEqual(missing(named(text)), []);
  });

  test("threats.md: each test that is named exists", () => {
    const tests = named(readFileSync(new URL("docs/threats.md", root), "utf8"));
    assert.ok(tests.length >= 15);
    assert.deepEqual(missing(tests), []);
  });
});
