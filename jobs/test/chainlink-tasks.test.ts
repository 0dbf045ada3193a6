import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "@bijuli/protocol";
import { AbiCoder } from "ethers/abi";
import { Decimal } from "../src/pipeline/decimal.ts";
import { taskTypes } from "../src/pipeline/tasks/index.ts";
import { FixedBytes, toJson, type Value, type ValueMap } from "../src/pipeline/value.ts";

/* Tasks where only a Chainlink node's Go code, and that code's own tests, say what they do. */

const shown = (value: Value): unknown =>
  value instanceof Error
    ? `error: ${explain(value)}`
    : value instanceof Decimal
      ? value.toString()
      : value instanceof Uint8Array
        ? Buffer.from(value).toString("hex")
        : value;

/** What a task makes of its attributes, its inputs and the variables. */
async function give(
  type: string,
  attributes: Record<string, string>,
  inputs: readonly Value[] = [],
  variables: ValueMap = {},
): Promise<unknown> {
  const { signal } = new AbortController();
  try {
    const context = undefined as never;
    return shown(await taskTypes[type]!.run({ id: "t", attributes, variables, inputs, context, signal }));
  } catch (error) {
    return `error: ${explain(error)}`;
  }
}

const failed = new Error("no price");

test("lessthan: left and right, not what its JSON names say", async () => {
  assert.equal(await give("lessthan", { left: "3", right: "10" }), true);
  assert.equal(await give("lessthan", { right: "-5" }, [1.23]), false);
  assert.equal(await give("lessthan", { right: "$(x)" }, ["1.1"], { x: new Decimal(2n) }), true);
});

test("conditional reads a variable or its input; other text counts for nothing", async () => {
  assert.equal(await give("conditional", {}, [true]), true);
  assert.equal(await give("conditional", { data: "$(x)" }, [false], { x: "1" }), true);
  assert.match(String(await give("conditional", { data: "true" }, [false])), /not satisfied/);
  assert.match(String(await give("conditional", { data: "true" })), /^error/);
});

test("lookup takes the key as it is written, from a map that an edge brings", async () => {
  assert.equal(await give("lookup", { key: "foo" }, [{ foo: 42 }]), 42);
  assert.equal(await give("lookup", { key: "$(x)" }, [{ "$(x)": 1 }], { x: "foo" }), 1);
  assert.equal(await give("lookup", { key: "bar" }, [{ foo: 42 }]), null);
  assert.match(String(await give("lookup", { key: "foo" }, ['{"foo": 1}'])), /expected an object/);
});

test("length counts the bytes that hex text stands for, and the items of a list in JSON", async () => {
  assert.equal(await give("length", { input: "xyz" }), "3");
  assert.equal(await give("length", { input: "0x1234" }), "2");
  assert.equal(await give("length", { input: "0x123" }), "5");
  assert.equal(await give("length", {}, [[1, 2]]), "2");
  assert.equal(await give("length", {}, ["[1, 2, 3]"]), "3");
  assert.equal(await give("length", {}, [null]), "0");
  assert.match(String(await give("length", {}, [7])), /expected bytes/);
});

test("null, broken lines and hex: the text tasks", async () => {
  assert.equal(await give("hexencode", {}, [null]), "");
  assert.equal(await give("hexencode", {}, [12345678901234567890n]), "0xab54a98ceb1f0ad2");
  assert.equal(await give("hexencode", {}, [0]), "0x0");
  assert.equal(await give("hexencode", {}, [new Decimal(256n)]), "0x100");
  assert.equal(await give("hexencode", {}, ["0xff"]), "0x30786666");
  assert.equal(await give("hexencode", {}, [Buffer.from("0a00ff01", "hex")]), "0x0a00ff01");
  for (const bad of [-1, 1.44, -100n, true]) assert.match(String(await give("hexencode", {}, [bad])), /^error/);
  assert.match(String(await give("hexencode", {}, ["3.14", failed])), /input failed/);
  assert.equal(await give("base64encode", {}, [null]), "");
  assert.equal(await give("base64decode", { input: "SGVs\nbG8=" }), Buffer.from("Hello").toString("hex"));
  assert.equal(await give("hexdecode", { input: "0X12" }), "12");
  assert.match(String(await give("hexdecode", { input: "12" })), /prefix 0x/);
});

