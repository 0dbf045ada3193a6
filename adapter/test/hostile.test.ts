import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, before, describe, test } from "node:test";
import type { RunningAdapter } from "../src/adapter.ts";
import { adapterOver, FixtureReader, getJson, HandClock, LOT, post } from "./fixtures.ts";

/** The statuses that §4 names; nothing sent to the adapter may give another. */
const DOCUMENTED = new Set([200, 400, 401, 404, 413, 502, 503, 504]);

/** A small generator of numbers that looks random and is the same in every run (mulberry32). */
function dice(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function checkShape(status: number, text: string): void {
  assert.ok(DOCUMENTED.has(status), `${status}: ${text}`);
  const body = JSON.parse(text);
  assert.equal(body.statusCode, status);
  if (status === 200) {
    assert.match(body.data.result, /^(0x([0-9a-f]{2})*|[0-9]+)$/);
    return;
  }
  assert.deepEqual(Object.keys(body), ["jobRunID", "status", "statusCode", "error"]);
  assert.equal(body.status, "errored");
  assert.deepEqual(Object.keys(body.error), ["name", "message"]);
  assert.ok(body.error.message.length > 0 && body.error.message.length < 2000, text);
}

describe("hostile input", () => {
  const readers = ["PLANT-1", "MÈTRE-é", "K"].map((serial) => new FixtureReader(serial));
  const trap = { hits: 0 };
  const trapServer = createServer((_request, response) => {
    trap.hits++;
    response.end("{}");
  });
  let trapUrl = "";
  let adapter: RunningAdapter;
  before(async () => {
    for (const reader of readers) await reader.start();
    await new Promise<void>((resolve) => trapServer.listen(0, "127.0.0.1", resolve));
    trapUrl = `http://127.0.0.1:${(trapServer.address() as AddressInfo).port}`;
    adapter = await adapterOver(readers, { clock: new HandClock(LOT + 2n), env: { PUSHES_PER_SECOND: "0" } });
  });
  after(async () => {
    await adapter.close();
    trapServer.close();
    for (const reader of readers) await reader.stop();
  });

  test("10,000 fuzzed bodies: only the documented statuses, only the one error shape, and the process lives", async () => {
    const random = dice(20_261_122);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    const { id } = readers[0]!;
    const odd: unknown[] = [
      null,
      true,
      false,
      0,
      -1,
      1.5,
      1e308,
      -0,
      2 ** 53,
      "",
      "0",
      "00",
      "1e3",
      " 5",
      "0x",
      "0x5",
      "-1",
      "18446744073709551615",
      "18446744073709551616",
      "9".repeat(400),
      [],
      {},
      [[]],
      [null],
      { toString: "x" },
      "\u0000",
      "\ud800",
      "🏠",
      "e\u0301",
      "x".repeat(70),
      "__proto__",
      "constructor",
      "PLANT-1",
      id,
      `${id}${id.slice(2)}`,
      id.toUpperCase(),
      Number(LOT),
      LOT.toString(),
      (LOT + 9n).toString(),
      "lot-readings",
      "register",
      "consumers",
      "plant",
      trapUrl,
      "http://169.254.169.254/",
      "../../etc/passwd",
    ];
    const value = (depth: number): unknown => {
      const roll = random();
      if (depth < 3 && roll < 0.1) return Array.from({ length: Math.floor(random() * 5) }, () => value(depth + 1));
      if (depth < 3 && roll < 0.2)
        return Object.fromEntries(
          Array.from({ length: 3 }, () => [pick(odd.filter((one) => typeof one === "string")), value(depth + 1)]),
        );
      return pick(odd);
    };
    const keys = ["endpoint", "meters", "meter", "lot", "lots", "stage", "verbose", "overrides", "url", "__proto__"];
    const body = (): string => {
      const good: Record<string, unknown> = {
        meters: [pick(["PLANT-1", "K", "MÈTRE-é"])],
        lot: (LOT + 3n - BigInt(Math.floor(random() * 6))).toString(),
      };
      const data: Record<string, unknown> = random() < 0.8 ? good : {};
      for (let i = 0; i < 3; i++)
        if (random() < 0.25)
          Object.defineProperty(data, pick(keys), {
            value: value(0),
            enumerable: true,
            configurable: true,
            writable: true,
          });
      const whole: unknown =
        random() < 0.9
          ? {
              id: random() < 0.5 ? "7" : value(0),
              data: random() < 0.95 ? data : value(0),
              ...(random() < 0.2 ? { meta: value(0) } : {}),
            }
          : value(0);
      let text = JSON.stringify(whole) ?? "";
      const roll = random();
      if (roll < 0.1) text = text.slice(0, Math.floor(random() * text.length));
      else if (roll < 0.2) {
        const at = Math.floor(random() * text.length);
        text =
          text.slice(0, at) + pick(['"', "{", "}", "[", "\\", "\u0000", ",", "1e999", "\ufeff"]) + text.slice(at + 1);
      }
      return text;
    };
    const seen = new Map<number, number>();
    const agent = new (await import("node:http")).Agent({ keepAlive: true, maxSockets: 16 });
    const { request } = await import("node:http");
    const send = (path: string, text: string) =>
      new Promise<{ status: number; text: string }>((resolve, reject) => {
        const sent = request(
          adapter.url + path,
          { agent, method: "POST", headers: { "content-type": "application/json" } },
          (response) => {
            let got = "";
            response.setEncoding("utf8").on("data", (chunk) => {
              got += chunk;
            });
            response.on("end", () => resolve({ status: response.statusCode!, text: got }));
          },
        );
        sent.on("error", reject);
        sent.end(text);
      });
    for (let round = 0; round < 625; round++) {
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          const push = random() < 0.05;
          const answer = await send(push ? "/readings" : "/", body());
          if (!push || answer.status !== 200) checkShape(answer.status, answer.text);
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
        }),
      );
    }
    agent.destroy();
    for (const status of [200, 400, 404, 503]) assert.ok((seen.get(status) ?? 0) > 50, `${status}: ${[...seen]}`);
    assert.equal((await getJson(`${adapter.url}/health`)).status, "ok");
    assert.equal(trap.hits, 0, "no address from a request was ever asked");
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });

  test("prototype pollution, deep nesting, huge numbers and texts", async () => {
    const lot = LOT.toString();
    const bodies = [
      `{"data":{"meters":["K"],"lot":"${lot}","__proto__":{"verbose":true,"polluted":1}}}`,
      `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"data":{"meters":["K"],"lot":"${lot}"}}`,
      `{"data":{"meters":["__proto__"],"lot":"${lot}","overrides":{"bijuli":{"__proto__":"K"}}}}`,
      `{"data":{"meters":["toString"],"lot":"${lot}","overrides":{"bijuli":{}}}}`,
      `${"[".repeat(200_000)}${"]".repeat(200_000)}`,
      `{"data":${'{"data":'.repeat(50_000)}1${"}".repeat(50_000)}}`,
      `{"data":{"meters":["K"],"lot":1${"0".repeat(5000)}}}`,
      `{"data":{"meters":["K"],"lot":"${"9".repeat(100_000)}"}}`,
      `{"data":{"meters":"0x${"ab".repeat(32 * 4000)}","lot":"${lot}"}}`,
    ];
    for (const body of bodies) {
      const answer = await post(adapter.url, body);
      checkShape(answer.status, answer.text);
      assert.ok(answer.body.data?.readings === undefined, "what a prototype says is not heard");
    }
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
    const large = await post(adapter.url, `{"data":"${"x".repeat(1_100_000)}"}`);
    assert.equal(large.status, 413);
    checkShape(413, large.text);
  });

  test("serials in any Unicode form are one meter; look-alikes are not", async () => {
    const lot = LOT.toString();
    const composed = await post(adapter.url, { data: { meters: ["MÈTRE-é".normalize("NFC")], lot } });
    const decomposed = await post(adapter.url, { data: { meters: ["MÈTRE-é".normalize("NFD")], lot } });
    assert.equal(composed.status, 200);
    assert.equal(decomposed.body.data.result, composed.body.data.result);
    for (const meter of ["МÈTRE-é", "K\u200b", "k", "K ", "\u212a\u0000"]) {
      const refused = await post(adapter.url, { data: { meters: [meter], lot } });
      assert.equal(refused.status, 404, JSON.stringify(meter));
      const controls = [...refused.body.error.message].filter((letter: string) => letter < " ");
      assert.deepEqual(controls, [], "messages carry no control characters");
    }
  });

  test("no request makes the adapter ask an address that is not configured", async () => {
    const lot = LOT.toString();
    const bodies = [
      { data: { meters: ["K"], lot, url: trapUrl, reader: trapUrl, host: trapUrl }, meta: { url: trapUrl } },
      { data: { meters: [trapUrl], lot } },
      { data: { meters: ["K"], lot, overrides: { bijuli: { K: trapUrl } } } },
      { data: { meters: ["K"], lot: `${lot}/../../${trapUrl}` } },
      { data: { meters: ["K"], lot, lots: `1&url=${trapUrl}` } },
      { data: { meters: ["K"], lot }, responseURL: trapUrl },
    ];
    for (const body of bodies) {
      await post(adapter.url, body, {
        "x-forwarded-host": trapUrl,
        "x-forwarded-for": "127.0.0.1",
        forwarded: `host=${trapUrl}`,
      });
    }
    assert.equal(trap.hits, 0);
    assert.ok(readers.every((reader) => reader.requests.every((path) => /^\/readings\/\d+(\?lots=\d+)?$/.test(path))));
  });

  const raw = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(adapter.url);
      const socket = connect(Number(port), hostname);
      let got = "";
      socket.setTimeout(3000, () => socket.destroy());
      socket.on("data", (chunk) => {
        got += chunk;
      });
      socket.on("close", () => resolve(got));
      socket.on("error", reject);
      socket.write(text);
    });

  test("smuggled and malformed headers are refused in the one shape, and the connection is closed", async () => {
    const body = '{"data":{"meters":["K"],"lot":"5"}}';
    const json = "Content-Type: application/json\r\n";
    const requests = [
      `POST / HTTP/1.1\r\nHost: a\r\n${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /status HTTP/1.1\r\nHost: a\r\n\r\n`,
      `POST / HTTP/1.1\r\nHost: a\r\n${json}Content-Length: 5\r\nContent-Length: 6\r\n\r\n${body}`,
      `POST / HTTP/1.1\r\nHost: a\r\n${json}Transfer-Encoding: xchunked\r\n\r\n${body}`,
      `POST / HTTP/1.1\r\nHost: a\r\n${json} X: y\r\nContent-Length : 5\r\n\r\n`,
      `POST / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(20_000)}\r\n\r\n`,
      "\u0016\u0003\u0001\u0002\u0000\u0001\u0000",
      "GET /health HTTP/9.9\r\n\r\n",
      `POST / HTTP/1.1\r\n${json}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for (const request of requests) {
      const answer = await raw(request);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/, JSON.stringify(request.slice(0, 80)));
      assert.equal(answer.split("HTTP/1.1 ").length, 2, "one answer, not two");
      checkShape(400, answer.slice(answer.indexOf("\r\n\r\n") + 4));
    }
  });

  test("what cannot be read behind a request that could takes nothing from its answer; an expectation is no reason for 417", async () => {
    const reader = readers[0]!;
    const ask = (lot: bigint, header: string): string => {
      const body = JSON.stringify({ data: { meters: ["PLANT-1"], lot: lot.toString() } });
      return `POST / HTTP/1.1\r\nHost: a\r\n${header}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    reader.delayMs = 50;
    const answers = [
      [LOT - 50n, await raw(`${ask(LOT - 50n, "")}WHAT?\r\n\r\n`)],
      [LOT - 51n, await raw(ask(LOT - 51n, "Expect: a miracle\r\nConnection: close\r\n"))],
    ] as const;
    reader.delayMs = 0;
    for (const [lot, answer] of answers) {
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/, answer);
      assert.match(answer, /\r\nconnection: close\r\n/i);
      assert.ok(answer.includes(reader.record(lot)), answer);
    }
  });

  test("paths and content types that are not the adapter's", async () => {
    for (const path of ["/%", "/%00", "/..%2fstatus", "/status/../x", "//", "/?x=1&__proto__[a]=1"]) {
      const response = await fetch(adapter.url + path, {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
      });
      checkShape(response.status, await response.text());
    }
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/jsonx",
    ]) {
      const response = await fetch(adapter.url, {
        method: "POST",
        body: '{"data":{}}',
        headers: { "content-type": type },
      });
      assert.equal(response.status, 400, type);
      checkShape(400, await response.text());
    }
    const zipped = await fetch(adapter.url, {
      method: "POST",
      body: "x",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
    });
    assert.equal(zipped.status, 400);
    for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
      const response = await fetch(adapter.url, { method });
      checkShape(response.status, await response.text());
    }
  });
});
