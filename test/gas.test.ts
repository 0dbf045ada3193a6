import assert from "node:assert/strict";
import { test } from "node:test";
import { committedTable, readmeIsOfItsTable } from "../bench/gas/gas.ts";
import { differences, measure } from "../bench/gas/table.ts";

const deep = process.env.BIJULI_DEEP === "1";

test(`gas: ${deep ? "every" : "each small"} clearing costs exactly what the committed table says`, async () => {
  const measured = await measure({ quick: !deep });
  const lines = differences(committedTable(), measured);
  assert.deepEqual(lines, [], "if that is meant: node bench/gas/gas.ts --write");
});

test("gas: the README is what its table makes", () => {
  assert.equal(readmeIsOfItsTable(), true, "node bench/gas/gas.ts --write");
});
