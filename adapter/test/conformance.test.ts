import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { RunningAdapter } from "../src/adapter.ts";
import { jsonparse, readAsBridge, SOURCES } from "./chainlink-bridge.ts";
import { type Answered, adapterOver, FixtureReader, HandClock, LOT, post } from "./fixtures.ts";

describe("the node's own rules, as its tests have them", () => {
  type Rule = keyof typeof SOURCES;
  type Outcome = { failed: boolean; retryable: boolean; error?: RegExp | null };
  const done: Outcome = { failed: false, retryable: false };
  const N = '"error":{"name":"N","message":"m"}';
  const cases: [string, Rule, { status: number; text: string }, Outcome][] = [
    ["200 and a value", "run", { status: 200, text: '{"data":{"result":"1"},"statusCode":200}' }, done],
    ["200 without a statusCode", "status", { status: 200, text: '{"result":1}' }, done],
    [
      "200 whose body says 500",
      "status",
      { status: 200, text: `{"statusCode":500,${N}}` },
      { failed: true, retryable: true, error: /^N: m$/ },
    ],
    [
      "200 whose body says 429: below 500 nothing is tried again",
      "retry",
      { status: 200, text: `{"statusCode":429,${N}}` },
      { failed: true, retryable: false, error: /^N: m$/ },
    ],
    [
      "statusCode 200 beside an error",
      "error",
      { status: 200, text: '{"statusCode":200,"error":"boom"}' },
      { failed: true, retryable: true, error: /cannot unmarshal/ },
    ],
    [
      "a provider's status",
      "status",
      { status: 200, text: '{"statusCode":200,"providerStatusCode":502}' },
      { failed: true, retryable: true },
    ],
    [
      "a statusCode that is text: the header's status counts",
      "status",
      { status: 200, text: '{"statusCode":"500","data":{}}' },
      done,
    ],
    [
      "201 fails without an error, and the run goes on with no value",
      "run",
      { status: 201, text: "{}" },
      { failed: true, retryable: false, error: null },
    ],
    ["500 without a body", "request", { status: 500, text: "" }, { failed: true, retryable: true, error: /./ }],
    ["404", "retry", { status: 404, text: `{${N}}` }, { failed: true, retryable: false, error: /^N: m$/ }],
    [
      "503 whose error is text: the run shows a decoding error",
      "error",
      { status: 503, text: '{"error":"boom"}' },
      { failed: true, retryable: true, error: /cannot unmarshal/ },
    ],
  ];
  for (const [name, rule, answer, expected] of cases) {
    test(`${name} [${SOURCES[rule]}]`, () => {
      const result = readAsBridge(answer);
      assert.equal(result.failed, expected.failed);
      assert.equal(result.retryable, expected.retryable);
      if (expected.error) assert.match(result.error ?? "", expected.error);
      if (expected.error === null) assert.equal(result.error, undefined);
    });
  }
  test(`pending is 200 with {pending: true}, for async bridges only [${SOURCES.pending}]`, () => {
    assert.equal(readAsBridge({ status: 200, text: '{"pending":true}' }, { async: true }).value, undefined);
  });
  test(`of an answer beyond the limit the beginning is taken for the whole; jsonparse then fails [${SOURCES.size}]`, () => {
    const text = `{"data":{"result":"0x${"ab".repeat(20_000)}"},"statusCode":200}`;
    const read = readAsBridge({ status: 200, text });
    assert.equal(read.failed, false);
    assert.equal(read.value?.length, 32_768);
    assert.throws(() => jsonparse(read.value!, "data,result"));
  });
});

