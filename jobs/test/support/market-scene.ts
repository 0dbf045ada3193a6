import { readFileSync } from "node:fs";
import { join } from "node:path";
import { provisionSpec } from "../../src/spec/job.ts";
import { type FakeAdapter, startAdapter } from "../fixtures/adapter.ts";
import { CHAIN_ID, type Chain, startChain } from "../fixtures/chain.ts";
import { type Market, type MarketOptions, startMarket } from "../fixtures/market.ts";
import { makeHome, type RunningNode, startNode } from "../fixtures/node.ts";
import { until } from "../fixtures/until.ts";

/** A clearing's last stage. */
export const CLOSED = 3;

export interface MarketRun {
  id: string;
  state: string;
  requestId: string;
  cause: string | null;
  stage: { lot: string; stage: number };
  transactions: { purpose: string; outcome: { kind: string } }[];
}

/** A market with signed readings behind an adapter, blocks that come, and a node that serves `jobs/specs/lot-readings.toml`. */
export interface MarketScene {
  chain: Chain;
  market: Market;
  adapter: FakeAdapter;
  readonly node: RunningNode;
  /** Starts the node, anew if it runs. */
  start(settings?: Readonly<Record<string, string>>): Promise<RunningNode>;
  opened(lot: bigint): Promise<void>;
  closed(lot: bigint): Promise<void>;
  /** The runs of a clearing, stage by stage. */
  runs(lot: bigint): Promise<MarketRun[]>;
  /** All that the node sent, in its order. */
  sent(): Promise<{ purpose: string; outcome: { kind: string } | null }[]>;
  /** The adapter answers as it should. */
  well(): void;
  close(): Promise<void>;
}

export async function startMarketScene(
  options: MarketOptions & { settings?: Readonly<Record<string, string>>; spec?: (text: string) => string } = {},
): Promise<MarketScene> {
  const chain = await startChain();
  const market = await startMarket(chain, options);
  const adapter = await startAdapter();
  const template = readFileSync(join(import.meta.dirname, "../../specs/lot-readings.toml"), "utf8");
  const spec = provisionSpec(template, { contractAddress: market.book.operator, evmChainID: CHAIN_ID });
  const home = makeHome({ "lot-readings.toml": options.spec?.(spec) ?? spec });
  const stopMining = chain.mineEvery(100);
  let node: RunningNode | undefined;
  const stage = async (lot: bigint) => await market.stageOf(lot).catch(() => -1);
  const scene: MarketScene = {
    chain,
    market,
    adapter,
    get node() {
      return node!;
    },
    async start(settings = {}) {
      await node?.kill();
      node = await startNode(chain, home, {
        BRIDGES: JSON.stringify({ bijuli: adapter.url }),
        MARKET_ADDRESS: market.book.market,
        // The chain's time is set forward by lots.
        CLOCK_TOLERANCE_SECONDS: "0",
        ...options.settings,
        ...settings,
      });
      return node;
    },
    opened: async (lot) => void (await until(`lot ${lot} to be opened`, async () => (await stage(lot)) !== -1)),
    closed: async (lot) => void (await until(`lot ${lot} to close`, async () => (await stage(lot)) === CLOSED, 20_000)),
    async runs(lot) {
      const shown = await scene.node.get<{ id: string; lot: string }[]>("/runs?limit=500");
      const own = shown.filter((run) => run.lot === String(lot));
      const all = await Promise.all(own.map(({ id }) => scene.node.get<MarketRun>(`/runs/${id}`)));
      return all.sort((a, b) => a.stage.stage - b.stage.stage);
    },
    sent: async () =>
      (await scene.node.get<Awaited<ReturnType<MarketScene["sent"]>>>("/transactions?limit=500")).reverse(),
    well() {
      adapter.answer = (body) => market.answer(body);
    },
    async close() {
      await stopMining();
      await node?.kill();
      await adapter.close();
      await chain.close();
      home.remove();
    },
  };
  scene.well();
  return scene;
}
