import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readingFromJson, recoverReadingSigner } from "@bijuli/protocol";
import { isLoopback, readerServer } from "../src/server.ts";
import { DOMAIN, startMeter, tempFolder, writeRecording } from "./bench.ts";
import { HandClock } from "./handClock.ts";

const START = "2010-07-15T07:49:00Z";
const FIRST = BigInt(Date.parse("2010-07-15T07:45:00Z") / 300_000);
const WATTS = Array.from({ length: 61 }, (_, minute) => `${100 + minute}.5`);

async function listen(t: TestContext, now: string, token?: string) {
  const folder = tempFolder(t);
  const clock = new HandClock(now);
  const source = `replay:${writeRecording(folder, START, WATTS)}`;
  const { meter } = startMeter(t, { source, clock, store: join(folder, "store.db") });
  const server = readerServer({ meter, clock, version: "1.2.3", token });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(base + path, { headers: { connection: "close" }, ...init });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") && text !== "";
    return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
  };
  return { get, meter, clock };
}

test("a reading proves itself, has an ETag and never changes", async (t) => {
  const { get, meter } = await listen(t, "2010-07-15T08:20:00Z");
  const answer = await get(`/readings/${FIRST + 3n}?lots=3`);
  assert.equal(answer.status, 200);
  const reading = readingFromJson(answer.body.reading);
  assert.equal(reading.energies.length, 3);
  assert.equal(recoverReadingSigner(DOMAIN, reading, answer.body.signature), meter.signer);
  assert.deepEqual(Object.keys(answer.body), ["serial", "reading", "signature", "signer", "digest", "record"]);
  assert.match(answer.headers.get("cache-control")!, /immutable/);
  const etag = answer.headers.get("etag")!;
  assert.equal(etag, `"${answer.body.digest.slice(2)}"`);
  assert.equal((await get(`/readings/${FIRST + 3n}?lots=3`)).text, answer.text);
  const again = await get(`/readings/${FIRST + 3n}?lots=3`, { headers: { "if-none-match": etag } });
  assert.equal(again.status, 304);
  assert.equal(again.text, "");
  const latest = await get("/readings/latest");
  assert.equal(latest.body.reading.lot, (FIRST + 6n).toString());
  assert.doesNotMatch(latest.headers.get("cache-control")!, /immutable/);
});

test("404 before the first lot, 425 with Retry-After while a lot is open, 400 for what makes no sense", async (t) => {
  const { get } = await listen(t, "2010-07-15T07:59:30Z");
  const refused = async (path: string, status: number, message: RegExp) => {
    const answer = await get(path);
    assert.equal(answer.status, status, path);
    assert.deepEqual(Object.keys(answer.body), ["error"]);
    assert.equal(typeof answer.body.error.name, "string");
    assert.match(answer.body.error.message, message);
    return answer;
  };
  await refused(`/readings/${FIRST - 1n}`, 404, /its first lot is/);
  await refused(`/readings/${FIRST}?lots=2`, 404, /its first lot is/);
  const open = await refused(`/readings/${FIRST + 2n}`, 425, /is not over/);
  assert.equal(open.headers.get("retry-after"), "30");
  assert.equal(open.body.error.retryAfterMs, 30_000);
  await refused(`/readings/${FIRST + 3n}`, 425, /is not over/);
  for (const lots of ["0", "8929", "-1", "1.5", "x", ""])
    await refused(`/readings/${FIRST}?lots=${lots}`, 400, /lots must be/);
  await refused("/readings/-1", 400, /is not a lot number/);
  await refused("/readings/007", 400, /is not a lot number/);
  await refused(`/readings/${2n ** 64n}`, 400, /is not a lot number/);
  await refused(`/readings/${FIRST}?lots=1&lots=1`, 400, /twice/);
  await refused(`/readings/${FIRST}?lot=1`, 400, /unknown parameter "lot"/);
  await refused("/lots?from=2&to=1", 400, /lies after/);
  await refused("/nothing", 404, /nothing at/);
  await refused("/readings", 404, /nothing at/);
  const post = await get("/live", { method: "POST" });
  assert.equal(post.status, 405);
  assert.equal(post.headers.get("allow"), "GET, HEAD");
});

