import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "@bijuli/protocol";
import { Decimal } from "../src/pipeline/decimal.ts";
import { FixedBytes } from "../src/pipeline/value.ts";
import { run } from "./fixtures/pipeline.ts";

const errorOf = (value: unknown) =>
  value instanceof Error ? explain(value) : assert.fail(`no error: ${String(value)}`);
const shown = (value: unknown) => (value instanceof Decimal ? value.toString() : value);

test("branches run in parallel and meet in the order of their index", async () => {
  const ran = await run(`
    a [type=memo value=<"a"> index=1]
    b [type=memo value=<"b"> index=0]
    both [type=mode]
    a -> both
    b -> both
  `);
  assert.deepEqual(ran.value("both"), { results: ["b", "a"], occurrences: 1 });
});

test("a failed task's error reaches the next ones, of which some allow faults", async () => {
  const ran = await run(`
    bad [type=fail msg="no price"]
    good [type=memo value=<"5">]
    other [type=memo value=<"7">]
    price [type=median]
    strict [type=median allowedFaults=0]
    bad -> price
    good -> price
    other -> price
    bad -> strict
    good -> strict
  `);
  assert.equal(shown(ran.value("price")), "6");
  assert.match(errorOf(ran.value("strict")), /1 of 2 inputs failed.*no price/);
  assert.match(explain(ran.error), /task bad: no price/);
});

test("a task waits for what it names, also without an edge, and gets no input by that", async () => {
  const ran = await run(`
    first  [type=memo value=<"1">]
    named  [type=memo value="$(first)"]
    sum    [type=sum values=<[ $(named), $(late) ]>]
    alone  [type=any]
    late   [type=memo value=<2>]
    first -> alone
    named -> sum
  `);
  assert.equal(String(ran.value("sum")), "3");
  assert.equal(ran.value("alone"), "1");
});

test("failEarly ends the run at once", async () => {
  const ran = await run(`
    bad [type=fail msg="stop" failEarly=true]
    next [type=memo value=<"x">]
    bad -> next
  `);
  assert.match(explain(ran.error), /task bad: stop/);
  assert.deepEqual(
    ran.tasks.map((task) => task.id),
    ["bad"],
  );
});

test("variables reach into maps and lists; a missing key names itself", async () => {
  const ran = await run(
    `
    deep [type=lowercase input="$(jobRun.list.1.name)"]
    lost [type=lowercase input="$(jobRun.list.7.name)"]
    gone [type=lowercase input="$(nothing)"]
  `,
    { variables: { jobRun: { list: [{ name: "A" }, { name: "BETA" }] } } },
  );
  assert.equal(ran.value("deep"), "beta");
  assert.match(errorOf(ran.value("lost")), /index 7 is out of range/);
  assert.match(errorOf(ran.value("gone")), /there is no "nothing"/);
});

/* The examples of Chainlink's task documentation (docs.chain.link, "Task types"). */
test("documented examples of the arithmetic and text tasks", async () => {
  const ran = await run(`
    divide [type="divide" input="10" divisor="3" precision="2"]
    mean [type="mean" values=<[ 2, 4, 7 ]> precision="2"]
    median [type="median" values=<[ "1", 5, 3 ]>]
    even [type="median" values=<[ 1, 2 ]>]
    mode [type="mode" values=<[ 1, 1, 2, 3 ]>]
    multiply [type="multiply" input="3.5" times="1000000000000000000"]
    sum [type="sum" values=<[ 0.1, 0.2 ]>]
    less [type="lessthan" left="10" right="20"]
    upper [type="uppercase" input="eth"]
    hex [type="hexencode" input="foo"]
    unhex [type="hexdecode" input="0x666f6f"]
    base [type="base64encode" input="Hello, playground"]
    unbase [type="base64decode" input="SGVsbG8sIHBsYXlncm91bmQ="]
    len [type="length" input="xyz"]
    merged [type="merge" left=<{"a": 1, "b": 2}> right=<{"b": 3}>]
    look [type="lookup" key="b"]
    merged -> look
  `);
  assert.equal(shown(ran.value("divide")), "3.33");
  assert.equal(shown(ran.value("mean")), "4.33");
  assert.equal(shown(ran.value("median")), "3");
  assert.equal(shown(ran.value("even")), "1.5");
  assert.deepEqual(ran.value("mode"), { results: [1], occurrences: 2 });
  assert.equal(shown(ran.value("multiply")), "3500000000000000000");
  assert.equal(shown(ran.value("sum")), "0.3");
  assert.equal(ran.value("less"), true);
  assert.equal(ran.value("upper"), "ETH");
  assert.equal(ran.value("hex"), "0x666f6f");
  assert.deepEqual(ran.value("unhex"), Buffer.from("foo"));
  assert.equal(ran.value("base"), "SGVsbG8sIHBsYXlncm91bmQ=");
  assert.deepEqual(ran.value("unbase"), Buffer.from("Hello, playground"));
  assert.equal(shown(ran.value("len")), "3");
  assert.equal(ran.value("look"), 3);
});

