import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { MeterRegistryAbi } from "@bijuli/contracts/abi";
import { Interface } from "ethers";
import { adapterOver, FixtureReader, keyOf, LOT, post, REGISTRY, signerOf } from "./fixtures.ts";

const registry = new Interface(MeterRegistryAbi);

/** A chain that knows one contract: answers eth_call of keysAt with the signers it is told. */
async function fixtureChain(signerAt: (meterId: string, lot: bigint) => string | undefined) {
  const chain = { calls: 0, down: false };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      if (chain.down) return void response.writeHead(503).end();
      const body = JSON.parse(Buffer.concat(chunks).toString());
      const answers = [body].flat().map(({ id, method, params }) => {
        assert.equal(method, "eth_call");
        assert.equal(params[0].to.toLowerCase(), REGISTRY.toLowerCase());
        chain.calls++;
        const [ids, lot] = registry.decodeFunctionData("keysAt", params[0].data);
        const keys = [...ids].map((id: string) => (1n << 208n) | BigInt(signerAt(id, lot) ?? 0n));
        const some = [...ids].map((id: string, i: number) => (signerAt(id, lot) === undefined ? 0n : keys[i]));
        return { jsonrpc: "2.0", id, result: registry.encodeFunctionResult("keysAt", [`0x${"00".repeat(32)}`, some]) };
      });
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(Array.isArray(body) ? answers : answers[0]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(chain, { url, stop: () => server.close() });
}

test("signers come from the registry, at each reading's own lot: a rotation holds from its lot on", async () => {
  const meters = [await new FixtureReader("ROTATED").start(), await new FixtureReader("NEW").start()];
  const [rotated, fresh] = meters as [FixtureReader, FixtureReader];
  let registered = false;
  const chain = await fixtureChain((id, lot) => {
    if (id === fresh.id) return registered ? fresh.signer : undefined;
    return lot >= LOT ? signerOf(keyOf("a thief")) : rotated.signer;
  });
  const adapter = await adapterOver(meters, {
    env: {
      RPC_URL: chain.url,
      READERS: JSON.stringify(meters.map(({ serial, url }) => ({ serial, url }))),
    },
  });
  try {
    const ask = (meter: string, lot: bigint) => post(adapter.url, { data: { meters: [meter], lot: lot.toString() } });
    const before = await ask("ROTATED", LOT - 1n);
    assert.equal(before.status, 200, before.text);
    const old = await ask("ROTATED", LOT);
    assert.equal(old.status, 502, "the old key is believed no longer");
    assert.ok(old.body.error.message.includes(`expected ${signerOf(keyOf("a thief")).toLowerCase()}`));
    rotated.fault = "wrong-key";
    assert.equal((await ask("ROTATED", LOT)).status, 200, "the new one is");

    const unknown = await ask("NEW", LOT);
    assert.equal(unknown.status, 503);
    assert.match(unknown.body.error.message, /NEW.*registry has no signer/);
    registered = true;
    await new Promise((resolve) => setTimeout(resolve, 1050));
    assert.equal((await ask("NEW", LOT)).status, 200, "once registered, without a restart");

    chain.down = true;
    const down = await ask("NEW", LOT - 3n);
    assert.equal(down.status, 503);
    assert.match(down.body.error.message, /NEW.*the chain does not tell its signer/);
    assert.equal((await ask("NEW", LOT)).status, 200, "what was verified needs no chain");
  } finally {
    await adapter.close();
    chain.stop();
    for (const meter of meters) await meter.stop();
  }
});
