import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { AbiCoder } from "ethers";
import { specIdOf } from "./fixtures/node.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, startScene } from "./support/scene.ts";

/*
 * Specs in the forms that Chainlink's own tests and documentation have them in (multi-word and single-word, by http and by a
 * bridge), with the liberties that those take: attributes in any case or of no meaning, statements that end in semicolons,
 * numbers in quotes, an id in capitals, tasks that are joined by nothing but a variable's name.
 */

const MULTI_WORD = "0EEC7E1D-D0D2-476C-A1A8-72DFB6633F47";
const SINGLE_WORD = "0EEC7E1D-D0D2-476C-A1A8-72DFB6633F90";
const SINGLE_WORD_BRIDGE = "0eec7e1d-d0d2-476c-a1a8-72dfb6633f91";

const HEAD = `
    decode_log   [type=ethabidecodelog
                  abi="OracleRequest(bytes32 indexed specId, address requester, bytes32 requestId, uint256 payment, address callbackAddr, bytes4 callbackFunctionId, uint256 cancelExpiration, uint256 dataVersion, bytes data)"
                  data="$(jobRun.logData)"
                  topics="$(jobRun.logTopics)"]
    decode_cbor  [type=cborparse data="$(decode_log.data)"]`;
const COMMON = `"requestId": $(decode_log.requestId),
                       "payment":   $(decode_log.payment),
                       "callbackAddress": $(decode_log.callbackAddr),
                       "callbackFunctionId": $(decode_log.callbackFunctionId),
                       "expiration": $(decode_log.cancelExpiration)`;
const SINGLE_WORD_ABI =
  "fulfillOracleRequest(bytes32 requestId, uint256 payment, address callbackAddress, bytes4 callbackFunctionId, uint256 expiration, bytes32 data)";
const MULTI_WORD_ABI =
  "fulfillOracleRequest2(bytes32 requestId, uint256 payment, address callbackAddress, bytes4 callbackFunctionId, uint256 expiration, bytes calldata data)";

const price = (of: string) => `
    ${of}          [type=http method=GET url="$(decode_cbor.url_${of})" allowunrestrictednetworkaccess="true"]
    ${of}_parse    [type=jsonparse path="$(decode_cbor.path_${of})"]
    ${of}_multiply [type=multiply value="$(${of}_parse)", times="100"]
    decode_cbor -> ${of}
    ${of} -> ${of}_parse -> ${of}_multiply -> encode_mwr`;

const specs = (operator: string) => ({
  "multi-word": `
type                = "directrequest"
schemaVersion       = 1
name                = "three prices by http"
contractAddress     = "${operator}"
externalJobID       = "${MULTI_WORD}"
observationSource   = """${HEAD}
    decode_log -> decode_cbor
    ${["usd", "eur", "jpy"].map(price).join("\n")}
    encode_mwr [type=ethabiencode
                abi="(bytes32 requestId, uint256 usd, uint256 eur, uint256 jpy)"
                data=<{
                    "requestId": $(decode_log.requestId),
                    "usd": $(usd_multiply),
                    "eur": $(eur_multiply),
                    "jpy": $(jpy_multiply)}>]
    encode_tx  [type=ethabiencode abi="${MULTI_WORD_ABI}"
                data=<{${COMMON},
                       "data": $(encode_mwr)}>]
    submit_tx  [type=ethtx to="${operator}" data="$(encode_tx)" minConfirmations="2"]
    encode_mwr -> encode_tx -> submit_tx
"""
`,
  "single-word": `
type                = "directrequest"
schemaVersion       = 1
name                = "a price by http"
contractAddress     = "${operator}"
externalJobID       = "${SINGLE_WORD}"
evmChainID          = 31337
observationSource   = """${HEAD}
    ds1          [type=http method=GET url="$(decode_cbor.url)" allowunrestrictednetworkaccess="true"];
    ds1_parse    [type=jsonparse path="$(decode_cbor.path)"];
    ds1_multiply [type=multiply value="$(ds1_parse)" times=100];
    encode_data  [type=ethabiencode abi="(uint256 value)" data=<{"value": $(ds1_multiply)}>]
    encode_tx    [type=ethabiencode abi="${SINGLE_WORD_ABI}"
                  data=<{${COMMON},
                       "data": $(encode_data)}>]
    submit       [type=ethtx to="${operator}" data="$(encode_tx)" minConfirmations="2"]
    decode_log->decode_cbor->ds1 -> ds1_parse -> ds1_multiply->encode_data->encode_tx->submit;
"""
`,
  // No edge leads to or from decode_cbor.
  "single-word-bridge": `
type = "directrequest"
schemaVersion = 1
name = "a price by a bridge"
externalJobID = "${SINGLE_WORD_BRIDGE}"
maxTaskDuration = "0s"
contractAddress = "${operator}"
minContractPaymentLinkJuels = "0"
observationSource = """${HEAD}
    fetch        [type="bridge" name="words" requestData="{ \\\\"coin\\\\": $(decode_cbor.coin), \\\\"data\\\\": { \\\\"text\\\\": $(decode_cbor.coin) } }"]
    parse        [type="jsonparse" path="price" data="$(fetch)"]
    multiply     [type="multiply" input="$(parse)" times="100"]
    encode_data  [type="ethabiencode" abi="(uint256 value)" data="{ \\\\"value\\\\": $(multiply) }"]
    encode_tx    [type="ethabiencode" abi="${SINGLE_WORD_ABI}" data=<{${COMMON}, "data": $(encode_data)}>]
    submit_tx    [type="ethtx" to="${operator}" data="$(encode_tx)"]
    decode_log -> fetch -> parse -> multiply -> encode_data -> encode_tx -> submit_tx
"""
`,
});

describe("specs that were written for a Chainlink node", () => {
  const prices: Record<string, string> = {
    "/usd": '{"USD": 31982.57}',
    "/eur": '{"EUR": {"last": "28510.01"}}',
    "/jpy": '[{"JPY": 3507272}]',
  };
  const server = createServer((request, response) => response.end(prices[request.url!]));
  let scene: Scene;
  let source: string;
  before(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    source = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    scene = await startScene({ specs });
  });
  after(async () => {
    await scene?.close();
    server.close();
  });

  async function ask(
    group: string,
    jobId: string,
    multiWord: boolean,
    texts: Record<string, string>,
  ): Promise<bigint[]> {
    const request = scene.chain.requester.getFunction("requestPrices");
    await request(specIdOf(jobId.toLowerCase()), group, multiWord, Object.keys(texts), Object.values(texts));
    await scene.delivered(group, 1);
    await until("the run", async () =>
      (await scene.node.get<{ requestId: string; state: string }[]>("/runs")).every((run) => run.state === "delivered"),
    );
    const { data } = (await scene.deliveries(group))[0]!;
    return [
      ...(AbiCoder.defaultAbiCoder().decode(
        multiWord ? ["uint256", "uint256", "uint256"] : ["uint256"],
        data,
      ) as Iterable<bigint>),
    ];
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
    assert.deepEqual(await ask("three", MULTI_WORD, true, texts), [3198257n, 2851001n, 350727200n]);
  });

  test("single-word, by http", async () => {
    assert.deepEqual(await ask("one", SINGLE_WORD, false, { url: `${source}/usd`, path: "USD" }), [3198257n]);
  });

  test("single-word, by a bridge, with a task that only its variables join", async () => {
    scene.adapter.answer = (body) => ({ body: { price: body.coin === "XDC" ? "0.0425" : 0 } });
    assert.deepEqual(await ask("bridge", SINGLE_WORD_BRIDGE, false, { coin: "XDC" }), [4n]);
  });
});