test("mode: numbers, decimals, texts and bytes of the same writing are one value, the last of them is given", async () => {
  const of = (...values: Value[]) => give("mode", {}, values);
  assert.deepEqual(await of("foo", "foo", "bar", true), { results: ["foo"], occurrences: 2 });
  assert.deepEqual(await of(new Decimal(1234n, 3), 1.234, "1.234"), { results: ["1.234"], occurrences: 3 });
  assert.deepEqual(await of(1, 2, 2, 1), { results: [2, 1], occurrences: 2 });
  assert.deepEqual(await of(Buffer.from("foo"), "foo", failed), { results: ["foo"], occurrences: 2 });
  assert.deepEqual(await of([1, 2], [1, 2], "x"), { results: [[1, 2]], occurrences: 2 });
});

test("median: lax leaves nulls aside, countNilsAsFaults counts them", async () => {
  assert.match(String(await give("median", {}, [1, null, 3])), /expected a number/);
  assert.equal(await give("median", { lax: "true" }, [1, null, 3]), "2");
  assert.equal(await give("median", { lax: "true" }, [null]), null);
  assert.equal(await give("median", { countNilsAsFaults: "true", allowedFaults: "1" }, [1, null, 3]), "2");
  assert.match(
    String(await give("median", { countNilsAsFaults: "true", allowedFaults: "1" }, [1, null, null])),
    /2 of 3 inputs failed/,
  );
  assert.match(String(await give("median", { lax: "true", countNilsAsFaults: "true" }, [1])), /exclude/);
});

test("allowedFaults: unset all but one may fail", async () => {
  assert.equal(await give("sum", {}, [failed, failed, 3]), "3");
  assert.match(String(await give("sum", {}, [failed, failed])), /2 of 2 inputs failed/);
  assert.match(String(await give("mean", { allowedFaults: "0" }, [failed, 3])), /1 of 2 inputs failed/);
  assert.match(String(await give("mean", {}, [])), /no values/);
});

test("divide: several inputs, digits before the point, half away from zero", async () => {
  assert.equal(await give("divide", { divisor: "$(b)" }, [10, 4], { b: 4 }), "2.5");
  assert.equal(await give("divide", { input: "12345", divisor: "1", precision: "-2" }), "12300");
  assert.equal(await give("divide", { input: "-2.5", divisor: "1", precision: "0" }), "-3");
  assert.equal(await give("divide", { input: "1", divisor: "3" }), "0.3333333333333333");
  for (const [input, divisor, precision, quotient] of [
    ["12345.67", "1000000000000000000", "", "0.0000000000000123"],
    [200, "6", "18", "33.333333333333333333"],
    [12345.67, "1000", "-1", "10"],
    [12345.67, "1000", 2, "12.35"],
  ] as const) {
    const named = { input: "$(i)", divisor: "$(d)", precision: "$(p)" };
    assert.equal(await give("divide", named, [], { i: input, d: divisor, p: precision }), quotient);
  }
  assert.match(String(await give("divide", { input: "1", divisor: "0.0" })), /divide by zero/);
});

test("jsonparse: what its data and its path may be, and where lax helps", async () => {
  const parse = (attributes: Record<string, string>, data: Value, variables: ValueMap = {}) =>
    give("jsonparse", attributes, [data], variables);
  assert.equal(await parse({ path: "data,-10" }, '{"data": [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]}'), 0);
  assert.equal(await parse({ path: "some_id" }, '{"some_id":1564679049192120321}'), 1564679049192120321n);
  assert.equal(await parse({ path: "Rate,5. Rate" }, '{"Rate": {"5. Rate": "0.00058217"}}'), "0.00058217");
  assert.equal(await parse({ path: "a b", separator: " " }, '{"a": {"b": 1}}'), 1);
  assert.equal(await parse({ path: "$(p)" }, '{"a": [7]}', { p: ["a", "0"] }), 7);
  assert.deepEqual(await parse({}, '{"a": 1}'), { a: 1 });
  assert.equal(await parse({ path: "a" }, Buffer.from('{"a": 1}')), 1);
  assert.equal(await parse({ path: "a", data: '{"a": 2}' }, '{"a": 1}'), 1, "text in data is not data");
  for (const index of ["-3", "18446744073709551616"]) {
    assert.equal(await parse({ path: `data,${index}`, lax: "true" }, '{"data": [0, 1]}'), null);
    assert.match(String(await parse({ path: `data,${index}` }, '{"data": [0, 1]}')), /could not resolve/);
  }
  assert.equal(await parse({ path: "foo,baz", lax: "true" }, '{"foo": {}}'), null);
  assert.match(String(await parse({ path: "foo,bar,baz", lax: "true" }, '{"foo": {}}')), /could not resolve/);
  assert.match(String(await parse({ path: "foo", lax: "sergey" }, "{}")), /lax/);
});

