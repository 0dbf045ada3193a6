import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { explain } from "@bijuli/protocol";
import { isInner } from "../src/pipeline/tasks/http-call.ts";
import { type FakeAdapter, startAdapter } from "./fixtures/adapter.ts";
import { run } from "./fixtures/pipeline.ts";

let adapter: FakeAdapter;
before(async () => {
  adapter = await startAdapter();
});
beforeEach(() => adapter.reset());
after(() => adapter.close());

const FETCH =
  'fetch [type=bridge name="words" requestData=<{"id": "1", "data": {"n": $(jobRun.n), "bytes": $(jobRun.bytes)}}> retries=3 minBackoff="10ms" maxBackoff="20ms" timeout="200ms"]';
const ask = (source = FETCH, maxBytes = 32_768) =>
  run(source, {
    bridges: { words: adapter.url },
    maxBytes,
    variables: {
      jobRun: { n: 12345678901234567890n, bytes: Buffer.from([1, 2]), meta: { oracleRequest: { requestId: "0x1" } } },
    },
  });
const failure = async (source?: string, maxBytes?: number) => explain((await ask(source, maxBytes)).error);

test("the adapter gets requestData with the run's meta; integers whole, bytes in base64 as Go writes them", async () => {
  adapter.answer = () => ({ raw: '{"data":{"result":1}}' });
  const ran = await ask();
  assert.equal(ran.value("fetch"), '{"data":{"result":1}}');
  assert.deepEqual(adapter.asked[0]!.body, {
    id: "1",
    data: { n: Number(12345678901234567890n), bytes: "AQI=" },
    meta: { oracleRequest: { requestId: "0x1" } },
  });
});

test("5xx is tried again as often as retries says, 4xx is not", async () => {
  adapter.answer = (_, times) =>
    times < 3 ? { status: 503, body: { error: { name: "TooEarly", message: "lot 7 is open" } } } : { raw: "{}" };
  const ran = await ask();
  assert.equal(ran.error, undefined);
  assert.equal(ran.tasks[0]!.attempts, 3);
  assert.deepEqual(
    ran.failures.map(({ retryInMs }) => retryInMs),
    [10, 20],
  );
  adapter.reset();
  adapter.answer = () => ({ status: 404, body: { error: { name: "UnknownMeter", message: "meter M-9 is unknown" } } });
  assert.match(await failure(), /words answered 404: UnknownMeter: meter M-9 is unknown/);
  assert.equal(adapter.asked.length, 1);
});

