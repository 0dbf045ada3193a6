import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseJob, provisionSpec, specIdsOf } from "../src/spec/job.ts";
import { SpecError } from "../src/spec/problem.ts";

const lotReadings = readFileSync(join(import.meta.dirname, "../specs/lot-readings.toml"), "utf8");

/* The single-word example of Chainlink's documentation ("Direct request jobs"), with its escapes. */
const documented = `
type                = "directrequest"
schemaVersion       = 1
name                = "example eth request event spec"
contractAddress     = "0x613a38AC1659769640aaE063C651F48E0250454C"
externalJobID       = "0eec7e1d-d0d2-476c-a1a8-72dfb6633f46"
maxTaskDuration = "0s"
observationSource   = """
    ds          [type="http" method=GET url="http://example.com"]
    ds_parse    [type="jsonparse" path="USD"]
    ds_multiply [type="multiply" times=100]

    ds -> ds_parse -> ds_multiply
"""
`;

test("a documented spec is read as it is", () => {
  const job = parseJob(documented);
  assert.deepEqual(
    job.pipeline.map(({ id, type }) => [id, type]),
    [
      ["ds", "http"],
      ["ds_parse", "jsonparse"],
      ["ds_multiply", "multiply"],
    ],
  );
  assert.deepEqual(job.ordering, { group: "$(request.requester)", mode: "pipelined", maxHoldMs: 600_000 });
  assert.equal(job.contractAddress, "0x613a38ac1659769640aae063c651f48e0250454c");
});

test("attributes as a Chainlink node reads them: letters' case says nothing, what it does not know is left aside and told", () => {
  const job = parseJob(
    documented
      .replace("method=GET", "METHOD=GET allowunrestrictednetworkaccess=true")
      .replace("times=100", 'times=100 value="$(ds_parse)"'),
  );
  assert.deepEqual(job.pipeline[0]!.attributes, {
    type: "http",
    method: "GET",
    allowUnrestrictedNetworkAccess: "true",
    url: "http://example.com",
  });
  assert.deepEqual(job.ignored, ["task ds_multiply, value"]);
});

test("both encodings of an externalJobID", () => {
  assert.deepEqual(specIdsOf("0eec7e1d-d0d2-476c-a1a8-72dfb6633f46"), [
    "0x3065656337653164643064323437366361316138373264666236363333663436",
    "0x0eec7e1dd0d2476ca1a872dfb6633f4600000000000000000000000000000000",
  ]);
});

test("the market's spec is filled in for a network", () => {
  const job = parseJob(provisionSpec(lotReadings, { contractAddress: `0x${"ab".repeat(20)}`, evmChainID: 5 }));
  assert.equal(job.contractAddress, `0x${"ab".repeat(20)}`);
  assert.equal(job.evmChainId, 5n);
  assert.equal(job.gasLimit, 5_000_000n);
  assert.deepEqual(job.ordering, { group: "$(cbor.feeder)", mode: "pipelined", maxHoldMs: 600_000 });
  const fetch = job.pipeline.find((task) => task.id === "fetch")!;
  assert.deepEqual([fetch.retries, fetch.minBackoffMs, fetch.maxBackoffMs, fetch.timeoutMs], [720, 200, 5_000, 30_000]);
});

const broken: [what: string, change: (text: string) => string, line: number, field: RegExp, problem: RegExp][] = [
  ["TOML", (text) => text.replace('type                = "directrequest"', "type = "), 2, /TOML/, /./],
  ["another type", (text) => text.replace("directrequest", "cron"), 2, /^type$/, /only directrequest/],
  [
    "another version",
    (text) => text.replace("schemaVersion       = 1", "schemaVersion = 2"),
    3,
    /schemaVersion/,
    /must be 1/,
  ],
  ["a bad checksum", (text) => text.replace("0x613a38AC", "0x613a38aC"), 5, /contractAddress/, /checksum/],
  ["a bad UUID", (text) => text.replace("0eec7e1d", "0eec7e1"), 6, /externalJobID/, /not a UUID/],
  ["a bad duration", (text) => text.replace('"0s"', '"soon"'), 7, /maxTaskDuration/, /not a duration/],
  ["no tasks", (text) => text.replace(/"""[\s\S]*"""/, '""'), 8, /observationSource/, /no tasks/],
  [
    "an unknown task",
    (text) => text.replace('type="jsonparse"', 'type="xmlparse"'),
    10,
    /task ds_parse, type/,
    /unknown task type "xmlparse"/,
  ],
  ["a missing attribute", (text) => text.replace(" times=100", ""), 11, /task ds_multiply, times/, /missing/],
  [
    "a cycle",
    (text) => text.replace('ds_multiply\n"""', 'ds_multiply -> ds\n"""'),
    8,
    /observationSource/,
    /wait for one another/,
  ],
  ["broken DOT", (text) => text.replace('[type="jsonparse"', 'type="jsonparse"'), 10, /observationSource/, /expected/],
  ["an open quote", (text) => text.replace('"USD"', '"USD'), 11, /observationSource/, /./],
  [
    "an undeclared task",
    (text) => text.replace("ds -> ds_parse", "ds -> dsparse"),
    13,
    /task dsparse, type/,
    /missing/,
  ],
  [
    "bad retries",
    (text) => text.replace("method=GET", 'method=GET retries="many"'),
    9,
    /task ds, retries/,
    /not a whole number/,
  ],
  [
    "a task that wants a transaction's receipt",
    (text) =>
      text.replace(
        "    ds -> ds_parse -> ds_multiply\n",
        '    tx [type="ethtx" to="0x613a38AC1659769640aaE063C651F48E0250454C" data="0x" minConfirmations=2]\n    ds -> ds_parse -> tx -> ds_multiply\n',
      ),
    13,
    /task tx, ethtx/,
    /they need minConfirmations=0/,
  ],
  ["a bad mode", (text) => `${text}[ordering]\nmode = "loose"\n`, 16, /ordering.mode/, /pipelined/],
  ["an unknown ordering key", (text) => `${text}[ordering]\nmax_hold = "1m"\n`, 16, /ordering.max_hold/, /not a key/],
  [
    "an unknown group root",
    (text) => `${text}[ordering]\ngroup = "$(decode_cbor.feeder)"\n`,
    16,
    /ordering.group/,
    /unknown/,
  ],
];
for (const [what, change, line, field, problem] of broken) {
  test(`refused with line and field: ${what}`, () => {
    const text = change(documented);
    assert.notEqual(text, documented);
    assert.throws(
      () => parseJob(text),
      (error: unknown) => {
        assert.ok(error instanceof SpecError);
        assert.equal(error.line, line, error.message);
        assert.match(error.field, field);
        assert.match(error.problem, problem);
        return true;
      },
    );
  });
}