test("cborparse: what stands behind the map, a missing opening, addresses in bytes", async () => {
  const parse = async (data: string, mode = "diet") => {
    const parsed = await give("cborparse", { data: "$(d)", mode }, [], { d: data });
    return typeof parsed === "object" ? (JSON.parse(toJson(parsed as Value)) as unknown) : parsed;
  };
  const hello =
    "bf6375726c781a68747470733a2f2f657468657270726963652e636f6d2f61706964706174689f66726563656e7463757364ffff";
  const said = { url: "https://etherprice.com/api", path: ["recent", "usd"] };
  assert.deepEqual(await parse(`0x${hello}`), said);
  assert.deepEqual(await parse(`0x${hello}000000`), said);
  assert.deepEqual(await parse("0x636B65796576616C7565ff"), { key: "value" });
  assert.deepEqual(await parse("0xa0"), {});
  const address = "8bd112d3f8f92e41c861939545ad387307af9703";
  assert.deepEqual(
    await parse(
      `0x6d72656d6f7465436861696e4964186a6e6c69627261727956657273696f6e016f636f6e74726163744164647265737354${address}`,
    ),
    { remoteChainId: 106, libraryVersion: 1, contractAddress: Buffer.from(address, "hex").toString("base64") },
  );
  for (const bad of ["0xff", "0x01", "0x6161ff", "0xbf6161"]) assert.match(String(await parse(bad)), /^error/, bad);
  assert.equal(await parse("0x", "standard"), null);
});

test("ABI: bytes are cut or filled to a fixed size, texts must fit; more than a type holds is refused", async () => {
  const encode = (type: string, x: Value) =>
    give("ethabiencode", { abi: `(${type} x)`, data: '{"x": $(x)}' }, [], { x });
  assert.equal(
    await encode("bytes32", Buffer.from("stevetoshi")),
    `0x${Buffer.from("stevetoshi").toString("hex").padEnd(64, "0")}`,
  );
  assert.equal(await encode("bytes4", Buffer.from("a1b2c3d4e5", "hex")), `0x${"a1b2c3d4".padEnd(64, "0")}`);
  assert.equal(await encode("bytes4", "abcd"), `0x${"61626364".padEnd(64, "0")}`);
  assert.match(String(await encode("bytes4", "abc")), /expected 4 bytes/);
  assert.match(String(await encode("bytes", "0x123")), /not hex/);
  assert.equal(await encode("uint256", "1e3"), `0x${(1000).toString(16).padStart(64, "0")}`);
  assert.equal(await encode("int8", new Decimal(-15n, 1)), `0x${"f".repeat(64)}`);
  for (const [type, x] of [
    ["uint8", -1],
    ["uint256", -1],
    ["int8", 128],
    ["uint24", 2n ** 24n],
  ] as const) {
    assert.match(String(await encode(type, x)), /overflows/, type);
  }
  assert.match(String(await encode("bool", 1)), /true or false/);
  assert.equal(await encode("uint256[2]", ["1", 2]), `0x${"1".padStart(64, "0")}${"2".padStart(64, "0")}`);
  assert.match(String(await encode("uint256[2]", [1])), /expected 2, got 1/);
});