test("425 until the first lot is closed, and the opening reading is there from the start", async (t) => {
  const { get, clock } = await listen(t, START);
  assert.equal((await get("/readings/latest")).status, 425);
  const { body } = await get("/identity");
  assert.equal(body.opening.reading.lot, (FIRST - 1n).toString());
  assert.equal(body.newestLot, null);
  assert.equal(body.domain.chainId, "31337");
  assert.equal(body.version, "1.2.3");
  clock.moveTo("2010-07-15T07:50:00Z");
  assert.equal((await get("/readings/latest")).body.reading.lot, FIRST.toString());
});

test("/lots pages through the lots, newest page first unless told where to begin", async (t) => {
  const { get } = await listen(t, "2010-07-15T08:20:00Z");
  const newest = (await get("/lots?limit=2")).body;
  assert.deepEqual(
    newest.lots.map((lot: { lot: string }) => BigInt(lot.lot) - FIRST),
    [5n, 6n],
  );
  assert.equal(newest.next, null);
  const page = (await get(`/lots?from=0&limit=3`)).body;
  assert.deepEqual(
    page.lots.map((lot: { lot: string }) => BigInt(lot.lot) - FIRST),
    [0n, 1n, 2n],
  );
  assert.equal(page.next, (FIRST + 3n).toString());
  const [first, second] = page.lots;
  assert.equal(first.coveredMs, 60_000);
  assert.deepEqual(first.qualityNames, ["gap"]);
  assert.equal(first.energy, "16750"); // 100.5 W · 60 s / 0.36 J
  assert.deepEqual(second.power, { min: 101.5, mean: 103.5, max: 105.5 });
  assert.deepEqual(second.period, { start: "2010-07-15T07:50:00Z", end: "2010-07-15T07:55:00Z" });
  assert.deepEqual((await get(`/lots?from=${FIRST + 99n}`)).body.lots, []);
});

test("/live shows the open lot's progress", async (t) => {
  const { get } = await listen(t, "2010-07-15T07:52:30Z");
  const { body } = await get("/live");
  assert.equal(body.power, 103.5);
  assert.equal(body.open.lot, (FIRST + 1n).toString());
  assert.equal(body.open.coveredMs, 150_000);
  assert.equal(body.open.progress, 0.5);
  const joules = 100.5 * 60 + 101.5 * 60 + 102.5 * 60 + 103.5 * 30;
  assert.equal(body.forward, String(Math.floor(joules / 0.36)));
});

test("health names the part that ails, ready and metrics answer", async (t) => {
  const { get, clock } = await listen(t, "2010-07-15T07:52:30Z");
  assert.equal((await get("/health")).body.status, "ok");
  clock.moveTo("2010-07-15T09:52:30Z");
  const ended = await get("/health");
  assert.equal(ended.status, 200);
  assert.equal(ended.body.parts.source.status, "degraded");
  assert.equal((await get("/ready")).status, 200);
  const metrics = await get("/metrics");
  assert.match(metrics.headers.get("content-type")!, /^text\/plain/);
  assert.match(metrics.text, /bijuli_reader_source_ok\{serial="HOUSE-1"\} 0/);
  assert.match(metrics.text, /bijuli_reader_http_requests_total\{route="\/health",status="200",serial="HOUSE-1"\} 2/);
});

test("with a token, only /health answers without it", async (t) => {
  const { get } = await listen(t, "2010-07-15T08:20:00Z", "a secret");
  assert.equal((await get("/health")).status, 200);
  for (const path of ["/identity", "/readings/latest", "/lots", "/live", "/ready", "/metrics", "/nothing"]) {
    const refused = await get(path);
    assert.equal(refused.status, 401, path);
    assert.match(refused.headers.get("www-authenticate")!, /^Bearer/);
    assert.equal((await get(path, { headers: { authorization: "Bearer wrong" } })).status, 401);
  }
  const allowed = await get(`/readings/${FIRST}`, { headers: { authorization: "Bearer a secret" } });
  assert.equal(allowed.status, 200);
  assert.match(allowed.headers.get("cache-control")!, /^private/);
});

test("loopback is what only this machine can reach", () => {
  for (const host of ["127.0.0.1", "127.1.2.3", "::1", "localhost"]) assert.ok(isLoopback(host), host);
  for (const host of ["0.0.0.0", "::", "192.168.1.2", "127.evil.example", "raspberrypi"])
    assert.ok(!isLoopback(host), host);
});
