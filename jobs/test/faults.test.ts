import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Wallet } from "ethers";
import { echo, type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, KEYS, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, runCli, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

interface Delivered {
  group: string;
  number: bigint;
  data: string;
  blockNumber: bigint;
}

describe("a node among faults", () => {
  let chain: Chain;
  let adapter: FakeAdapter;
  let home: NodeHome;
  let node: RunningNode;
  let stopMining: () => Promise<void>;
  let specText: string;

  const request = (group: string, text: string, count = 1, payment = 0n) =>
    chain.requester.getFunction("request")(SPEC_ID, payment, group, text, count);
  const deliveries = async (group: string): Promise<Delivered[]> =>
    ((await chain.requester.getFunction("allDeliveries")()) as Delivered[]).filter((one) => one.group === group);
  const runsOf = async (group: string) =>
    (await node.get<Record<string, unknown>[]>("/runs?limit=500")).filter((run) => run.group === group);
  const delivered = (group: string, count: number) =>
    until(`${count} deliveries of ${group}`, async () => (await deliveries(group)).length >= count);
  const restart = async (settings: Record<string, string> = {}) => {
    await node?.kill();
    node = await startNode(chain, home, { BRIDGES: JSON.stringify({ words: adapter.url }), ...settings });
  };

  before(async () => {
    chain = await startChain();
    adapter = await startAdapter();
    specText = await spec(chain);
    home = makeHome({ "words.toml": specText });
    await restart();
    stopMining = chain.mineEvery(100);
  });
  afterEach(() => {
    adapter.answer = (body) => echo(body);
  });
  after(async () => {
    await stopMining?.();
    await node?.kill();
    await adapter?.close();
    await chain?.close();
    home?.remove();
  });

  test("the RPC is cut and comes back: nothing is lost", async () => {
    await request("cut", "a", 2);
    await delivered("cut", 2);
    const pending = request("cut", "b", 2);
    await pending;
    chain.pause();
    await sleep(1_000);
    chain.resume();
    await delivered("cut", 4);
    assert.deepEqual(
      (await deliveries("cut")).map((one) => Number(one.number)),
      [0, 1, 2, 3],
    );
  });

  test("a sender that is not authorized is named in the run; the request is delivered once it is authorized again", async () => {
    const senders = chain.operator.getFunction("setAuthorizedSenders");
    await (await senders([new Wallet(KEYS[3]).address])).wait();
    await request("unauthorized", "x");
    const run = await until("the cause", async () =>
      (await runsOf("unauthorized")).find((one) => /would revert: Not authorized sender/.test(String(one.cause))),
    );
    assert.equal(run.state, "ready");
    await (await senders([new Wallet(KEYS[1]).address])).wait();
    await delivered("unauthorized", 1);
  });

  test("a sender without ether is told in /health; its transactions go out when it has some", async () => {
    const { address } = new Wallet(KEYS[1]);
    const balance = await chain.provider.getBalance(address);
    await chain.provider.send("anvil_setBalance", [address, "0x0"]);
    await request("poor", "x", 2);
    await until("the problem", async () =>
      /not enough ether|insufficient funds/i.test(JSON.stringify(await node.get("/health"))),
    );
    assert.equal((await fetch(`${node.url}/health`)).status, 503);
    await chain.provider.send("anvil_setBalance", [address, `0x${balance.toString(16)}`]);
    await delivered("poor", 2);
  });

  test("a foreign transaction of the same key takes a nonce: the callback goes out with another", async () => {
    const wallet = new Wallet(KEYS[1], chain.provider);
    adapter.answer = (body) => ({ ...echo(body), delayMs: 400 });
    await request("foreign", "x");
    await (await wallet.sendTransaction({ to: wallet.address, value: 1n })).wait();
    await delivered("foreign", 1);
    assert.equal((await deliveries("foreign")).length, 1);
  });

  test("an adapter that hangs holds up its own group only", async () => {
    adapter.answer = (body) => ((body.data as { text: string }).text === "hang" ? { hang: true } : echo(body));
    await request("hanging", "hang");
    await request("hanging", "behind");
    await request("free", "x", 3);
    await delivered("free", 3);
    assert.equal((await deliveries("hanging")).length, 0);
    adapter.answer = (body) => echo(body);
    await delivered("hanging", 2);
    assert.deepEqual(
      (await deliveries("hanging")).map((one) => Number(one.number)),
      [0, 1],
    );
  });

  test("a request that its requester cancelled is not fulfilled, and its successor goes on", async () => {
    adapter.answer = (body) => ((body.data as { text: string }).text === "never" ? { status: 500 } : echo(body));
    const asked = await (await request("cancelled", "never")).wait();
    const log = asked.logs.find((one: { address: string }) => one.address === chain.operator.target);
    const one = chain.operator.interface.decodeEventLog("OracleRequest", log.data, log.topics);
    await request("cancelled", "next");
    await chain.provider.send("evm_increaseTime", [301]);
    await (
      await chain.requester.getFunction("cancel")(
        one.requestId,
        one.payment,
        one.callbackFunctionId,
        one.cancelExpiration,
      )
    ).wait();
    await delivered("cancelled", 1);
    await until("the states", async () => {
      const states = (await runsOf("cancelled")).map((run) => run.state).sort();
      return states.join() === "cancelled,delivered";
    });
  });

  test("reorgs of many depths: what the chain holds in the end is delivered once, in order", async () => {
    await stopMining();
    const oracleRequest = chain.operator.interface.getEvent("OracleRequest")!.topicHash;
    for (const depth of [1, 2, 3, 5, 8, 10]) {
      const group = `reorg ${depth}`;
      const stop = chain.mineEvery(60);
      adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 150 });
      await request(group, "r", 2);
      await sleep(150);
      await request(group, "r", 2);
      await sleep(100 + 40 * depth);
      await stop();
      await chain.provider.send("anvil_reorg", [depth, []]);
      // After a reorg its pool keeps transactions that it never mines; a pool that forgets them is what a node has to bear.
      await chain.provider.send("anvil_dropAllTransactions", []);
      const again = chain.mineEvery(60);
      // What a wallet does when its transaction fell out; nonces of the requester start over.
      (chain.requester.runner as unknown as { reset(): void }).reset();
      await request(group, "after", 1);
      const asked = async () => {
        const logs = await chain.provider.getLogs({
          address: chain.operator.target as string,
          topics: [oracleRequest],
          fromBlock: 0,
        });
        return logs.filter((log) => {
          const { data } = chain.operator.interface.decodeEventLog("OracleRequest", log.data, log.topics);
          return Buffer.from(data.slice(2), "hex").includes(`${group}`);
        }).length;
      };
      await until(`all requests of ${group}`, async () => {
        const count = await asked();
        return count > 0 && (await deliveries(group)).length === count;
      });
      await sleep(200);
      const numbers = (await deliveries(group)).map((one) => Number(one.number));
      assert.deepEqual(numbers, [...numbers.keys()], `${group}: each once, in order`);
      await again();
    }
    stopMining = chain.mineEvery(100);
  });

  test("payment below the minimum and foreign requesters are rejected with the reason", async () => {
    const other = makeHome({
      "words.toml": specText.replace(
        "minIncomingConfirmations = 1",
        'minIncomingConfirmations = 1\nminContractPaymentLinkJuels = "1000"',
      ),
    });
    const second = await startNode(chain, other, {
      BRIDGES: JSON.stringify({ words: adapter.url }),
      NODE_KEY: KEYS[2],
      START_BLOCK: String(await chain.provider.getBlockNumber()),
    });
    try {
      await request("cheap", "x", 1, 999n);
      const run = await until("the rejection", async () =>
        (await second.get<Record<string, unknown>[]>("/runs")).find((one) => one.group === "cheap"),
      );
      assert.equal(run.state, "rejected");
      assert.match(String(run.cause), /it pays 999 juels; 1000 are wanted/);
    } finally {
      await second.kill();
      other.remove();
    }
  });

  test("strict: the next one is sent only when the one before was delivered", async () => {
    writeSpec(specText.replace('group = "$(cbor.group)"', 'group = "$(cbor.group)"\nmode = "strict"'));
    await restart();
    adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 100 });
    await request("strict", "s", 4);
    await delivered("strict", 4);
    const all = await deliveries("strict");
    assert.deepEqual(
      all.map((one) => Number(one.number)),
      [0, 1, 2, 3],
    );
    assert.equal(new Set(all.map((one) => one.blockNumber)).size, 4, "each in a block of its own");
  });

  test("a request that fails longer than maxHold lets its successors go first and stays retryable", async () => {
    writeSpec(specText.replace('group = "$(cbor.group)"', 'group = "$(cbor.group)"\nmaxHold = "700ms"'));
    await restart();
    let broken = true;
    adapter.answer = (body) =>
      broken && (body.data as { text: string }).text === "bad" ? { status: 500 } : echo(body);
    await request("held", "bad");
    await request("held", "good");
    await delivered("held", 1);
    assert.equal((await deliveries("held"))[0]!.number, 1n);
    broken = false;
    await delivered("held", 2);
    writeSpec(specText);
  });

  test("bad settings and another chain end the start with one line and code 2", async () => {
    const env = {
      CHAIN_ID: "5",
      RPC_URL: chain.url,
      JOBS_DIR: home.jobs,
      DATA_DIR: `${home.folder}/other`,
      NODE_KEY: KEYS[2],
      NODE_PORT: "0",
    };
    const wrong = await runCli(["start"], env);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /CHAIN_ID is 5, but the RPC serves chain 31337/);
    const settings = await runCli(["start"], { ...env, CHAIN_ID: "x", NODE_PORT: "99999" });
    assert.equal(settings.code, 2);
    assert.equal(settings.stderr.trim().split("\n").length, 2, settings.stderr);
    const used = await runCli(["start"], { ...env, CHAIN_ID: "31337", NODE_PORT: new URL(node.url).port });
    assert.equal(used.code, 2);
    assert.match(used.stderr, /is in use/);
  });

  function writeSpec(text: string): void {
    home.write("words.toml", text);
  }
});
