import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { AbiCoder } from "ethers";
import type { Answer } from "./fixtures/adapter.ts";
import { echo } from "./fixtures/adapter.ts";
import { freePort } from "./fixtures/chain.ts";
import { chainlinkSpecs, MULTI_WORD, SINGLE_WORD, SINGLE_WORD_BRIDGE } from "./fixtures/chainlink-specs.ts";
import { runCli, SPEC_ID, specIdOf } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, startScene, wellAgain } from "./support/scene.ts";

const LATER = "1a7e0000-d0d2-476c-a1a8-72dfb6633f46";

describe("requests of the real Operator on a real chain", () => {
  let scene: Scene;
  before(async () => {
    const port = String(await freePort());
    scene = await startScene({
      settings: { NODE_PORT: port, BRIDGE_RESPONSE_URL: `http://127.0.0.1:${port}` },
      specs: chainlinkSpecs,
      more: {
        later: {
          id: LATER,
          fetch:
            'fetch [type="bridge" name="words" async=true requestData=<{"id": $(jobRun.id), "data": $(decode_cbor)}>]',
        },
      },
    });
  });
  after(() => scene?.close());

  test("a request is fulfilled with what the adapter answered, and the run says so", async () => {
    await scene.request("one", "hello");
    await scene.delivered("one", 1);
    const [delivery] = await scene.deliveries("one");
    assert.equal(Buffer.from(delivery!.data.slice(2), "hex").toString(), "hello");
    const run = await until("the run", async () => (await scene.runs("one")).find((one) => one.state === "delivered"));
    const whole = await scene.node.get<{ tasks: { id: string }[]; transactions: { outcome: { kind: string } }[] }>(
      `/runs/${run.id}`,
    );
    assert.deepEqual(
      whole.tasks.map((task) => task.id),
      ["decode_log", "decode_cbor", "fetch", "result", "encode_data", "encode_tx", "submit_tx"],
    );
    assert.equal(whole.transactions[0]!.outcome.kind, "delivered");
  });

  test("requests of a group arrive in their order, several in one block, however slow their adapters are", async () => {
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 300 });
    await scene.request("ordered", "x", 12);
    await scene.request("other", "y", 3);
    const all = await until("twelve deliveries", async () => {
      const found = await scene.deliveries("ordered");
      return found.length === 12 && found;
    });
    assert.deepEqual(
      all.map((one) => Number(one.number)),
      [...Array(12).keys()],
    );
    assert.ok(new Set(all.map((one) => one.blockNumber)).size < 12, "several share a block");
    wellAgain(scene);
  });

  test("a failing adapter is tried again; its cause stands in the run, and the request is served once it is put right", async () => {
    let broken = true;
    scene.adapter.answer = (body) =>
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
    await scene.request("broken", "fixed", 2);
    const failing = await until("the cause", async () =>
      (await scene.runs("broken")).find((run) => run.cause !== null),
    );
    assert.match(String(failing.cause), /task fetch.*502.*meter M-1: wrong key/);
    assert.equal((await scene.deliveries("broken")).length, 0);
    await scene.request("healthy", "at once");
    broken = false;
    await until("both deliveries", async () => (await scene.deliveries("broken")).length === 2);
    await until("the other group", async () => (await scene.deliveries("healthy")).length === 1);
    wellAgain(scene);
  });

  test("a callback that reverts, and one that runs out of gas, spend the request and are told apart from a delivery", async () => {
    await scene.request("reverting", "revert");
    await scene.request("burning", "burn");
    await scene.request("reverting", "after");
    for (const group of ["reverting", "burning"]) {
      const run = await until(`${group}'s end`, async () =>
        (await scene.runs(group)).find((one) => one.state === "callback-failed"),
      );
      assert.match(String(run.cause), /no ChainlinkFulfilled/);
    }
    await until("its successor", async () => (await scene.deliveries("reverting")).length === 1);
  });

  test("a request that is no CBOR is marked with the cause, and the next one is served", async () => {
    await scene.chain.requester.getFunction("requestRaw")(SPEC_ID, 0n, "0x6161ff");
    const run = await until("the marked run", async () =>
      (await scene.node.get<Record<string, unknown>[]>("/runs?limit=500")).find((one) =>
        /malformed CBOR/.test(String(one.cause)),
      ),
    );
    assert.equal(run.state, "pending");
    await scene.request("next", "served");
    await until("the next one", async () => (await scene.deliveries("next")).length === 1);
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
      [{ raw: '{"data":{"result":"0x\\u0000\\ud800"}}' }, /task encode_data.*is not hex/],
      [
        { status: 404, body: { error: { name: "UnknownMeter", message: "meter M-7" } } },
        /answered 404: UnknownMeter: meter M-7/,
      ],
    ];
    const answers = new Map(amiss.map(([answer], index) => [`amiss${index}`, answer]));
    scene.adapter.answer = (body) => answers.get((body.data as { group: string }).group) ?? echo(body);
    for (const group of answers.keys()) await scene.request(group, "x");
    for (const [index, [, cause]] of amiss.entries()) {
      const run = await until(`the cause of amiss${index}`, async () =>
        (await scene.runs(`amiss${index}`)).find((one) => one.cause !== null),
      );
      assert.match(String(run.cause), cause);
    }
    await scene.request("served", "x");
    await until("the next one", async () => (await scene.deliveries("served")).length === 1);
    wellAgain(scene);
    for (const group of answers.keys()) await until(group, async () => (await scene.deliveries(group)).length === 1);
  });

  test("an async bridge's adapter answers later, also to a node that was killed meanwhile", async () => {
    scene.adapter.answer = (body) =>
      (body.data as { text: string }).text === "at once" ? echo(body) : { body: { pending: true } };
    const asked = () => scene.adapter.asked.filter(({ body }) => (body.data as { group: string }).group === "later");
    await scene.request("later", "in time", 1, { jobId: LATER });
    await scene.request("later", "at once", 1, { jobId: LATER });
    const waiting = await scene.cause("later", /task fetch: waits for the answer of bridge words/);
    assert.equal(waiting.state, "pending");
    await until("the other to be built", async () => (await scene.runs("later")).some((run) => run.state === "ready"));
    await scene.restart();
    await scene.cause("later", /waits for the answer/);
    assert.equal(asked().length, 2, "who said pending is not asked again");
    const url = String(asked()[0]!.body.responseURL);
    assert.match(url, /\/v2\/resume\/[0-9a-f-]{36}$/);
    const send = (body: string) => fetch(url, { method: "PATCH", body });
    assert.equal((await send("{}")).status, 400);
    assert.equal((await send('{"value": 1, "error": "x"}')).status, 400);
    assert.equal((await send("<html>")).status, 400);
    assert.equal(
      (await fetch(`${url.slice(0, -36)}${crypto.randomUUID()}`, { method: "PATCH", body: '{"value":1}' })).status,
      404,
    );
    assert.equal((await send('{"value": {"data": {"result": "0x6c61746572"}}}')).status, 200);
    assert.equal((await send('{"value": {"data": {"result": "0x00"}}}')).status, 404, "an answer is given once");
    await scene.delivered("later", 2);
    const [first, second] = await scene.deliveries("later");
    assert.deepEqual(
      [first, second].map((one) => Buffer.from(one!.data.slice(2), "hex").toString()),
      ["later", "at once"],
    );
    wellAgain(scene);
  });

  test("an async bridge's error is the run's cause, and the adapter is asked again", async () => {
    scene.adapter.answer = () => ({ body: { pending: true } });
    await scene.request("later error", "x", 1, { jobId: LATER });
    await scene.cause("later error", /waits for the answer/);
    const { body } = scene.adapter.asked.findLast(
      (one) => (one.body.data as { group: string }).group === "later error",
    )!;
    wellAgain(scene);
    await fetch(String(body.responseURL), { method: "PATCH", body: '{"error": "meter M-1 is gone"}' });
    await scene.delivered("later error", 1);
    const [run] = await scene.runs("later error");
    const whole = await scene.node.get<{ causes: { cause: string }[] }>(`/runs/${run!.id}`);
    assert.ok(whole.causes.some(({ cause }) => /answered later: meter M-1 is gone/.test(cause)));
  });

  describe("of specs that were written for a Chainlink node", () => {
    const prices: Record<string, string> = {
      "/usd": '{"USD": 31982.57}',
      "/eur": '{"EUR": {"last": "28510.01"}}',
      "/jpy": '[{"JPY": 3507272}]',
    };
    const server = createServer((request, response) => response.end(prices[request.url!]));
    let source: string;
    before(async () => {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      source = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(() => server.close());

    async function ask(group: string, jobId: string, words: number, texts: Record<string, string>): Promise<bigint[]> {
      const request = scene.chain.requester.getFunction("requestPrices");
      const id = jobId.toLowerCase();
      await request(specIdOf(id), group, words > 1, Object.keys(texts), Object.values(texts));
      await scene.delivered(group, 1);
      await until("the run", async () => {
        const [run] = await scene.node.get<{ state: string }[]>(`/runs?job=${id}`);
        return run?.state === "delivered";
      });
      const { data } = (await scene.deliveries(group))[0]!;
      return [...(AbiCoder.defaultAbiCoder().decode(Array(words).fill("uint256"), data) as Iterable<bigint>)];
    }

    test("multi-word, by three http tasks side by side", async () => {
      const texts = {
        url_usd: `${source}/usd`,
        path_usd: "USD",
        url_eur: `${source}/eur`,
        path_eur: "EUR,last",
        url_jpy: `${source}/jpy`,
        path_jpy: "0,JPY",
      };
      assert.deepEqual(await ask("three", MULTI_WORD, 3, texts), [3198257n, 2851001n, 350727200n]);
    });

    test("single-word, by http", async () => {
      assert.deepEqual(await ask("one word", SINGLE_WORD, 1, { url: `${source}/usd`, path: "USD" }), [3198257n]);
    });

    test("single-word, by a bridge, with a task that only its variables join", async () => {
      scene.adapter.answer = (body) => ({ body: { price: body.coin === "XDC" ? "0.0425" : 0 } });
      assert.deepEqual(await ask("by bridge", SINGLE_WORD_BRIDGE, 1, { coin: "XDC" }), [4n]);
      wellAgain(scene);
    });
  });

  test("a second process on the same folder ends with a clear message and code 2", async () => {
    const second = await runCli(["start"], {
      CHAIN_ID: "31337",
      RPC_URL: scene.chain.url,
      JOBS_DIR: scene.home.jobs,
      DATA_DIR: `${scene.home.folder}/data`,
      BRIDGE_RESPONSE_URL: scene.node.url,
      NODE_KEY: `0x${"11".repeat(32)}`,
      NODE_PORT: "0",
      LOG_LEVEL: "error",
    });
    assert.equal(second.code, 2);
    assert.match(second.stderr, /another process uses the data folder/);
    assert.equal(second.stderr.trim().split("\n").length, 1);
  });

  test("SIGTERM ends the node with code 0", async () => {
    assert.equal(await scene.node.stop(), 0);
  });
});
