import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { explain } from "@bijuli/protocol";
import { RpcError } from "../src/chain/rpc.ts";
import { COMMON_ATTRIBUTES } from "../src/pipeline/task.ts";
import { taskTypes } from "../src/pipeline/tasks/index.ts";
import { run } from "./fixtures/pipeline.ts";

test("conditional, fail, memo, lowercase and any", async () => {
  const ran = await run(`
    low [type="lowercase" input="ETH"]
    note [type="memo" value="$(low)"]
    less [type="lessthan" left="1" right="2"]
    yes [type="conditional" data="$(less)"]
    pick [type="any"]
    low -> note -> pick
    yes -> pick
  `);
  assert.equal(ran.value("low"), "eth");
  assert.equal(ran.value("note"), "eth");
  assert.ok(["eth", true].includes(ran.value("pick") as never));
  assert.match(
    explain((await run('less [type="lessthan" left="2" right="1"] no [type="conditional"] less -> no')).error),
    /task no/,
  );
  assert.match(explain((await run('end [type="fail" msg="not today"]')).error), /not today/);
});

test("ethcall: calldata and fees out, bytes back; a revert is final, silence is tried again", async () => {
  const asked: unknown[] = [];
  const source =
    'call [type="ethcall" contract="0x613a38AC1659769640aaE063C651F48E0250454C" data="0x1234" gas=100 gasTipCap=7 block="0x5" retries=2 minBackoff="1ms"]';
  const ran = await run(source, {
    rpc: {
      async call<T>(method: string, params: readonly unknown[]): Promise<T> {
        asked.push([method, params]);
        return "0xbeef" as T;
      },
    },
  });
  assert.deepEqual(ran.value("call"), Buffer.from("beef", "hex"));
  const [[method, [call, block]]] = asked as [[string, [Record<string, string>, string]]];
  assert.deepEqual(
    [method, block, call.to!.toLowerCase(), call.data, call.gas, call.maxPriorityFeePerGas],
    ["eth_call", "0x5", "0x613a38ac1659769640aae063c651f48e0250454c", "0x1234", "0x64", "0x7"],
  );
  let times = 0;
  const failing = (error: Error) => ({
    call: () => {
      times++;
      return Promise.reject(error);
    },
  });
  const reverted = await run(source, { rpc: failing(new RpcError("eth_call", 3, "execution reverted", "0x")) });
  assert.match(explain(reverted.error), /the call reverted/);
  assert.equal(times, 1);
  await run(source, { rpc: failing(new Error("no answer")) });
  assert.equal(times, 3);
});

test("the README's table names every task with every option, and tests that are there", () => {
  const readme = readFileSync(join(import.meta.dirname, "../README.md"), "utf8");
  const tests = globSync("*.test.ts", { cwd: import.meta.dirname })
    .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
    .join("\n");
  const rows = readme
    .slice(readme.indexOf("## Tasks"))
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  for (const [type, { attributes }] of Object.entries(taskTypes)) {
    const row = rows.find((line) => line.split("|")[1]!.includes(`\`${type}\``));
    assert.ok(row !== undefined, `${type} is not in the table`);
    for (const name of attributes) assert.ok(row.includes(`\`${name}\``), `${type}: ${name} is not in the table`);
  }
  for (const name of COMMON_ATTRIBUTES) assert.ok(readme.includes(`\`${name}\``), name);
  const named = [...readme.matchAll(/“([^”]+)”/g)].map((match) => match[1]!);
  assert.ok(named.length > 20);
  for (const name of named) assert.ok(tests.includes(name), `no test is called “${name}”`);
});
