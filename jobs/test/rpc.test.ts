import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type FakeRpc, startRpc } from "./fixtures/rpc.ts";
import { until } from "./fixtures/until.ts";
import { settled } from "./support/reckoning.ts";
import { type Scene, startScene } from "./support/scene.ts";

describe("an RPC that misbehaves", () => {
  let scene: Scene;
  let rpc: FakeRpc;

  before(async () => {
    scene = await startScene({ nodes: 0 });
    rpc = await startRpc(scene.chain.url);
    await scene.start({ RPC_URL: rpc.url, RPC_TIMEOUT_MS: "2000" });
  });
  afterEach(() => {
    rpc.instead = () => undefined;
    rpc.change = (_call, result) => result;
    rpc.raw = undefined;
    rpc.delayMs = 0;
  });
  after(async () => {
    await scene?.close();
    await rpc?.close();
  });

  test("it limits the range of logs: they are asked for in halves", async () => {
    rpc.raw = "<html>maintenance</html>"; // what it missed meanwhile is asked for in one range
    await scene.request("ranges", "x", 2);
    await scene.chain.mine(12);
    await until("the problem", async () => (await fetch(`${scene.node.url}/health`)).status === 503);
    rpc.instead = ({ method, params }) => {
      const [range] = params as [{ fromBlock: string; toBlock: string }];
      return method === "eth_getLogs" && Number(range.toBlock) - Number(range.fromBlock) > 4
        ? { error: { code: -32005, message: "query exceeds the maximum block range of 5" } }
        : undefined;
    };
    rpc.raw = undefined;
    await scene.delivered("ranges", 2);
  });

  test("it answers late", async () => {
    rpc.delayMs = 300;
    await scene.request("late", "x", 3);
    await scene.delivered("late", 3, 30_000);
    assert.deepEqual(await scene.numbers("late"), [0, 1, 2]);
  });

  test("its head falls back by some blocks, as behind a load balancer: nothing is taken for a reorg", async () => {
    await scene.request("lagging", "x", 3);
    await scene.delivered("lagging", 3);
    const reorgs = () => scene.node.log.filter(({ msg }) => msg === "reorg").length;
    const before = reorgs();
    let lag = false;
    const real = scene.chain.provider;
    const at = async () =>
      await real.send("eth_getBlockByNumber", [`0x${((await real.getBlockNumber()) - 4).toString(16)}`, false]);
    let old = await at();
    const follow = setInterval(
      () =>
        void at().then((block) => {
          old = block;
        }),
      50,
    );
    const flicker = setInterval(() => {
      lag = !lag;
    }, 120);
    rpc.change = ({ method, params }, result) =>
      method === "eth_getBlockByNumber" && params[0] === "latest" && lag ? old : result;
    try {
      await scene.request("lagging", "x", 3);
      await scene.delivered("lagging", 6);
      await sleep(400);
    } finally {
      clearInterval(follow);
      clearInterval(flicker);
    }
    assert.equal(reorgs(), before);
    assert.deepEqual(await scene.numbers("lagging"), [0, 1, 2, 3, 4, 5]);
  });

  test("it lies about blocks for a while: their requests are given up, come back with their blocks, and are delivered once", async () => {
    const forged = (hash: string) => `${hash.slice(0, -4)}dead`;
    const from = (await scene.chain.provider.getBlockNumber()) + 1;
    await scene.request("lied about", "x", 2);
    await scene.delivered("lied about", 2);
    rpc.change = (_call, result) => {
      const block = result as { number?: string; hash?: string; parentHash?: string } | null;
      if (block?.hash === undefined || block.parentHash === undefined || Number(block.number) < from) return result;
      // A branch that hangs together: told of only the newest block, the node would not look at those before.
      const parentHash = Number(block.number) === from ? block.parentHash : forged(block.parentHash);
      return { ...block, hash: forged(block.hash), parentHash };
    };
    await scene.cause("lied about", /a reorg took its block/);
    rpc.change = (_call, result) => result;
    await until("both to be done again", async () => {
      const runs = await scene.runs("lied about");
      return runs.length === 2 && runs.every(({ state }) => state === "delivered");
    });
    assert.equal(await settled(scene, "lied about"), 2);
  });
});
