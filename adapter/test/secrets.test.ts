import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import pino from "pino";
import { adapterOver, FixtureReader, freePort, LOT, post } from "./fixtures.ts";

test("no secret in any output: logs at their fullest, answers, /status, /metrics, /evidence", async (t) => {
  const secrets = ["inbound-s3cr3t", "reader-s3cr3t", "rpc-s3cr3t", "redis-s3cr3t"];
  const [inbound, readerToken, rpcKey, redisPassword] = secrets as [string, string, string, string];
  const reader = await new FixtureReader("TELLTALE").start();
  reader.token = readerToken;
  const other = await new FixtureReader("REFUSES").start();
  other.token = "another";
  // A chain that fails in each way that an endpoint fails, one after the other.
  const failures: [number, string][] = [
    [500, "oops"],
    [401, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"bad key"}}`],
    [200, "not json"],
    [200, `{"jsonrpc":"2.0","id":1,"result":"0x"}`],
  ];
  let calls = 0;
  const chain = createServer((request, response) => {
    request.resume();
    const [status, text] = failures[calls++ % failures.length]!;
    response.writeHead(status, { "content-type": "application/json" }).end(text);
  });
  await new Promise<void>((resolve) => chain.listen(0, "127.0.0.1", resolve));
  const rpcPort = (chain.address() as AddressInfo).port;
  const lines: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
  const entry = (one: FixtureReader) => ({ serial: one.serial, url: one.url, signer: one.signer });
  const common = {
    EA_TOKEN: inbound,
    READERS: JSON.stringify([
      { ...entry(reader), token: readerToken },
      { ...entry(other), token: readerToken },
    ]),
  };
  const onChain = await adapterOver([], {
    log,
    env: {
      ...common,
      RPC_URL: `http://127.0.0.1:${rpcPort}/v2/${rpcKey}`,
      CACHE_TYPE: "redis",
      CACHE_REDIS_URL: `redis://:${redisPassword}@127.0.0.1:${await freePort()}`,
      CACHE_REDIS_TIMEOUT: "20",
    },
  });
  const configured = await adapterOver([], { log, env: common });
  t.after(async () => {
    await onChain.close();
    await configured.close();
    chain.close();
    chain.closeAllConnections();
    await reader.stop();
    await other.stop();
  });
  const texts: string[] = [];
  for (const { url } of [onChain, configured]) {
    const headers = { authorization: `Bearer ${inbound}` };
    for (const meter of ["TELLTALE", "REFUSES"]) {
      for (let i = 0; i < 4; i++) {
        reader.fault = i === 1 ? "other-history" : i === 2 ? "wrong-key" : "none";
        const data = { meters: [meter], lot: (LOT - BigInt(i)).toString(), lots: 2 };
        texts.push((await post(url, { data }, headers)).text);
        texts.push((await post(url, { data }, { authorization: `Bearer ${inbound}x` })).text);
      }
    }
    for (const path of ["/status", "/metrics", "/evidence", "/health", "/ready", "/nowhere"]) {
      texts.push(await (await fetch(url + path, { headers })).text());
    }
  }
  assert.ok(calls >= failures.length, "the chain was asked");
  assert.ok(
    texts.some((text) => text.includes('"report"')) && texts.some((text) => text.includes("is its token right")),
  );
  for (const text of [...texts, ...lines]) {
    for (const secret of secrets) assert.ok(!text.includes(secret), text);
  }
});