test("what counts as an error", async () => {
  adapter.answer = () => ({ body: { statusCode: 502, error: { name: "BadSignature", message: "meter M-1" } } });
  assert.match(
    await failure(),
    /words answered 502: BadSignature: meter M-1/,
    "the body's status overrides the header's",
  );
  adapter.answer = () => ({ body: { statusCode: 200, providerStatusCode: 500, error: "upstream" } });
  assert.match(await failure(), /answered 500: upstream/);
  adapter.answer = () => ({ body: { statusCode: 200, error: "still wrong" } });
  assert.match(await failure(), /answered 500: still wrong/);
  for (const error of ["", false, {}]) {
    adapter.answer = () => ({ body: { statusCode: 200, error } });
    assert.match(await failure(), /answered 500/, `an error of ${JSON.stringify(error)} is one`);
  }
  adapter.answer = () => ({ body: { statusCode: 200, error: null, errorMessage: "old news" } });
  assert.equal((await ask()).error, undefined);
  adapter.answer = () => ({ status: 502, body: { statusCode: 200, data: {} } });
  assert.match(await failure(), /answered 502/, "a body's 200 does not mend an error by HTTP");
  adapter.answer = () => ({ status: 201, body: {} });
  assert.match(await failure(), /answered 201/, "only 200 is success");
  adapter.answer = () => ({ status: 500, raw: "<html>oops</html>" });
  assert.match(await failure(), /answered 500: "<html>oops/);
  adapter.answer = () => ({ raw: "x".repeat(10_000) });
  assert.match(await failure(FETCH, 5_000), /larger than 5000 bytes/);
  adapter.answer = () => ({ hang: true });
  assert.match(await failure(), /timed out after 200 ms/);
  assert.match(
    explain((await run(FETCH, { variables: { jobRun: { n: 1, bytes: "" } } })).error),
    /could not find bridge with name 'words'/,
  );
  const gone = await run(FETCH, {
    bridges: { words: "http://127.0.0.1:1/" },
    variables: { jobRun: { n: 1, bytes: "" } },
  });
  assert.match(explain(gone.error), /no answer from http:\/\/127.0.0.1:1.*ECONNREFUSED/);
});

test("cacheTTL gives the last good answer while the adapter fails", async () => {
  const attributes = FETCH.replace("retries=2", 'retries=0 cacheTTL="1m"');
  adapter.answer = (_, times) => (times === 1 ? { raw: '{"good":1}' } : { status: 500 });
  assert.equal((await ask(attributes)).value("fetch"), '{"good":1}');
  // Another run of the same spec, which is another object here: nothing is cached for it.
  assert.match(await failure(attributes), /answered 500/);
});

test("http reaches no inner address that a request names, unless the spec allows it", async () => {
  adapter.answer = () => ({ raw: "1" });
  const variables = { jobRun: { url: adapter.url, name: adapter.url.replace("127.0.0.1", "localhost") } };
  for (const source of ['get [type=http url="$(jobRun.url)"]', 'get [type=http url="$(jobRun.name)"]']) {
    assert.match(explain((await run(source, { variables })).error), /inner address/);
  }
  const allowed = await run(
    'get [type=http method=POST url="$(jobRun.url)" allowUnrestrictedNetworkAccess=true requestData=<{"a": 1}>]',
    { variables },
  );
  assert.equal(allowed.value("get"), "1");
  const literal = await run(`get [type=http url="${adapter.url}"]`);
  assert.equal(literal.value("get"), "1");
  for (const address of ["10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1"]) {
    assert.ok(isInner(address), address);
  }
  assert.ok(!isInner("93.184.216.34"));
});

test("redirects are followed as Go's client does: to a page by GET, to the same again with the body, ten times", async () => {
  const asked: string[] = [];
  const agents = new Set<string | undefined>();
  const server = createServer((request, response) => {
    request.setEncoding("utf8");
    let body = "";
    request.on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => {
      asked.push(`${request.method} ${request.url} ${body}${request.headers.authorization ?? ""}`);
      agents.add(request.headers["user-agent"]);
      const [status, location] = {
        "/moved": [301, "/page"],
        "/same": [307, "/page"],
        "/away": [302, adapter.url],
        "/round": [308, "/round"],
        "/nowhere": [302, undefined],
      }[request.url!] ?? [200, undefined];
      response.writeHead(status as number, location === undefined ? {} : { location: location as string });
      response.end(request.url);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const get = (path: string, rest = "") => run(`get [type=http url="${origin}${path}" ${rest}]`);
  try {
    assert.equal((await get("/moved", 'method=POST requestData=<{"a": 1}>')).value("get"), "/page");
    assert.equal((await get("/same", 'method=PUT requestData=<{"a": 1}>')).value("get"), "/page");
    assert.deepEqual(asked, ['POST /moved {"a":1}', "GET /page ", 'PUT /same {"a":1}', 'PUT /page {"a":1}']);
    assert.deepEqual([...agents], ["bijuli"]);
    assert.equal((await get("/nowhere", 'headers=<["User-Agent", "me"]>')).value("get"), "/nowhere");
    assert.ok(agents.has("me"));
    adapter.answer = () => ({ raw: "elsewhere" });
    assert.equal((await get("/away", 'headers=<["Authorization", "secret"]>')).value("get"), "elsewhere");
    asked.length = 0;
    assert.match(explain((await get("/round")).error), /redirects more than 10 times/);
    assert.equal(asked.length, 11);
    const url = `${origin}/away`;
    const inner = await run('get [type=http url="$(jobRun.url)"]', { variables: { jobRun: { url } } });
    assert.match(explain(inner.error), /inner address/);
  } finally {
    server.close();
  }
});
