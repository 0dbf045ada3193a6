import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { specIdsOf } from "../src/spec/job.ts";
import { KEYS } from "./fixtures/chain.ts";
import { LOT_READINGS_JOB } from "./fixtures/market.ts";
import { until } from "./fixtures/until.ts";
import { type MarketScene, startMarketScene } from "./support/market-scene.ts";

describe("a silent operator", () => {
  const deaf = `0x${"dea1".repeat(8)}${"00".repeat(16)}`;
  const [ours] = specIdsOf(LOT_READINGS_JOB);
  let scene: MarketScene;

  const problems = async () => (await scene.node.get<{ problems: string[] }>("/health")).problems;
  const start = (mode: string, until: bigint) =>
    scene.start({
      HEAL_SILENT: mode,
      OPEN_FEEDERS: JSON.stringify([{ feeder: scene.market.feeder, until: String(until) }]),
    });
  const repeats = (count: number) =>
    until(`${count} repetitions`, async () => {
      const mined = (await scene.sent()).filter(({ purpose, outcome }) => purpose === "repeat" && outcome !== null);
      return mined.length >= count;
    });
  const purposes = async () => (await scene.sent()).map(({ purpose }) => purpose);

  before(async () => {
    // The first seat is a job that no node has. One repetition is the feeder's, the rest are the caller's.
    const settings = { HEAL_AFTER_SECONDS: "0" };
    scene = await startMarketScene({ specIds: [deaf, ours], freeRepeats: 1, settings });
  });
  after(() => scene?.close());

  test("its request is repeated with the next operator when it is due, at the feeder's cost", async () => {
    const lot = scene.market.firstLot;
    await start("feeder", lot);
    await scene.market.passLots(1);
    await scene.opened(lot);
    await scene.chain.mine(5);
    assert.equal((await purposes()).includes("repeat"), false, "not before repeatSeconds");
    await scene.market.passSeconds(601);
    await scene.closed(lot);
    assert.deepEqual((await purposes()).sort(), ["fulfil", "fulfil", "fulfil", "open", "repeat", "repeat", "repeat"]);
  });

  test("when the feeder pays no more, the node's own LINK pays with HEAL_SILENT=node; that it has none is told", async () => {
    const lot = scene.market.firstLot + 1n;
    // The adapter is down for the repeated request as well, so that it has to be repeated again.
    scene.adapter.answer = () => ({ status: 500 });
    await start("node", lot);
    await scene.opened(lot);
    await scene.market.passSeconds(601);
    await repeats(6);
    await scene.market.passSeconds(601);
    const [problem] = await until("the problem", async () => {
      const found = (await problems()).filter((one) => /not served and not healed/.test(one));
      return found.length === 3 && found;
    });
    assert.match(
      problem!,
      /stage \d \(from 0\) of lot \d+ of feeder 0x\w+ is not served and not healed: .*(allowance|balance)/i,
    );
    await scene.market.giveLink(KEYS[1], 100n);
    await repeats(9);
    scene.well();
    await scene.closed(lot);
    assert.equal((await problems()).filter((one) => /not healed/.test(one)).length, 0);
  });

  test("with HEAL_SILENT=submit the node fetches the records itself and submits them, in order", async () => {
    const lot = scene.market.firstLot + 2n;
    const before = (await purposes()).length;
    await start("submit", lot);
    await scene.opened(lot);
    await scene.market.passSeconds(601);
    await scene.closed(lot);
    assert.deepEqual((await purposes()).slice(before), ["open", "submit", "submit", "submit"]);
    const runs = await until("the runs", async () => {
      const path = `/runs?feeder=${scene.market.feeder}&limit=3`;
      const all = await scene.node.get<{ lot: string; stage: number; state: string }[]>(path);
      return all.every(({ state }) => state === "delivered") && all;
    });
    assert.deepEqual(
      runs.reverse().map(({ lot, stage, state }) => [lot, stage, state]),
      [0, 1, 2].map((stage) => [String(lot), stage, "delivered"]),
    );
  });
});
