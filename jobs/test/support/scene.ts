import type { ContractTransactionReceipt } from "ethers";
import { echo, type FakeAdapter, startAdapter } from "../fixtures/adapter.ts";
import { type Chain, startChain } from "../fixtures/chain.ts";
import { JOB_ID, makeHome, type NodeHome, type RunningNode, spec, specIdOf, startNode } from "../fixtures/node.ts";
import { until } from "../fixtures/until.ts";

export interface Delivered {
  group: string;
  number: bigint;
  data: string;
  blockNumber: bigint;
}

export interface ShownRun {
  id: string;
  requestId: string;
  group: string;
  state: string;
  cause: string | null;
  attempts: number;
  [name: string]: unknown;
}

export interface SceneOptions {
  /** Settings of every node of the scene; the adapter's address stands for ADAPTER. */
  settings?: Readonly<Record<string, string>>;
  spec?: Parameters<typeof spec>[1];
  /** Specs beside the first, each with an id of its own. */
  more?: Readonly<Record<string, Parameters<typeof spec>[1]>>;
  /** Whole specs beside those, for an Operator. */
  specs?: (operator: string) => Readonly<Record<string, string>>;
  /** Ms between blocks. */
  mineMs?: number;
  /** Keys that the Operator lets send. */
  senders?: readonly string[];
  /** Without: none is started. */
  nodes?: number;
}

/** What nearly every test of the node stands on: a chain with the real Operator, an adapter, a node, and blocks that come. */
export interface Scene {
  chain: Chain;
  adapter: FakeAdapter;
  home: NodeHome;
  /** The first (or only) node. */
  readonly node: RunningNode;
  nodes: RunningNode[];
  specText: string;
  /** Starts one more node. */
  start(settings?: Readonly<Record<string, string>>): Promise<RunningNode>;
  /** Kills all nodes and starts one. */
  restart(settings?: Readonly<Record<string, string>>): Promise<RunningNode>;
  /** Asks for `count` words of a group, in one transaction. */
  request(
    group: string,
    text: string,
    count?: number,
    options?: { payment?: bigint; jobId?: string },
  ): Promise<{ wait(): Promise<ContractTransactionReceipt> }>;
  deliveries(group: string): Promise<Delivered[]>;
  numbers(group: string): Promise<number[]>;
  /** Waits for that many deliveries of a group. */
  delivered(group: string, count: number, timeoutMs?: number): Promise<void>;
  runs(group: string): Promise<ShownRun[]>;
  /** Waits for a run of a group whose cause reads so. */
  cause(group: string, cause: RegExp): Promise<ShownRun>;
  stopMining(): Promise<void>;
  startMining(ms?: number): void;
  close(): Promise<void>;
}

export async function startScene(options: SceneOptions = {}): Promise<Scene> {
  const chain = await startChain(options.senders === undefined ? {} : { senders: options.senders });
  const adapter = await startAdapter();
  const specText = await spec(chain, options.spec);
  const home = makeHome({ "words.toml": specText });
  for (const [name, other] of Object.entries(options.more ?? {})) {
    home.write(`${name}.toml`, await spec(chain, { name, ...other }));
  }
  for (const [name, text] of Object.entries(options.specs?.(await chain.operator.getAddress()) ?? {})) {
    home.write(`${name}.toml`, text);
  }
  const nodes: RunningNode[] = [];
  let stop: (() => Promise<void>) | undefined;
  const ask = (name: string) => chain.requester.getFunction(name);
  const scene: Scene = {
    chain,
    adapter,
    home,
    nodes,
    specText,
    get node() {
      return nodes[0]!;
    },
    async start(settings = {}) {
      const node = await startNode(chain, home, {
        BRIDGES: JSON.stringify({ words: adapter.url }),
        ...options.settings,
        ...settings,
      });
      nodes.push(node);
      return node;
    },
    async restart(settings = {}) {
      for (const node of nodes.splice(0)) await node.kill();
      return await scene.start(settings);
    },
    request: (group, text, count = 1, { payment = 0n, jobId = JOB_ID } = {}) =>
      ask("request")(specIdOf(jobId), payment, group, text, count),
    deliveries: async (group) => [...((await ask("deliveriesOf")(group)) as Delivered[])],
    numbers: async (group) => (await scene.deliveries(group)).map((one) => Number(one.number)),
    async delivered(group, count, timeoutMs) {
      const enough = async () => Number(await ask("countOf")(group)) >= count;
      await until(`${count} deliveries of ${group}`, enough, timeoutMs);
    },
    runs: async (group) => await scene.node.get<ShownRun[]>(`/runs?limit=500&group=${encodeURIComponent(group)}`),
    cause: (group, cause) =>
      until(`${group}: ${cause}`, async () => (await scene.runs(group)).find((run) => cause.test(run.cause ?? ""))),
    async stopMining() {
      await stop?.();
      stop = undefined;
    },
    startMining(ms = options.mineMs ?? 100) {
      stop ??= chain.mineEvery(ms);
    },
    async close() {
      await scene.stopMining();
      for (const node of nodes) await node.kill();
      await adapter.close();
      await chain.close();
      home.remove();
    },
  };
  try {
    for (let count = options.nodes ?? 1; count > 0; count--) await scene.start();
  } catch (error) {
    await scene.close();
    throw error;
  }
  scene.startMining();
  return scene;
}

/** A scene's adapter answers as it should again. */
export function wellAgain(scene: Scene): void {
  scene.adapter.answer = (body) => echo(body);
}
