import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { until } from "./fixtures/until.ts";
import { CLOSED, type MarketScene, startMarketScene } from "./support/market-scene.ts";

describe("the energy market's lots", () => {
  let scene: MarketScene;
  const stageOfRequest = (body: Record<string, unknown>) => (body.data as { stage: string }).stage;

  before(async () => {
    scene = await startMarketScene({
      spec: (text) => text.replace('maxHold = "10m"', 'maxHold = "500ms"').replace("retries=720", "retries=2"),
    });
    const { feeder, firstLot } = scene.market;
    await scene.start({ OPEN_FEEDERS: JSON.stringify([{ feeder, until: String(firstLot + 3n) }]) });
  });
  afterEach(() => scene.well());
  after(() => scene?.close());

  test("a lot is opened when the chain's time says that it is over, and its three stages land in order", async () => {
    await scene.market.passLots(1);
    await scene.closed(scene.market.firstLot);
    const runs = await scene.runs(scene.market.firstLot);
    assert.deepEqual(
      runs.map((run) => run.state),
      ["delivered", "delivered", "delivered"],
    );
    const logs = await scene.chain.provider.getLogs({
      address: scene.market.book.operator,
      topics: [scene.chain.operator.interface.getEvent("OracleResponse")!.topicHash],
      fromBlock: 0,
    });
    // getLogs gives them as the chain holds them.
    assert.deepEqual(
      logs.map((log) => log.topics[1]),
      runs.map((run) => run.requestId),
    );
    await assert.rejects(
      scene.market.stageOf(scene.market.firstLot + 1n),
      "the next lot is not opened before it is over",
    );
  });

  test("stages that were released before an earlier one are deferred and submitted in their turn", async () => {
    const lot = scene.market.firstLot + 1n;
    let broken = true;
    scene.adapter.answer = (body) =>
      broken && stageOfRequest(body) === "plant"
        ? { status: 502, body: { error: { name: "BadSignature", message: "meter PLANT-1: wrong key" } } }
        : scene.market.answer(body);
    await scene.market.passLots(2);
    const [plant] = await until("the cause", async () => {
      const runs = await scene.runs(lot);
      return runs.length === 3 && /wrong key/.test(runs[0]!.cause ?? "") && runs;
    });
    assert.equal(plant!.state, "pending");
    await until("the others to be deferred", async () =>
      /deferred: an earlier stage/.test((await scene.runs(lot))[1]!.cause ?? ""),
    );
    assert.equal(await scene.market.stageOf(lot), 0);
    broken = false;
    await scene.closed(lot);
    const runs = await until("all delivered", async () => {
      const all = await scene.runs(lot);
      return all.every((run) => run.state === "delivered") && all;
    });
    assert.deepEqual(
      runs.map((run) => run.transactions.at(-1)!.purpose),
      ["fulfil", "submit", "submit"],
    );
  });

  test("a tampered record is refused by the contract with the cause in the run; the lot clears with the true one", async () => {
    const lot = scene.market.firstLot + 2n;
    let forged = true;
    scene.adapter.answer = (body) => scene.market.answer(body, forged && stageOfRequest(body) === "plant");
    await scene.market.passLots(3);
    const run = await until("the refusal", async () =>
      (await scene.runs(lot)).find((one) => /not signed by the meter's signer/.test(one.cause ?? "")),
    );
    assert.equal(run.stage.stage, 0);
    forged = false;
    await scene.closed(lot);
  });

  test("after the last lot that is to be opened nothing is", async () => {
    await scene.market.passLots(6);
    await scene.closed(scene.market.firstLot + 3n);
    await until("the opener to be done", async () => {
      const health = await scene.node.get<{ checks: { openings: { done: boolean }[] } }>("/health");
      return health.checks.openings[0]!.done;
    });
    await assert.rejects(scene.market.stageOf(scene.market.firstLot + 4n));
  });
});

test("clearings of several lots, with a gas limit that is too low: the last one takes what would be left over", async () => {
  const scene = await startMarketScene({
    lotsPerClearing: 3,
    spec: (text) => text.replace("gasLimit = 5000000", "gasLimit = 450000"),
  });
  const { market } = scene;
  const { feeder, firstLot } = market;
  await scene.start({ OPEN_FEEDERS: JSON.stringify([{ feeder, until: String(firstLot + 7n) }]) });
  try {
    await market.passLots(7);
    await until("the first three", async () => (await market.stageOf(market.firstLot + 2n)) === CLOSED);
    await assert.rejects(market.stageOf(market.firstLot + 5n), "five would leave two: they wait for the eighth");
    await market.passLots(8);
    await until("the last five", async () => (await market.stageOf(market.firstLot + 7n)) === CLOSED);
    const clearing = await market.contract.getFunction("clearingOf")(market.feeder, market.firstLot + 7n);
    assert.equal(Number(clearing.lots), 5);
    // The first callbacks ran out of gas and spent their requests: what they carried was submitted with more.
    const all = await scene.sent();
    assert.ok(all.some(({ outcome }) => outcome?.kind === "callback-failed" || outcome?.kind === "deferred"));
    assert.ok(all.some(({ purpose, outcome }) => purpose === "submit" && outcome?.kind === "delivered"));
  } finally {
    await scene.close();
  }
});