describe("requests as a Chainlink node sends them", () => {
  const readers = ["PLANT-1", "MAIN", "KITCHEN"].map((serial) => new FixtureReader(serial));
  const [plant, main, kitchen] = readers as [FixtureReader, FixtureReader, FixtureReader];
  const clock = new HandClock(LOT + 2n);
  let adapter: RunningAdapter;
  before(async () => {
    for (const reader of readers) await reader.start();
    adapter = await adapterOver(readers, { clock });
  });
  after(async () => {
    await adapter.close();
    for (const reader of readers) await reader.stop();
  });
  const packed = `0x${readers.map(({ id }) => id.slice(2)).join("")}`;
  const result = [plant, main, kitchen].map((reader) => reader.record(LOT).slice(2)).join("");

  // What a bridge task posts: requestData with its variables filled in, and `meta` = jobRun.meta (SOURCES.body); for a
  // directrequest job that is oracleRequest (SOURCES.meta).
  const meta = {
    oracleRequest: {
      cancelExpiration: "1764000000",
      data: "0x6466656564657258",
      dataVersion: "1",
      requester: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
      callbackAddr: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
      callbackFunctionId: "0x4ab0d190",
      payment: "100000000000000000",
      requestId: "0x1e3fca9d5b1c2bd4f56ba3b8d3cb4cc1f9f2a6e9a5d7f21b5d7e27c4f0d1a2b3",
      specId: "0x3139666530353039343332643461633338326434333639313464646466363739",
    },
  };
  // A CBOR payload decoded by cborparse and passed on whole: bytes as 0x text (SOURCES.cbor), small integers as JSON
  // numbers, and whatever else the contract put in beside them.
  const decoded = { feeder: `0x${"ab".repeat(32)}`, lot: Number(LOT), lots: 1, stage: "consumers", meters: packed };
  const bodies: [string, string | object, Record<string, string>][] = [
    [`a bridge task [${SOURCES.body}]`, { data: decoded, meta }, { "content-type": "application/json" }],
    [
      `with the job's id [${SOURCES.body}]`,
      { id: "8f2a3c1e", data: decoded, meta },
      { "content-type": "application/json" },
    ],
    [
      `with a charset [${SOURCES.request}]`,
      { id: "1", data: decoded },
      { "content-type": "application/json; charset=utf-8" },
    ],
    [`lot as text [${SOURCES.cbor}]`, { data: { ...decoded, lot: LOT.toString(), lots: "1" } }, {}],
    ["endpoint in data, any case", { data: { ...decoded, endpoint: "LOT-READINGS" } }, {}],
    ["endpoint beside data, as the framework takes it", { endpoint: "lotReadings", data: decoded }, {}],
    ["an empty endpoint beside data is none", { endpoint: "", data: { ...decoded, endpoint: "readings" } }, {}],
    [`meta null [${SOURCES.body}]`, { data: decoded, meta: null }, {}],
    [
      `an async bridge's responseURL [${SOURCES.body}]`,
      { data: decoded, meta, responseURL: "http://node/v2/resume/1" },
      {},
    ],
    ["a numeric id", { id: 278, data: decoded }, {}],
    ["keys in another order, white space", `\n{ "meta" : {} , "data" : ${JSON.stringify(decoded)} }\r\n`, {}],
  ];
  for (const [name, body, headers] of bodies) {
    test(name, async () => {
      const answer = await post(adapter.url, body, headers);
      const read = readAsBridge(answer);
      assert.equal(read.failed, false, answer.text);
      assert.equal(jsonparse(read.value!, "data,result"), `0x${result}`);
    });
  }

  const refused: [string, object, number, boolean][] = [
    [`a lot that is not over is retried [${SOURCES.retry}]`, { data: { ...decoded, lot: Number(LOT) + 5 } }, 503, true],
    [
      `an unknown meter is not [${SOURCES.retry}]`,
      { data: { ...decoded, meters: `0x${"12".repeat(32)}` } },
      404,
      false,
    ],
    ["an unknown endpoint is not", { data: { ...decoded, endpoint: "price" } }, 404, false],
    ["bad input is not", { data: { ...decoded, lots: -1 } }, 400, false],
    ["too many meters are not", { data: { ...decoded, meters: Array(400).fill("MAIN") } }, 413, false],
  ];
  for (const [name, body, status, retried] of refused) {
    test(name, async () => checkRefusal(await post(adapter.url, body), status, retried));
  }
  test(`a reader that fails is retried [${SOURCES.retry}]`, async () => {
    for (const [fault, status] of [
      ["wrong-key", 502],
      ["silent", 504],
      ["open", 503],
    ] as const) {
      kitchen.fault = fault;
      const answer = await post(adapter.url, { data: { meters: ["KITCHEN"], lot: Number(LOT) - 1 } });
      kitchen.fault = "none";
      checkRefusal(answer, status, true);
    }
  });

  function checkRefusal(answer: Answered, status: number, retried: boolean): void {
    assert.equal(answer.status, status, answer.text);
    const read = readAsBridge(answer);
    assert.equal(read.failed, true);
    assert.equal(read.retryable, retried);
    assert.match(read.error ?? "", /^[A-Z][A-Za-z]+: .+/, "the run shows name and message, not a decoding error");
  }

  test(`the largest answer that is given is one that the node takes [${SOURCES.limit}]`, async () => {
    const probe = await post(adapter.url, { data: { meters: Array(400).fill("MAIN"), lot: Number(LOT) } });
    const fit = Number(/(\d+) meters would/.exec(probe.body.error.message)?.[1]);
    assert.ok(fit > 150);
    const answer = await post(adapter.url, { data: { meters: Array(fit).fill("MAIN"), lot: Number(LOT) } });
    assert.equal(readAsBridge(answer).failed, false);
    assert.ok(Buffer.byteLength(answer.text) > 32_768 - 2 * 90);
  });

  test(`endpoint register: result and data.result as the framework's adapters give them [${SOURCES.jsonparse}]`, async () => {
    for (const data of [
      { endpoint: "register", meter: "MAIN" },
      { endpoint: "Register", meters: ["MAIN"], lot: LOT.toString() },
      { endpoint: "register", meters: main.id, lot: Number(LOT), lots: 3 },
      { endpoint: "register", meter: "MAIN", lots: 3 },
      // What a job's variables leave unset arrives as null.
      { endpoint: "register", meter: "MAIN", lot: null, lots: null },
    ]) {
      const answer = await post(adapter.url, { id: "9", data });
      const read = readAsBridge(answer);
      assert.equal(read.failed, false, answer.text);
      const lot = "lot" in data && data.lot !== null ? LOT : LOT + 1n;
      const forward = main.reading(lot, 1).forward.toString();
      assert.equal(jsonparse(read.value!, "result"), forward);
      assert.equal(jsonparse(read.value!, "data,result"), forward);
      assert.equal(jsonparse(read.value!, "data,lot"), lot.toString());
      assert.equal(answer.body.data.energies.at(-1), main.energy(lot).toString());
      assert.equal(answer.body.data.energies.length, "lots" in data && data.lots !== null ? data.lots : 1);
    }
    const two = await post(adapter.url, { data: { endpoint: "register", meters: ["MAIN", "KITCHEN"] } });
    checkRefusal(two, 400, false);
  });
});
