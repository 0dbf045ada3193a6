import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { clockFromFile, systemClock } from "@bijuli/protocol";
import { Wallet } from "ethers";
import { ChainClock } from "../src/chain/chain-clock.ts";
import { KEYS } from "./fixtures/chain.ts";
import { type SilentProxy, startProxy } from "./fixtures/proxy.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, type ShownRun, startScene, wellAgain } from "./support/scene.ts";

const DEEP = "c0f00000-d0d2-476c-a1a8-72dfb6633f46";
const STRICT_REVERT = "fa110000-d0d2-476c-a1a8-72dfb6633f46";
const senders = KEYS.slice(1);
const addresses = senders.map((key) => new Wallet(key).address);

describe("keys, fees, confirmations and transports", () => {
  let scene: Scene;
  const health = async () =>
    (await scene.node.get<{ problems: string[]; checks: Record<string, unknown> }>("/health")) as {
      problems: string[];
      checks: Record<string, unknown>;
    };
  const problem = (pattern: RegExp) =>
    until(`the problem ${pattern}`, async () => (await health()).problems.find((one) => pattern.test(one)));
  const senderOf = async (run: ShownRun) => {
    const transaction = await scene.chain.provider.getTransaction(String(run.transaction));
    return { from: transaction!.from, to: transaction!.to };
  };

  let proxy: SilentProxy;

  before(async () => {
    scene = await startScene({
      senders,
      settings: { NODE_KEY: senders.join(","), BUMP_AFTER_BLOCKS: "1", MAX_FEE_WEI: String(20n * 10n ** 9n) },
      more: {
        deep: { id: DEEP, send: "minConfirmations=12" },
        revert: { id: STRICT_REVERT, send: "minConfirmations=1 failOnRevert=true" },
      },
    });
    proxy = await startProxy(scene.chain.port);
  });
  afterEach(() => wellAgain(scene));
  after(async () => {
    await scene?.close();
    await proxy?.close();
  });

  test("several keys send at once, and a group stays with its key, also over a restart", async () => {
    const groups = [...Array(9).keys()].map((index) => `keys ${index}`);
    for (const group of groups) await scene.request(group, "x", 2);
    for (const group of groups) await scene.delivered(group, 2);
    await scene.request("deep", "x", 1, { jobId: DEEP });
    await scene.delivered("deep", 1);
    const waiting = await scene.cause("deep", /delivered in block \d+: waits for 12 confirmations/);
    assert.equal(waiting.state, "sent");
    await scene.restart();
    for (const group of groups) await scene.request(group, "x", 2);
    const used = new Set<string>();
    for (const group of groups) {
      await scene.delivered(group, 4);
      const runs = await until("its runs", async () => {
        const all = await scene.runs(group);
        return all.every((run) => run.state === "delivered") && all;
      });
      const own = new Set(await Promise.all(runs.map(async (run) => (await senderOf(run)).from)));
      assert.equal(own.size, 1, `${group} has one sender`);
      used.add([...own][0]!);
      assert.deepEqual(await scene.numbers(group), [0, 1, 2, 3]);
    }
    assert.ok(used.size > 1, "several keys send");
  });

  test("bids rise to the cap and no higher, which is told; the transaction goes when fees fall", async () => {
    await scene.stopMining();
    await scene.request("fees", "x");
    await scene.chain.mine();
    await until("its transaction", async () => (await scene.runs("fees"))[0]?.state === "sent");
    await scene.chain.provider.send("anvil_setNextBlockBaseFeePerGas", [`0x${(200n * 10n ** 9n).toString(16)}`]);
    scene.startMining();
    assert.match(
      await problem(/^transaction \d+ of 0x\w+: stuck/),
      /stuck: \d+ wei per gas is not enough, and the cap is 20000000000/,
    );
    const bids = scene.node.log
      .filter(({ msg }) => msg === "bidding higher")
      .map(({ maxFee }) => BigInt(String(maxFee)));
    assert.equal(bids.at(-1), 20n * 10n ** 9n);
    assert.ok(
      bids.every((bid, index) => bid <= 20n * 10n ** 9n && bid > (bids[index - 1] ?? 0n)),
      String(bids),
    );
    await scene.delivered("fees", 1, 30_000);
    await until("health", async () => (await health()).problems.length === 0);
    assert.equal((await scene.deliveries("fees")).length, 1);
  });

  test("minConfirmations: the run is at an end when so many blocks hold its delivery, also over a restart", async () => {
    // Asked for before the restart, in the first test.
    const run = await until("its end", async () => (await scene.runs("deep")).find((one) => one.state === "delivered"));
    assert.ok((await scene.chain.provider.getBlockNumber()) >= Number(run.deliveryBlock) + 11);
  });

  test("failOnRevert: a reverted transaction ends the run, with the cause", async () => {
    const set = scene.chain.operator.getFunction("setAuthorizedSenders");
    await (await set([scene.chain.operator.target])).wait();
    await scene.request("revert", "x", 1, { jobId: STRICT_REVERT });
    const run = await scene.cause("revert", /the transaction reverted, and the spec says failOnRevert/);
    assert.equal(run.state, "abandoned");
    await (await set(addresses)).wait();
    const response = await fetch(`${scene.node.url}/runs/${run.id}/again`, { method: "POST" });
    assert.equal(response.status, 202);
    await scene.delivered("revert", 1);
  });

  test("a clock that is off is named", async () => {
    await scene.chain.provider.send("evm_increaseTime", [3600]);
    assert.match(await problem(/clock/), /^clock: this machine's clock is 3\d\d\d s behind the newest block's time$/);
    assert.equal((await fetch(`${scene.node.url}/health`)).status, 503);
    const head = { number: 1, hash: "", parentHash: "", baseFee: 0n };
    const now = Date.now();
    const chainSays = (clock: ChainClock, seconds: number) => {
      clock.onHead({ ...head, timestamp: BigInt(Math.floor(now / 1000) + seconds) });
      return clock.problem;
    };
    const real = new ChainClock(systemClock(), 60_000);
    assert.equal(chainSays(real, -30), undefined);
    assert.match(
      chainSays(real, -90)!,
      /block's time is \d+ s behind this machine's clock: the clock is ahead, or the RPC lags/,
    );
    // A virtual clock that runs 100 times as fast: the tolerance is real time.
    const file = join(scene.home.folder, "clock.json");
    writeFileSync(file, JSON.stringify({ origin: now, speed: 100, startedAt: now }));
    const virtual = new ChainClock(clockFromFile(file), 60_000);
    assert.equal(chainSays(virtual, 5_000), undefined);
    assert.match(chainSays(virtual, 7_000)!, /clock is \d+ s behind/);
  });

  test("through an AuthorizedForwarder, which alone the Operator lets send", async () => {
    const forwarder = await scene.chain.deployForwarder(senders);
    await (await scene.chain.operator.getFunction("setAuthorizedSenders")([forwarder.target])).wait();
    await scene.restart({
      FORWARDER: String(forwarder.target),
      CLOCK_TOLERANCE_SECONDS: "0",
      RPC_URL: `ws://127.0.0.1:${proxy.port},${scene.chain.url}`,
      RPC_TIMEOUT_MS: "1000",
    });
    for (const group of ["forwarded 1", "forwarded 2"]) {
      await scene.request(group, "x", 3);
      await scene.delivered(group, 3);
      const [run] = await until("its run", async () => {
        const all = await scene.runs(group);
        return all.every((one) => one.state === "delivered") && all;
      });
      assert.equal((await senderOf(run!)).to, forwarder.target);
    }
  });

  test("WebSocket is transport and subscription; one that falls silent is passed over, and opened anew when it can be", async () => {
    await scene.request("socket", "x", 3);
    await scene.delivered("socket", 3);
    await until("the subscription", async () => (await health()).checks.subscription === true);
    proxy.freeze();
    await scene.request("socket", "x", 3);
    await scene.delivered("socket", 6, 20_000);
    await until("the silence to be noticed", async () =>
      scene.node.log.some(({ msg }) => /keeps silent about new blocks/.test(String(msg))),
    );
    proxy.thaw();
    await until("the subscription again", async () => (await health()).checks.subscription === true);
    await scene.request("socket", "x", 3);
    await scene.delivered("socket", 9);
    assert.deepEqual(await scene.numbers("socket"), [...Array(9).keys()]);
  });
});
