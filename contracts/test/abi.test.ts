import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { renderAbi } from "../scripts/abi.ts";
import { compile } from "../scripts/compile.ts";

test("the committed ABIs are those of the contracts as they are", async () => {
  await compile();
  const committed = readFileSync(new URL("../abi/index.ts", import.meta.url), "utf8");
  assert.ok(committed === renderAbi(), "abi/index.ts is stale: node contracts/scripts/abi.ts");
});

test("no contract comes near EIP-170's limit", () => {
  for (const [folder, name] of [
    ["", "EnergyMarket"],
    ["", "MeterRegistry"],
    ["", "EnergyToken"],
    ["libraries/", "SupplyStages"],
    ["libraries/", "ConsumerStage"],
    ["libraries/", "FeederCharters"],
    ["libraries/", "Requests"],
    ["libraries/", "Participation"],
    ["libraries/", "MarketViews"],
  ]) {
    const file = new URL(`../artifacts/release/src/${folder}${name}.sol/${name}.json`, import.meta.url);
    const bytes = (JSON.parse(readFileSync(file, "utf8")).deployedBytecode.length - 2) / 2;
    assert.ok(bytes < 20_480, `${name} has ${bytes} of 24,576 bytes`);
  }
});
