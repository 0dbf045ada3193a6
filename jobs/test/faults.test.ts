import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Wallet } from "ethers";
import { echo } from "./fixtures/adapter.ts";
import { KEYS } from "./fixtures/chain.ts";
import { runCli } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, startScene, wellAgain } from "./support/scene.ts";

const STRICT = "57121c70-d0d2-476c-a1a8-72dfb6633f46";
const HELD = "ae1d0000-d0d2-476c-a1a8-72dfb6633f46";
const PAID = "9a1d0000-d0d2-476c-a1a8-72dfb6633f46";
const PICKY = "91cc1000-d0d2-476c-a1a8-72dfb6633f46";

describe("a node among faults", () => {
  let scene: Scene;
  before(async () => {
    scene = await startScene({
      more: {
        strict: { id: STRICT, ordering: 'group = "$(cbor.group)"\nmode = "strict"' },
        held: { id: HELD, ordering: 'group = "$(cbor.group)"\nmaxHold = "700ms"' },
        paid: { id: PAID, top: 'minContractPaymentLinkJuels = "1000"' },
        picky: { id: PICKY, top: `requesters = ["0x${"11".repeat(20)}"]` },
      },
    });
  });
  afterEach(() => wellAgain(scene));
  after(() => scene?.close());

  test("a sender that is not authorized is named in the run; the request is delivered once it is authorized again", async () => {
    const senders = scene.chain.operator.getFunction("setAuthorizedSenders");
    await (await senders([new Wallet(KEYS[3]).address])).wait();
    await scene.request("unauthorized", "x");
    const run = await until("the cause", async () =>
      (await scene.runs("unauthorized")).find((one) => /would revert: Not authorized sender/.test(String(one.cause))),
    );
    assert.equal(run.state, "ready");
    await (await senders([new Wallet(KEYS[1]).address])).wait();
    await scene.delivered("unauthorized", 1);
  });

  test("a sender without ether is told in /health; its transactions go out when it has some", async () => {
    const { address } = new Wallet(KEYS[1]);
    const balance = await scene.chain.provider.getBalance(address);
    await scene.chain.provider.send("anvil_setBalance", [address, "0x0"]);
    await scene.request("poor", "x", 2);
    await until("the problem", async () =>
      /not enough ether|insufficient funds/i.test(JSON.stringify(await scene.node.get("/health"))),
    );
    assert.equal((await fetch(`${scene.node.url}/health`)).status, 503);
    await scene.chain.provider.send("anvil_setBalance", [address, `0x${balance.toString(16)}`]);
    await scene.delivered("poor", 2);
  });

  test("a foreign transaction of the same key takes a nonce: the callback goes out with another", async () => {
    const wallet = new Wallet(KEYS[1], scene.chain.provider);
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: 400 });
    await scene.request("foreign", "x");
    await (await wallet.sendTransaction({ to: wallet.address, value: 1n })).wait();
    await scene.delivered("foreign", 1);
    assert.equal((await scene.deliveries("foreign")).length, 1);
  });

  test("an adapter that hangs holds up its own group only", async () => {
    scene.adapter.answer = (body) => ((body.data as { text: string }).text === "hang" ? { hang: true } : echo(body));
    await scene.request("hanging", "hang");
    await scene.request("hanging", "behind");
    await scene.request("free", "x", 3);
    await scene.delivered("free", 3);
    await scene.cause("hanging", /task fetch: timed out after 2000 ms/);
    assert.equal((await scene.deliveries("hanging")).length, 0);
    scene.adapter.answer = (body) => echo(body);
    await scene.delivered("hanging", 2);
    assert.deepEqual(
      (await scene.deliveries("hanging")).map((one) => Number(one.number)),
      [0, 1],
    );
  });

  test("a request that its requester cancelled is not fulfilled, and its successor goes on", async () => {
    scene.adapter.answer = (body) => ((body.data as { text: string }).text === "never" ? { status: 500 } : echo(body));
    const asked = await (await scene.request("cancelled", "never")).wait();
    const log = asked.logs.find((one) => one.address === scene.chain.operator.target)!;
    const one = scene.chain.operator.interface.decodeEventLog("OracleRequest", log.data, log.topics);
    await scene.request("cancelled", "next");
    await scene.chain.provider.send("evm_increaseTime", [301]);
    await (
      await scene.chain.requester.getFunction("cancel")(
        one.requestId,
        one.payment,
        one.callbackFunctionId,
        one.cancelExpiration,
      )
    ).wait();
    await scene.delivered("cancelled", 1);
    await until("the states", async () => {
      const states = (await scene.runs("cancelled")).map((run) => run.state).sort();
      return states.join() === "cancelled,delivered";
    });
  });

  test("an expired request is served as long as its requester does not cancel it", async () => {
    scene.adapter.answer = () => ({ status: 500 });
    await (await scene.request("expired", "late")).wait();
    await scene.cause("expired", /500/);
    await scene.chain.provider.send("evm_increaseTime", [301]);
    await scene.chain.mine();
    wellAgain(scene);
    await scene.delivered("expired", 1);
  });

  test("payment below the minimum and foreign requesters are rejected with the reason", async () => {
    await scene.request("cheap", "x", 1, { payment: 999n, jobId: PAID });
    await scene.request("stranger", "x", 1, { jobId: PICKY });
    const cheap = await scene.cause("cheap", /it pays 999 juels; 1000 are wanted/);
    const stranger = await scene.cause("stranger", /is not among the job's requesters/);
    assert.deepEqual([cheap.state, stranger.state], ["rejected", "rejected"]);
    await scene.request("dear", "x", 1, { payment: 1000n, jobId: PAID });
    await scene.delivered("dear", 1);
  });

  test("strict: the next one is sent only when the one before was delivered", async () => {
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 100 });
    await scene.request("strict", "s", 4, { jobId: STRICT });
    await scene.delivered("strict", 4);
    const all = await scene.deliveries("strict");
    assert.deepEqual(
      all.map((one) => Number(one.number)),
      [0, 1, 2, 3],
    );
    assert.equal(new Set(all.map((one) => one.blockNumber)).size, 4, "each in a block of its own");
  });

  test("a request that fails longer than maxHold lets its successors go first and stays retryable", async () => {
    let broken = true;
    scene.adapter.answer = (body) =>
      broken && (body.data as { text: string }).text === "bad" ? { status: 500 } : echo(body);
    await scene.request("held", "bad", 1, { jobId: HELD });
    await scene.request("held", "good", 1, { jobId: HELD });
    await scene.delivered("held", 1);
    assert.equal((await scene.deliveries("held"))[0]!.number, 1n);
    broken = false;
    await scene.delivered("held", 2);
  });

  test("bad settings and another chain end the start with one line and code 2", async () => {
    const env = {
      CHAIN_ID: "5",
      RPC_URL: scene.chain.url,
      JOBS_DIR: scene.home.jobs,
      DATA_DIR: `${scene.home.folder}/other`,
      NODE_KEY: KEYS[2],
      NODE_PORT: "0",
    };
    const wrong = await runCli(["start"], env);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /CHAIN_ID is 5, but the RPC serves chain 31337/);
    const settings = await runCli(["start"], { ...env, CHAIN_ID: "x", NODE_PORT: "99999" });
    assert.equal(settings.code, 2);
    assert.equal(settings.stderr.trim().split("\n").length, 2, settings.stderr);
    const used = await runCli(["start"], { ...env, CHAIN_ID: "31337", NODE_PORT: new URL(scene.node.url).port });
    assert.equal(used.code, 2);
    assert.match(used.stderr, /is in use/);
  });
});
