import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type LookupFunction } from "node:net";
import { after, before, describe, test } from "node:test";
import { ReaderFault, ReaderHttp } from "../src/reader-http.ts";

/*
 * A name may lead elsewhere from one look-up to the next (DNS rebinding), and several addresses may stand behind it. These
 * tests answer for names themselves; the sockets are real.
 */
describe("where a reader's name leads", () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers.host ?? "");
    response.end("{}");
  });
  let port = 0;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const leadingTo = (...answers: string[][]): LookupFunction => {
    let next = 0;
    return (_hostname, _options, callback) => {
      const addresses = answers[Math.min(next++, answers.length - 1)]!;
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      );
    };
  };
  const get = (http: ReaderHttp) =>
    http.get(`http://reader.test:${port}/readings/1`, { token: "s3cr3t", maxBytes: 100, timeoutMs: 500 });

  for (const address of [
    "169.254.169.254",
    "0.0.0.0",
    "fe80::1",
    "fd00:ec2::254",
    "::",
    "::ffff:169.254.169.254",
    "100.100.100.200",
  ]) {
    test(`not to ${address}`, async () => {
      const http = new ReaderHttp({ maxSockets: 4, lookup: leadingTo([address]) });
      await assert.rejects(get(http), (error: Error) => {
        assert.ok(error instanceof ReaderFault);
        assert.match(error.message, /reader\.test leads to .*, where no reader is asked/);
        return true;
      });
      http.close();
      assert.deepEqual(asked, []);
    });
  }

  test("of several addresses only to those where a reader can be", async () => {
    const http = new ReaderHttp({ maxSockets: 4, lookup: leadingTo(["169.254.169.254", "127.0.0.1", "fe80::1"]) });
    assert.equal((await get(http)).status, 200);
    assert.equal(asked.splice(0).length, 1);
    http.close();
  });

  test("to a reader's address it does; when it leads elsewhere later, it is not followed", async () => {
    const http = new ReaderHttp({ maxSockets: 4, lookup: leadingTo(["127.0.0.1"], ["169.254.169.254"]) });
    assert.equal((await get(http)).status, 200);
    server.closeAllConnections();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await assert.rejects(get(http), /leads to 169\.254\.169\.254/);
    assert.deepEqual(asked, [`reader.test:${port}`]);
    http.close();
  });
});

test("a reader that wants to speak another protocol is broken at once: nobody waits for it for ever", async () => {
  const server = createTcpServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () =>
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const http = new ReaderHttp({ maxSockets: 4 });
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/readings/1`;
    await assert.rejects(http.get(url, { token: undefined, maxBytes: 100, timeoutMs: 5000 }), (error: Error) => {
      assert.ok(error instanceof ReaderFault && error.kind === "broken", String(error));
      return true;
    });
  } finally {
    http.close();
    server.close();
  }
});