test("jsonparse: names, indices from both ends, separator, lax; integers keep every digit", async () => {
  const data = '{"a": [1, {"b.c": 12345678901234567890}], "data": {"result": "x"}}';
  const ran = await run(
    `
    deep [type=jsonparse path="a,-1,b.c" data="$(jobRun.data)"]
    slash [type=jsonparse path="data/result" separator="/" data="$(jobRun.data)"]
    lax [type=jsonparse path="a,9" lax=true data="$(jobRun.data)"]
    lost [type=jsonparse path="a,9" data="$(jobRun.data)"]
    html [type=jsonparse path="a" data="$(jobRun.html)"]
  `,
    { variables: { jobRun: { data, html: "<html>" } } },
  );
  assert.equal(ran.value("deep"), 12345678901234567890n);
  assert.equal(ran.value("slash"), "x");
  assert.equal(ran.value("lax"), null);
  assert.match(errorOf(ran.value("lost")), /could not resolve path \["a","9"\]/);
  assert.match(errorOf(ran.value("html")), /is not JSON/);
});

test("cborparse: without its delimiters, with them, empty, bignums, and what is no map", async () => {
  const ran = await run(
    `
    diet [type=cborparse data="$(jobRun.diet)"]
    whole [type=cborparse data="$(jobRun.whole)"]
    empty [type=cborparse data="$(jobRun.empty)"]
    big [type=cborparse data="$(jobRun.big)"]
    standard [type=cborparse mode=standard data="$(jobRun.number)"]
    bad [type=cborparse data="$(jobRun.bad)"]
  `,
    {
      variables: {
        jobRun: {
          diet: "0x636765746568747470736375726c6161", // get: "https", url: "a"
          whole: "0xbf6161f5ff", // {a: true}
          empty: "0x",
          big: "0x6161c249010000000000000000", // a: 2^64
          number: "0x1a000f4240",
          bad: "0x6161ff",
        },
      },
    },
  );
  assert.deepEqual(ran.value("diet"), { get: "https", url: "a" });
  assert.deepEqual(ran.value("whole"), { a: true });
  assert.deepEqual(ran.value("empty"), {});
  assert.deepEqual(ran.value("big"), { a: 2n ** 64n });
  assert.equal(ran.value("standard"), 1_000_000);
  assert.match(errorOf(ran.value("bad")), /malformed CBOR/);
});

test("ABI tasks: log, arguments, call, tuples, and values that do not fit", async () => {
  const ran = await run(
    `
    log [type=ethabidecodelog abi="NewRound(uint256 indexed roundId, address indexed startedBy, uint256 startedAt)"
         data="$(jobRun.data)" topics="$(jobRun.topics)"]
    args [type=ethabidecode abi="bytes32 hash, uint256[] amounts" data="$(encoded)"]
    encoded [type=ethabiencode abi="(bytes32 hash, uint256[] amounts)" data=<{"hash": "0x${"ab".repeat(32)}", "amounts": [1, "2", "0x3"]}>]
    call [type=ethabiencode abi="transfer(address to, uint256 amount)" data=<{"to": "0x${"11".repeat(20)}", "amount": "1.9"}>]
    tuple [type=ethabiencode2 abi=<{"name": "set", "inputs": [{"name": "point", "type": "tuple", "components": [{"name": "x", "type": "uint8"}, {"name": "y", "type": "bytes"}]}]}> data=<{"point": {"x": 255, "y": "0x0102"}}>]
    overflow [type=ethabiencode abi="(uint8 x)" data=<{"x": 256}>]
    short [type=ethabiencode abi="(bytes32 x)" data=<{"x": "0x01"}>]
    missing [type=ethabiencode abi="(bytes32 x)" data=<{"y": 1}>]
    nothex [type=ethabiencode abi="(address x)" data=<{"x": 17}>]
    encoded -> args
  `,
    {
      variables: {
        jobRun: {
          data: "0x000000000000000000000000000000000000000000000000000000000000000f",
          topics: [
            "0x0109fc6f55cf40689f02fbaad7af7fe7bbac8a3d2186600afc7d3e10cac60271",
            "0x0000000000000000000000000000000000000000000000000000000000000009",
            "0x000000000000000000000000f17f52151ebef6c7334fad080c5704d77216b732",
          ],
        },
      },
    },
  );
  assert.deepEqual(ran.value("log"), {
    startedAt: 15n,
    roundId: 9n,
    startedBy: "0xf17f52151ebef6c7334fad080c5704d77216b732",
  });
  assert.deepEqual(ran.value("args"), {
    hash: FixedBytes.from(Buffer.from("ab".repeat(32), "hex")),
    amounts: [1n, 2n, 3n],
  });
  assert.equal(ran.value("call"), `0xa9059cbb${"11".repeat(20).padStart(64, "0")}${"1".padStart(64, "0")}`);
  assert.match(String(ran.value("tuple")), /^0x[0-9a-f]{8}/);
  assert.match(errorOf(ran.value("overflow")), /256 overflows uint8/);
  assert.match(errorOf(ran.value("short")), /expected 32 bytes/);
  assert.match(errorOf(ran.value("missing")), /argument "x" is missing/);
  assert.match(errorOf(ran.value("nothex")), /argument "x" of type address/);
});

test("ethtx hands its transaction over and refuses another chain", async () => {
  const ran = await run(`
    tx [type=ethtx to="0x${"22".repeat(20)}" data="0x1234" gasLimit=700000 from=<["0x${"33".repeat(20)}"]>]
    other [type=ethtx to="0x${"22".repeat(20)}" data="0x1234" evmChainID=1]
  `);
  assert.deepEqual(ran.transactions, [
    {
      to: `0x${"22".repeat(20)}`,
      data: "0x1234",
      gasLimit: 700_000n,
      from: [`0x${"33".repeat(20)}`],
      minConfirmations: undefined,
      failOnRevert: false,
    },
  ]);
  assert.match(errorOf(ran.value("other")), /serves chain 31337, not 1/);
});
