import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { type Chain, startChain } from "./fixtures/chain.ts";
import { makeHome, type NodeHome, type RunningNode, runCli, SPEC_ID, spec, startNode } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";

describe("what an operator sees and does", () => {
  const token = "a-secret-token";
  let chain: Chain;
  let adapter: FakeAdapter;
  let home: NodeHome;
  let node: RunningNode;
  let stopMining: () => Promise<void>;

  const request = (group: string, text: string) => chain.requester.getFunction("request")(SPEC_ID, 0n, group, text, 1);
  const ask = (path: string, authorization?: string, method = "GET") =>
    fetch(`${node.url}${path}`, { method, headers: authorization === undefined ? {} : { authorization } });
  const cli = (...args: string[]) => runCli(args, { NODE_PORT: new URL(node.url).port, API_TOKEN: token });
  const runsOf = async (group: string) => {
    const { stdout } = await cli("runs");
    return (JSON.parse(stdout) as { id: string; group: string; state: string; cause: string }[]).filter(
      (run) => run.group === group,
    );
  };

  before(async () => {
    chain = await startChain();
    adapter = await startAdapter();
    home = makeHome({ "words.toml": await spec(chain) });
    node = await startNode(chain, home, {
      BRIDGES: JSON.stringify({ words: adapter.url }),
      API_TOKEN: token,
      // The first endpoint is dead, and blocks are asked for once a minute: failover and the subscription have to work.
      RPC_URL: `http://127.0.0.1:1,${chain.url}`,
      RPC_WS_URL: chain.url.replace("http", "ws"),
      POLL_INTERVAL_MS: "60000",
    });
    stopMining = chain.mineEvery(100);
  });
  after(async () => {
    await stopMining?.();
    await node?.kill();
    await adapter?.close();
    await chain?.close();
    home?.remove();
  });

  test("a dead endpoint is passed over, and a subscription tells of blocks sooner than polling", async () => {
    await request("quick", "x");
    await until("the delivery", async () => Number(await chain.requester.getFunction("deliveryCount")()) === 1, 10_000);
  });

  test("the API and the board want the token; health, readiness and metrics do not", async () => {
    for (const path of ["/", "/runs", "/jobs", "/transactions", "/queue", "/board"]) {
      assert.equal((await ask(path)).status, 401, path);
      assert.equal((await ask(path, "Bearer wrong")).status, 401, path);
      assert.equal((await ask(path, `Bearer ${token}`)).status, 200, path);
    }
    const basic = `Basic ${Buffer.from(`operator:${token}`).toString("base64")}`;
    const board = await ask("/board/api/queues", basic);
    assert.equal(board.status, 200);
    assert.match(await board.text(), /runs-31337/);
    for (const path of ["/health", "/ready", "/metrics"]) assert.equal((await ask(path)).status, 200, path);
    assert.equal((await ask("/runs/nothing", `Bearer ${token}`)).status, 404);
    assert.equal((await ask("/nowhere", `Bearer ${token}`)).status, 404);
  });

  test("metrics carry the names that Chainlink's operators know", async () => {
    const text = await (await ask("/metrics")).text();
    for (const name of [
      "pipeline_task_execution_time",
      "pipeline_tasks_total_finished",
      "pipeline_run_errors",
      "pipeline_run_total_time_to_completion",
      "bridge_latency_seconds",
      "head_tracker_current_head",
      "unconfirmed_transactions",
      "eth_balance",
      "bijuli_node_runs_finished_total",
    ]) {
      assert.match(text, new RegExp(`^# TYPE ${name} `, "m"), name);
    }
    assert.match(text, /bijuli_node_runs_finished_total\{job_name="text by bridge",outcome="delivered"\} 1/);
  });

  test("a request whose callback failed can be run again, on the record", async () => {
    await request("spent", "revert");
    const run = await until("its end", async () =>
      (await runsOf("spent")).find((one) => one.state === "callback-failed"),
    );
    const again = await cli("run", "again", run.id);
    assert.equal(again.code, 0, again.stderr);
    await until("its end, again", async () => {
      const { stdout } = await cli("run", run.id);
      const whole = JSON.parse(stdout) as { state: string; attempts: number; causes: { cause: string }[] };
      return (
        whole.state === "callback-failed" && whole.causes.some(({ cause }) => /run again by the operator/.test(cause))
      );
    });
    const refused = await cli("run", "again", (await runsOf("quick"))[0]!.id);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /is delivered: it is not run again/);
  });

  test("blocks can be read again, which brings nothing twice", async () => {
    const count = await chain.requester.getFunction("deliveryCount")();
    assert.equal((await cli("replay", "0")).code, 0);
    await sleep(500);
    assert.equal(await chain.requester.getFunction("deliveryCount")(), count);
  });

  test("no secret is written anywhere", async () => {
    const everything = JSON.stringify([node.log, await (await ask("/health")).text()]);
    assert.doesNotMatch(everything, /59c6995e998f97a5a0044966f0945389/);
    assert.doesNotMatch(everything, new RegExp(token));
  });
});
