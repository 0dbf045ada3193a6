import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { provisionSpec } from "../src/spec/job.ts";
import { type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { CHAIN_ID, type Chain, startChain } from "./fixtures/chain.ts";
import { type Market, startMarket } from "./fixtures/market.ts";
import { makeHome, type NodeHome, type RunningNode, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

const CLOSED = 3;
const lotReadings = readFileSync(join(import.meta.dirname, "../specs/lot-readings.toml"), "utf8");

interface RunInfo {
  id: string;
  state: string;
  requestId: string;
  cause: string | null;
  stage: { lot: string; stage: number };
  transactions: { purpose: string; outcome: { kind: string } }[];
}

describe("the energy market's lots", () => {
  let chain: Chain;
  let market: Market;
  let adapter: FakeAdapter;
  let home: NodeHome;
  let node: RunningNode;
  let stopMining: () => Promise<void>;

  const runsOf = async (lot: bigint): Promise<RunInfo[]> => {
    const runs = await node.get<{ id: string }[]>("/runs?limit=500");
    const all = await Promise.all(runs.map(({ id }) => node.get<RunInfo>(`/runs/${id}`)));
    return all.filter((run) => run.stage.lot === String(lot)).sort((a, b) => a.stage.stage - b.stage.stage);
  };
  const closed = (lot: bigint) =>
    until(`lot ${lot} to close`, async () => (await market.stageOf(lot)) === CLOSED, 20_000);
  const stageOfRequest = (body: Record<string, unknown>) => (body.data as { stage: string }).stage;

  before(async () => {
    chain = await startChain();
    market = await startMarket(chain);
    adapter = await startAdapter();
    adapter.answer = (body) => market.answer(body);
    const spec = provisionSpec(lotReadings, { contractAddress: market.book.operator, evmChainID: CHAIN_ID });
    home = makeHome({
      "lot-readings.toml": spec.replace('maxHold = "10m"', 'maxHold = "500ms"').replace("retries=720", "retries=2"),
    });
    stopMining = chain.mineEvery(100);
    node = await startNode(chain, home, {
      BRIDGES: JSON.stringify({ bijuli: adapter.url }),
      MARKET_ADDRESS: market.book.market,
      OPEN_FEEDERS: JSON.stringify([{ feeder: market.feeder, until: String(market.firstLot + 3n) }]),
    });
  });
  afterEach(() => {
    adapter.answer = (body) => market.answer(body);
  });
  after(async () => {
    await stopMining?.();
    await node?.kill();
    await adapter?.close();
    await chain?.close();
    home?.remove();
  });

  test("a lot is opened when the chain's time says that it is over, and its three stages land in order", async () => {
    await market.passLots(1);
    await closed(market.firstLot);
    const runs = await runsOf(market.firstLot);
    assert.deepEqual(
      runs.map((run) => run.state),
      ["delivered", "delivered", "delivered"],
    );
    const logs = await chain.provider.getLogs({
      address: market.book.operator,
      topics: [chain.operator.interface.getEvent("OracleResponse")!.topicHash],
      fromBlock: 0,
    });
    // getLogs gives them as the chain holds them.
    assert.deepEqual(
      logs.map((log) => log.topics[1]),
      runs.map((run) => run.requestId),
    );
    await assert.rejects(market.stageOf(market.firstLot + 1n), "the next lot is not opened before it is over");
  });

  test("stages that were released before an earlier one are deferred and submitted in their turn", async () => {
    const lot = market.firstLot + 1n;
    let broken = true;
    adapter.answer = (body) =>
      broken && stageOfRequest(body) === "plant"
        ? { status: 502, body: { error: { name: "BadSignature", message: "meter PLANT-1: wrong key" } } }
        : market.answer(body);
    await market.passLots(2);
    const [plant] = await until("the cause", async () => {
      const runs = await runsOf(lot);
      return runs.length === 3 && /wrong key/.test(runs[0]!.cause ?? "") && runs;
    });
    assert.equal(plant!.state, "pending");
    await until("the others to be deferred", async () =>
      /deferred: an earlier stage/.test((await runsOf(lot))[1]!.cause ?? ""),
    );
    assert.equal(await market.stageOf(lot), 0);
    broken = false;
    await closed(lot);
    const runs = await until("all delivered", async () => {
      const all = await runsOf(lot);
      return all.every((run) => run.state === "delivered") && all;
    });
    assert.deepEqual(
      runs.map((run) => run.transactions.at(-1)!.purpose),
      ["fulfil", "submit", "submit"],
    );
  });

  test("a tampered record is refused by the contract with the cause in the run; the lot clears with the true one", async () => {
    const lot = market.firstLot + 2n;
    let forged = true;
    adapter.answer = (body) => market.answer(body, forged && stageOfRequest(body) === "plant");
    await market.passLots(3);
    const run = await until("the refusal", async () =>
      (await runsOf(lot)).find((one) => /not signed by the meter's signer/.test(one.cause ?? "")),
    );
    assert.equal(run.stage.stage, 0);
    forged = false;
    await closed(lot);
  });

  test("after the last lot that is to be opened nothing is", async () => {
    await market.passLots(6);
    await closed(market.firstLot + 3n);
    await until("the opener to be done", async () => {
      const health = await node.get<{ checks: { openings: { done: boolean }[] } }>("/health");
      return health.checks.openings[0]!.done;
    });
    await assert.rejects(market.stageOf(market.firstLot + 4n));
  });
});

test("clearings of several lots, with a gas limit that is too low: the last one takes what would be left over", async () => {
  const chain = await startChain();
  const market = await startMarket(chain, { lotsPerClearing: 3 });
  const adapter = await startAdapter();
  adapter.answer = (body) => market.answer(body);
  const home = makeHome({
    "lot-readings.toml": provisionSpec(lotReadings, {
      contractAddress: market.book.operator,
      evmChainID: CHAIN_ID,
    }).replace("gasLimit = 5000000", "gasLimit = 450000"),
  });
  const stop = chain.mineEvery(100);
  const node = await startNode(chain, home, {
    BRIDGES: JSON.stringify({ bijuli: adapter.url }),
    MARKET_ADDRESS: market.book.market,
    OPEN_FEEDERS: JSON.stringify([{ feeder: market.feeder, until: String(market.firstLot + 7n) }]),
  });
  try {
    await market.passLots(7);
    await until("the first three", async () => (await market.stageOf(market.firstLot + 2n)) === CLOSED);
    await assert.rejects(market.stageOf(market.firstLot + 5n), "five would leave two: they wait for the eighth");
    await market.passLots(8);
    await until("the last five", async () => (await market.stageOf(market.firstLot + 7n)) === CLOSED);
    const clearing = await market.contract.getFunction("clearingOf")(market.feeder, market.firstLot + 7n);
    assert.equal(Number(clearing.lots), 5);
  } finally {
    await stop();
    await node.kill();
    await adapter.close();
    await chain.close();
    home.remove();
  }
});
