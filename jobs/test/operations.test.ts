import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NODE_ENDPOINTS } from "../src/api/endpoints.ts";
import { runCli } from "./fixtures/node.ts";
import { startPage } from "./fixtures/page.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, type ShownRun, startScene } from "./support/scene.ts";

describe("what an operator sees and does", () => {
  const token = "a-secret-token";
  let scene: Scene;
  const page = startPage();

  const ask = (path: string, authorization?: string, method = "GET") =>
    fetch(`${scene.node.url}${path}`, { method, headers: authorization === undefined ? {} : { authorization } });
  const cli = (...args: string[]) => runCli(args, { NODE_PORT: new URL(scene.node.url).port, API_TOKEN: token });
  const runsOf = async (group: string) => {
    const response = await ask(`/runs?group=${group}`, `Bearer ${token}`);
    return (await response.json()) as ShownRun[];
  };

  before(async () => {
    scene = await startScene({ nodes: 0 });
    await scene.start({
      API_TOKEN: token,
      PAGE_URL: (await page).url,
      // The first endpoint is dead, and blocks are asked for once a minute: failover and the subscription have to work.
      RPC_URL: `http://127.0.0.1:1,${scene.chain.url}`,
      RPC_WS_URL: scene.chain.url.replace("http", "ws"),
      POLL_INTERVAL_MS: "60000",
    });
  });
  after(async () => {
    await scene?.close();
    await (await page).close();
  });

  test("a dead endpoint is passed over, and a subscription tells of blocks sooner than polling", async () => {
    await scene.request("quick", "x");
    await scene.delivered("quick", 1, 10_000);
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
    assert.equal((await ask("/nowhere", `Bearer ${token}`, "POST")).status, 404);
  });

  test("every endpoint that is listed is there, and wants the token if it says so", async () => {
    for (const { method, path, token: wanted } of NODE_ENDPOINTS) {
      const asked = path.replace(":id", "nothing").replace(":block", "999999999");
      const without = await ask(asked, undefined, method);
      assert.equal(without.status === 401, wanted, `${method} ${path}`);
      const given = await ask(asked, `Bearer ${token}`, method);
      // What a server does not know it answers with Express' or the page's own words.
      if (path !== "/") assert.doesNotMatch(await given.text(), /there is nothing here|^page /, `${method} ${path}`);
    }
  });

  test("runs are listed with what a page shows of them, a page at a time", async () => {
    await scene.request("listed", "x", 3);
    await scene.delivered("listed", 3);
    await until("the runs", async () => (await runsOf("listed")).every((run) => run.state === "delivered"));
    const [run] = await runsOf("listed");
    for (const name of [
      "id",
      "requestId",
      "group",
      "state",
      "blockNumber",
      "requestTransaction",
      "transaction",
      "deliveryBlock",
      "place",
    ]) {
      assert.ok(run![name], name);
    }
    const seen: string[] = [];
    let path: string | undefined = "/runs?group=listed&limit=2";
    while (path !== undefined) {
      const response: Response = await ask(path, `Bearer ${token}`);
      seen.push(...((await response.json()) as ShownRun[]).map(({ id }) => id));
      path = /<([^>]+)>; rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
    }
    assert.deepEqual(
      seen,
      (await runsOf("listed")).map(({ id }) => id),
    );
  });

  test("the page's process is served as part of the node, its events too; 502 when it is down", async () => {
    const bearer = `Bearer ${token}`;
    const front = await ask("/", bearer);
    assert.match(await front.text(), /^page \/ /);
    const asset = await ask("/assets/a%20b.js?v=1", bearer);
    assert.match(await asset.text(), /^page \/assets\/a%20b\.js\?v=1 /);
    assert.equal(asset.headers.get("x-page"), "yes");
    assert.equal(
      (await page).seen.some(({ headers }) => headers.authorization !== undefined),
      false,
      "the token stays here",
    );
    assert.match(await (await ask("/status", bearer)).text(), /Oracle node/);
    const events = await ask("/events", bearer);
    const reader = events.body!.getReader();
    const { value } = await reader.read();
    assert.match(Buffer.from(value!).toString(), /data: 1/, "before the stream ends");
    await reader.cancel();
    await until("the page to hear of it", async () => (await page).open === 0);
    await (await page).close();
    const down = await ask("/", bearer);
    assert.equal(down.status, 502);
    assert.match(await down.text(), /the page at http:\/\/127\.0\.0\.1:\d+ does not answer/);
    assert.equal((await ask("/runs", bearer)).status, 200);
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
    assert.match(text, /bijuli_node_runs_finished_total\{job_name="text by bridge",outcome="delivered"\} \d+/);
  });

  test("a request whose callback failed can be run again, on the record", async () => {
    await scene.request("spent", "revert");
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
    const count = await scene.chain.requester.getFunction("deliveryCount")();
    assert.equal((await cli("replay", "0")).code, 0);
    await sleep(500);
    assert.equal(await scene.chain.requester.getFunction("deliveryCount")(), count);
  });

  test("no secret is written anywhere", async () => {
    const everything = JSON.stringify([scene.node.log, await (await ask("/health")).text()]);
    assert.doesNotMatch(everything, /59c6995e998f97a5a0044966f0945389/);
    assert.doesNotMatch(everything, new RegExp(token));
  });
});