test("ABI: unusual names, nested arrays, words between type and name", async () => {
  const selector = async (abi: string, data: string, variables: ValueMap) =>
    String(await give("ethabiencode", { abi, data }, [], variables));
  const coder = AbiCoder.defaultAbiCoder();
  const unusual = await selector(
    "foo_Bar__3928 ( uint256 u, bool b, int256 i, string s )",
    '{"u": $(u), "b": $(b), "i": $(i), "s": $(s)}',
    { u: 123, b: "T", i: -321, s: Buffer.from("foo bar baz") },
  );
  const values = [123, true, -321, "foo bar baz"];
  assert.equal(unusual, `0xae506917${coder.encode(["uint256", "bool", "int256", "string"], values).slice(2)}`);
  const arrays: [bools: boolean[][], uints: number[][]] = [
    [
      [true, false],
      [false, true],
    ],
    [
      [123, 456],
      [22, 19842],
    ],
  ];
  const abi = "arrayOfArrays(bool[2][] calldata bools, uint96[2][] memory uints)";
  assert.equal(
    await selector(abi, '{"bools": $(b), "uints": $(u)}', { b: arrays[0], u: arrays[1] }),
    `0xb04bee77${coder.encode(["bool[2][]", "uint96[2][]"], arrays).slice(2)}`,
  );
  assert.equal(await selector("noArgs()", "", {}), "0x83c962bb");
  for (const bad of [
    "f(address, uint256[])",
    "f(uint256[] calldata)",
    "f(uint256 a b)",
    "f(uint256 a) g",
    "f(uint256 a",
  ]) {
    assert.match(await selector(bad, "{}", {}), /bad ABI specification/, bad);
  }
  const short = `0x${"00".repeat(64)}`;
  const log = { abi: "E(bytes32 a, bytes32 b, uint256 c)", data: "$(d)", topics: "$(t)" };
  assert.match(String(await give("ethabidecodelog", log, [], { d: short, t: [] })), /64 bytes do not hold/);
});

test("ABI: no data decodes to nothing, hashed topics are hex text", async () => {
  assert.deepEqual(await give("ethabidecode", { abi: "uint256 x", data: "$(d)" }, [], { d: "0x" }), {});
  const topics = [`0x${"0".repeat(64)}`, `0x${"AB".repeat(32)}`, `0x${"12".repeat(32)}`];
  assert.deepEqual(
    await give("ethabidecodelog", { abi: "E(string indexed s, bytes32 indexed b)", topics: "$(t)" }, [], { t: topics }),
    { s: `0x${"ab".repeat(32)}`, b: FixedBytes.from(Buffer.from("12".repeat(32), "hex")) },
  );
  assert.match(
    String(await give("ethabidecodelog", { abi: "E(string indexed s)", topics: "$(t)" }, [], { t: topics })),
    /3 topics for 1 indexed/,
  );
});

test("what was decoded goes to an adapter as Go writes it", async () => {
  const data = AbiCoder.defaultAbiCoder().encode(
    ["bytes4", "bytes", "address", "uint256"],
    ["0x01020304", "0x0102", "0xf17f52151EbEF6C7334FAD080c5704D77216b732", 2n ** 70n],
  );
  const abi = "bytes4 fixed, bytes memory free, address who, uint256 big";
  const decoded = (await give("ethabidecode", { abi, data: "$(d)" }, [], { d: data })) as ValueMap;
  assert.equal(
    toJson(decoded),
    `{"fixed":[1,2,3,4],"free":"AQI=","who":"0xf17f52151ebef6c7334fad080c5704d77216b732","big":${2n ** 70n}}`,
  );
});

test("a variable that stands alone may have any letters in its path", async () => {
  const variables = { cbor: { "my-key": "USD", list: ["x"] } };
  assert.equal(await give("lowercase", { input: " $( cbor.my-key ) " }, [], variables), "usd");
  assert.match(String(await give("lowercase", { input: "$(cbor.list.-1)" }, [], variables)), /out of range/);
  assert.match(String(await give("lowercase", { input: "$(cbor..list)" }, [], variables)), /^error/);
  assert.equal(await give("lowercase", { input: "$()" }, ["A"], variables), "$()");
});

test("JSON with variables ends with its first value", async () => {
  const variables = { x: "]}" };
  for (const left of ['{"a": [$(x), "}]\\"{"], "b": {}}', '{"a": [$(x), "}]\\"{"], "b": {}}} ; "']) {
    assert.deepEqual(await give("merge", { left, right: "{}" }, [], variables), { a: ["]}", '}]"{'], b: {} });
  }
  assert.equal(await give("memo", { value: " 5 " }), 5);
  assert.match(String(await give("merge", { left: '{"a": "$(x)"}', right: "{}" }, [], variables)), /is not JSON/);
});
