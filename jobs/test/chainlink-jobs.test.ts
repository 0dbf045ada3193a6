import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "@bijuli/protocol";
import { operatorAbi } from "../src/chain/abi.ts";
import { blockRoots } from "../src/chain/block-roots.ts";
import { runOf, runVariables } from "../src/chain/requests.ts";
import type { JsonRpc } from "../src/chain/rpc.ts";
import { buildPipeline } from "../src/pipeline/pipeline.ts";
import { toJson } from "../src/pipeline/value.ts";
import { parseDot } from "../src/spec/dot.ts";
import { parseDuration } from "../src/spec/duration.ts";
import { parseJob } from "../src/spec/job.ts";
import { run } from "./fixtures/pipeline.ts";

/* Specs, graphs and runs where only a Chainlink node's Go code, and its libraries', say what they do. */

const pipelineOf = (source: string) => buildPipeline(parseDot(source), 1);

test("an index above 0 is one task's own; 0 and less may be several tasks'", () => {
  assert.throws(() => pipelineOf("a [type=memo index=1] b [type=memo index=1]"), /task b, index.*that of a too/);
  const pipeline = pipelineOf('a [type=memo index=0] b [type=memo] c [type=memo index="-2"] d [type=memo index="-2"]');
  assert.deepEqual(
    pipeline.map(({ index }) => index),
    [0, 0, -2, -2],
  );
});

test("inputs of the same index come in the order in which their tasks are written", async () => {
  const ran = await run(`
    a [type=memo value=<"a">]
    b [type=memo value=<"b">]
    c [type=memo value=<"c"> index=-1]
    all [type=mode]
    b -> all
    c -> all
    a -> all
  `);
  assert.deepEqual(ran.value("all"), { results: ["c", "a", "b"], occurrences: 1 });
  const order = (source: string) => pipelineOf(source).map(({ id }) => id);
  const memo = "[type=memo]";
  assert.deepEqual(order(`a ${memo} b ${memo} c ${memo} d ${memo} d -> b a -> c`), ["a", "c", "d", "b"]);
  assert.throws(
    () => pipelineOf("a [type=memo] b [type=any] c [type=any] a -> b -> c -> b"),
    /tasks c, b wait for one another/,
  );
});

test("maxBackoff counts beside a minBackoff only, and without it that goes up to 10 s", () => {
  const [plain, least, most, both] = pipelineOf(`
    a [type=memo retries=3]
    b [type=memo minBackoff="1s"]
    c [type=memo maxBackoff="1s"]
    d [type=memo minBackoff="2s" maxBackoff="1s" failEarly=t]
  `).map(({ minBackoffMs, maxBackoffMs }) => [minBackoffMs, maxBackoffMs]);
  assert.deepEqual(
    [plain, least, most, both],
    [
      [5_000, 60_000],
      [1_000, 10_000],
      [5_000, 60_000],
      [2_000, 1_000],
    ],
  );
});

test("maxTaskDuration limits each task, beside its own timeout", async () => {
  const never: JsonRpc = {
    call: (_method, _params, signal) =>
      new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted")))),
  };
  const call = 'call [type=ethcall contract="0x613a38AC1659769640aaE063C651F48E0250454C" data="0x12"';
  const causeOf = async (source: string, maxTaskMs: number) =>
    explain((await run(source, { rpc: never, maxTaskMs })).error);
  assert.match(await causeOf(`${call}]`, 20), /timed out after 20 ms/);
  assert.match(await causeOf(`${call} timeout="1h"]`, 20), /timed out after 20 ms/);
  assert.match(await causeOf(`${call} timeout="10ms"]`, 20), /timed out after 10 ms/);
  assert.match(await causeOf(`${call} timeout="0s"]`, 20), /timed out after 20 ms/);
});

test("DOT: chains, attributes in several brackets, comments, quoted names; what it says of the whole graph is left aside", () => {
  const graph = parseDot(`
    rankdir=LR; node [shape=box] edge [color="red"];
    // a comment -> of [no=meaning]
    a [type=memo] [value=<{"x": "<b>"}>; index=1]; "b" [type=memo, value="\\"\\u00e9\\t\\x41\\""] # another
    a->b->c [label="said of edges"]; c [type="memo"
       value="2"] /* and
       one more */
  `);
  assert.deepEqual(graph.edges, [
    ["a", "b"],
    ["b", "c"],
  ]);
  const attributes = Object.fromEntries([...graph.nodes].map(([id, node]) => [id, node.attributes]));
  assert.deepEqual(attributes, {
    a: { type: "memo", value: '{"x": "<b>"}', index: "1" },
    b: { type: "memo", value: '"é\tA"' },
    c: { type: "memo", value: "2" },
  });
});

test("durations as Go writes them", () => {
  const some = {
    "1m30s": 90_000,
    "1.5h": 5_400_000,
    ".5s": 500,
    "1.s": 1_000,
    "+3ms": 3,
    "-2s": -2_000,
    "2µs": 0.002,
    "0": 0,
  };
  for (const [text, ms] of Object.entries(some)) assert.equal(parseDuration(text), ms, text);
  for (const text of ["", "5", "s", ".s", "1 s", "1d", "--1s"]) assert.equal(parseDuration(text), undefined, text);
});

