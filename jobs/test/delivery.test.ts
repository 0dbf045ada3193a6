import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Answer, echo, type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, runCli, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

interface Delivered {
  group: string;
  number: bigint;
  data: string;
  blockNumber: bigint;
}

describe("requests of the real Operator on a real chain", () => {
  let chain: Chain;
  let adapter: FakeAdapter;
  let home: NodeHome;
  let node: RunningNode;
  let stopMining: () => Promise<void>;

  const request = (group: string, text: string, count = 1, payment = 0n) =>
    chain.requester.getFunction("request")(SPEC_ID, payment, group, text, count);
  const deliveries = async (group: string): Promise<Delivered[]> =>
    ((await chain.requester.getFunction("allDeliveries")()) as Delivered[]).filter((one) => one.group === group);
  const runsOf = async (group: string) =>
    (await node.get<Record<string, unknown>[]>("/runs?limit=500")).filter((run) => run.group === group);

  before(async () => {
    chain = await startChain();
    adapter = await startAdapter();
    home = makeHome({ "words.toml": await spec(chain) });
    node = await startNode(chain, home, { BRIDGES: JSON.stringify({ words: adapter.url }) });
    stopMining = chain.mineEvery(100);
  });
  after(async () => {
    await stopMining?.();
    await node?.kill();
    await adapter?.close();
    await chain?.close();
    home?.remove();
  });

  test("a request is fulfilled with what the adapter answered, and the run says so", async () => {
    await request("one", "hello");
    const [delivery] = await until("the delivery", async () => {
      const all = await deliveries("one");
      return all.length > 0 && all;
    });
    assert.equal(Buffer.from(delivery!.data.slice(2), "hex").toString(), "hello");
    const run = await until("the run", async () => (await runsOf("one")).find((one) => one.state === "delivered"));
    const whole = await node.get<{ tasks: { id: string }[]; transactions: { outcome: { kind: string } }[] }>(
      `/runs/${run.id}`,
    );
    assert.deepEqual(
      whole.tasks.map((task) => task.id),
      ["decode_log", "decode_cbor", "fetch", "result", "encode_data", "encode_tx", "submit_tx"],
    );
    assert.equal(whole.transactions[0]!.outcome.kind, "delivered");
  });

  test("requests of a group arrive in their order, several in one block, however slow their adapters are", async () => {
    adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 300 });
    await request("ordered", "x", 12);
    await request("other", "y", 3);
    const all = await until("twelve deliveries", async () => {
      const found = await deliveries("ordered");
      return found.length === 12 && found;
    });
    assert.deepEqual(
      all.map((one) => Number(one.number)),
      [...Array(12).keys()],
    );
    assert.ok(new Set(all.map((one) => one.blockNumber)).size < 12, "several share a block");
    adapter.answer = (body) => echo(body);
  });

  test("a failing adapter is tried again; its cause stands in the run, and the request is served once it is put right", async () => {
    let broken = true;
    adapter.answer = (body) =>
      broken
        ? {
            status: 502,
            body: {
              status: "errored",
              statusCode: 502,
              error: { name: "BadReading", message: "meter M-1: wrong key" },
            },
          }
        : echo(body);
    await request("broken", "fixed", 2);
    const failing = await until("the cause", async () => (await runsOf("broken")).find((run) => run.cause !== null));
    assert.match(String(failing.cause), /task fetch.*502.*meter M-1: wrong key/);
    assert.equal((await deliveries("broken")).length, 0);
    await request("healthy", "at once");
    broken = false;
    await until("both deliveries", async () => (await deliveries("broken")).length === 2);
    await until("the other group", async () => (await deliveries("healthy")).length === 1);
    adapter.answer = (body) => echo(body);
  });

  test("a callback that reverts, and one that runs out of gas, spend the request and are told apart from a delivery", async () => {
    await request("reverting", "revert");
    await request("burning", "burn");
    await request("reverting", "after");
    for (const group of ["reverting", "burning"]) {
      const run = await until(`${group}'s end`, async () =>
        (await runsOf(group)).find((one) => one.state === "callback-failed"),
      );
      assert.match(String(run.cause), /no ChainlinkFulfilled/);
    }
    await until("its successor", async () => (await deliveries("reverting")).length === 1);
  });

  test("a request that is no CBOR is marked with the cause, and the next one is served", async () => {
    await chain.requester.getFunction("requestRaw")(SPEC_ID, 0n, "0xff0102");
    const run = await until("the marked run", async () =>
      (await node.get<Record<string, unknown>[]>("/runs?limit=500")).find((one) =>
        /malformed CBOR/.test(String(one.cause)),
      ),
    );
    assert.equal(run.state, "pending");
    await request("next", "served");
    await until("the next one", async () => (await deliveries("next")).length === 1);
  });

  test("whatever an adapter answers amiss ends in a run with a cause, and the next request is served", async () => {
    const amiss: [answer: Answer, cause: RegExp][] = [
      [{ status: 200, body: { statusCode: 200, error: { name: "Oops", message: "no" } } }, /answered 500: Oops: no/],
      [{ raw: "<html>maintenance</html>" }, /task result.*<html>.*is not JSON/],
      [{ raw: `{"data":{"result":"0x${"00".repeat(5_000_000)}"}}` }, /larger than 32768 bytes/],
      [{ body: { data: {} } }, /task result: could not resolve path \["data","result"\]/],
      [
        { body: { data: { result: 17 } } },
        /task encode_data: argument "data" of type bytes: expected bytes, got the number 17/,
      ],
      [{ body: { data: { result: "0xabc" } } }, /task encode_data.*is not hex/],
      [{ body: { data: { result: { a: 1 } } } }, /task encode_data.*expected bytes, got an object/],
      [{ body: [] }, /task result/],
      [
        { status: 404, body: { error: { name: "UnknownMeter", message: "meter M-7" } } },
        /answered 404: UnknownMeter: meter M-7/,
      ],
    ];
    const answers = new Map(amiss.map(([answer], index) => [`amiss${index}`, answer]));
    adapter.answer = (body) => answers.get((body.data as { group: string }).group) ?? echo(body);
    for (const group of answers.keys()) await request(group, "x");
    for (const [index, [, cause]] of amiss.entries()) {
      const run = await until(`the cause of amiss${index}`, async () =>
        (await runsOf(`amiss${index}`)).find((one) => one.cause !== null),
      );
      assert.match(String(run.cause), cause);
    }
    await request("served", "x");
    await until("the next one", async () => (await deliveries("served")).length === 1);
    adapter.answer = (body) => echo(body);
    for (const group of answers.keys()) await until(group, async () => (await deliveries(group)).length === 1);
  });

  test("a second process on the same folder ends with a clear message and code 2", async () => {
    const second = await runCli(["start"], {
      CHAIN_ID: "31337",
      RPC_URL: chain.url,
      JOBS_DIR: home.jobs,
      DATA_DIR: `${home.folder}/data`,
      NODE_KEY: `0x${"11".repeat(32)}`,
      NODE_PORT: "0",
    });
    assert.equal(second.code, 2);
    assert.match(second.stderr, /another process uses the data folder/);
    assert.equal(second.stderr.trim().split("\n").length, 1);
  });

  test("after kill -9 everything that was asked is delivered, once", async () => {
    adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
    for (let round = 0; round < 3; round++) {
      await request("killed", "k", 4);
      await new Promise((resolve) => setTimeout(resolve, 60 + round * 120));
      await node.kill();
      await request("killed", "k", 2);
      node = await startNode(chain, home, { BRIDGES: JSON.stringify({ words: adapter.url }) });
    }
    const all = await until(
      "all eighteen",
      async () => {
        const found = await deliveries("killed");
        return found.length >= 18 && found;
      },
      30_000,
    );
    assert.deepEqual(
      all.map((one) => Number(one.number)),
      [...Array(18).keys()],
    );
    adapter.answer = (body) => echo(body);
  });

  test("SIGTERM ends the node with code 0", async () => {
    assert.equal(await node.stop(), 0);
  });
});
