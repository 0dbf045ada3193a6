import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { processesOf, type Run, start, tidy } from "./support/start.ts";

const runs: Run[] = [];
after(() => runs.forEach(tidy));
const begin = async (args: readonly string[], env: Record<string, string> = {}) => {
  const run = await start(args, env);
  runs.push(run);
  return run;
};

describe("a network without --grid", { timeout: 120_000 }, () => {
  it("is a simulated feeder that clears until Ctrl-C, then leaves no process behind", async () => {
    const run = await begin(["--speed", "300"]);
    const [, page] = await run.saw(/the page is at (http:\S+)/);
    await run.saw(/valley {2}lot [\s\S]*valley {2}lot /);
    assert.ok(processesOf(run).length >= 11, "chain, seven readers, adapter, node and page");
    const html = await (await fetch(page!)).text();
    assert.match(html, /<title>Bijuli<\/title>/);
    const api = async <T>(path: string) => (await (await fetch(new URL(`api/${path}`, page))).json()) as T;
    const [feeder] = await api<{ id: string; lots: number; members: number }[]>("feeders");
    assert.equal(feeder!.members, 7);
    const { items } = await api<{ items: { lot: string }[] }>(`feeders/${feeder!.id}/lots`);
    assert.ok(items.length >= 1, "the page shows the cleared lots");

    run.child.kill("SIGINT");
    assert.equal(await run.ended, 0, run.stderr);
    assert.deepEqual(processesOf(run), []);
  });

  for (const delay of [150, 900, 2_500]) {
    it(`stops as cleanly ${delay} ms into its set-up`, async () => {
      const run = await begin([]);
      await sleep(delay);
      run.child.kill("SIGTERM");
      const code = await run.ended;
      assert.ok(code === 0 || code === null, `${code}: ${run.stderr}`);
      assert.deepEqual(processesOf(run), []);
    });
  }

  it("says which part failed and where its log is when one is killed", async () => {
    const run = await begin(["--speed", "300"]);
    await run.saw(/the page is at/);
    const victim = processesOf(run).find((pid) => pid !== run.child.pid)!;
    process.kill(victim, "SIGKILL");
    assert.equal(await run.ended, 1);
    assert.match(run.stderr, /ended by itself \(SIGKILL\).*\.log/);
    assert.deepEqual(processesOf(run), []);
  });

  it("runs on Hardhat's chain where anvil has no binary", async () => {
    const run = await begin(["--speed", "300", "--lots", "2", "--json"], { BIJULI_CHAIN: "hardhat" });
    assert.equal(await run.ended, 0, run.stderr);
    assert.equal(run.stdout.trim().split("\n").length, 2);
    assert.deepEqual(processesOf(run), []);
  });
});