const SPEC = `
type = "directrequest"
schemaVersion = 1
name = "prices"
contractAddress = "0x613a38AC1659769640aaE063C651F48E0250454C"
externalJobID = "0eec7e1d-d0d2-476c-a1a8-72dfb6633f46"
observationSource = """
    a [type=memo value="$(jobRun.logBlockHash)"]
"""
`;

test("TOML: keys in lower and in upper case, numbers and payments in quotes, requesters in any case, a mark of the bytes' order", () => {
  const job = parseJob(
    `\uFEFF${SPEC.replace("contractAddress", "contractaddress").replace("externalJobID", "EXTERNALJOBID").replace("observationSource", "OBSERVATIONSOURCE")}
    evmchainid = "0x7a69"
    minIncomingConfirmations = "3"
    minContractPaymentLinkJuels = "1000000000000000000"
    requesters = ["0x613A38ac1659769640aaE063C651F48E0250454c"]
    gasLimit = "700000"
    maxTaskDuration = "1m30s"
    relay = "evm"`,
  );
  assert.equal(job.contractAddress, "0x613a38ac1659769640aae063c651f48e0250454c");
  assert.equal(job.externalJobId, "0eec7e1d-d0d2-476c-a1a8-72dfb6633f46");
  assert.equal(job.evmChainId, 31337n);
  assert.equal(job.minIncomingConfirmations, 3);
  assert.equal(job.minContractPayment, 10n ** 18n);
  assert.deepEqual([...job.requesters], ["0x613a38ac1659769640aae063c651f48e0250454c"]);
  assert.equal(job.gasLimit, 700_000n);
  assert.equal(job.maxTaskDurationMs, 90_000);
  assert.deepEqual(job.ignored, ["relay"]);
});

test("jobRun and jobSpec as an adapter gets them, with the roots of the request's block where a task names them", async () => {
  const word = (digit: string) => `0x${digit.repeat(64)}`;
  const address = "0x613a38AC1659769640aaE063C651F48E0250454C";
  const log = operatorAbi.encodeEventLog("OracleRequest", [
    word("1"),
    address,
    word("2"),
    5n,
    address,
    "0x01020304",
    6n,
    2n,
    "0x6161",
  ]);
  const raw = {
    address: address.toLowerCase(),
    ...log,
    blockNumber: "0x10",
    blockHash: word("b"),
    transactionHash: word("c"),
    logIndex: "0x0",
  };
  const job = parseJob(SPEC);
  const one = runOf(raw, job, { chainId: 31337n, minContractPayment: 0n }, undefined);
  const asked: unknown[] = [];
  const rpc: JsonRpc = {
    call: async <T>(method: string, params: readonly unknown[]) => {
      asked.push(method, params);
      return { receiptsRoot: word("d"), transactionsRoot: word("e"), stateRoot: word("f") } as T;
    },
  };
  assert.deepEqual(await blockRoots(one, job, rpc), {});
  const whole = parseJob(SPEC.replace("jobRun.logBlockHash", " jobRun "));
  const { jobSpec, jobRun } = runVariables(one, whole, await blockRoots(one, whole, rpc)) as Record<string, never>;
  assert.deepEqual(asked, ["eth_getBlockByHash", [word("b"), false]]);
  assert.deepEqual(JSON.parse(toJson(jobRun!)), {
    id: one.id,
    meta: {
      oracleRequest: {
        specId: word("1"),
        requester: address,
        requestId: word("2"),
        payment: "5",
        callbackAddr: address,
        callbackFunctionId: "0x01020304",
        cancelExpiration: "6",
        dataVersion: "2",
        data: "0x6161",
      },
    },
    logBlockHash: word("b"),
    logBlockNumber: 16,
    logTxHash: word("c"),
    logAddress: address.toLowerCase(),
    logTopics: log.topics,
    logData: Buffer.from(log.data.slice(2), "hex").toString("base64"),
    blockReceiptsRoot: word("d"),
    blockTransactionsRoot: word("e"),
    blockStateRoot: word("f"),
  });
  assert.deepEqual(JSON.parse(toJson(jobSpec!)), {
    databaseID: job.externalJobId,
    externalJobID: job.externalJobId,
    name: "prices",
    evmChainID: "31337",
  });
  const gone = await blockRoots(one, whole, { call: async <T>() => null as T });
  assert.match(explain(gone.blockStateRoot!), /block 0xb+: it is not known/);
});

test("ethcall: data from JSON, another chain, gas that is both", async () => {
  const asked: string[] = [];
  const rpc: JsonRpc = {
    call: async <T>(_method: string, [call]: readonly unknown[]) => {
      asked.push((call as { data: string }).data);
      return "0x01" as T;
    },
  };
  const call = 'call [type=ethcall contract="0x613a38AC1659769640aaE063C651F48E0250454C"';
  const causeOf = async (rest: string) => explain((await run(`${call} ${rest}]`, { rpc })).error);
  await run(`${call} data=<"0x1234"> gasUnlimited=true block=LATEST evmChainID="31337"]`, { rpc });
  assert.deepEqual(asked, ["0x1234"]);
  assert.match(await causeOf('data="0x12" evmChainID=1'), /serves chain 31337, not 1/);
  assert.match(await causeOf('data="0x12" gas=5 gasUnlimited=true'), /gas must be zero/);
  assert.match(await causeOf('data="plain"'), /not JSON/);
});
