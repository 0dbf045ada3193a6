import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Rpc } from "../../src/evidence/index.ts";

/** A chain inside this process, served over HTTP as any node is. */
export async function serveRpc(rpc: Rpc): Promise<{ url: string; close(): void }> {
  const one = async ({ id, method, params }: { id: number; method: string; params: unknown[] }) => {
    try {
      return { jsonrpc: "2.0", id, result: await rpc(method, params) };
    } catch (error) {
      return { jsonrpc: "2.0", id, error: { code: -32000, message: (error as Error).message } };
    }
  };
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    const calls = JSON.parse(text);
    const answer = Array.isArray(calls) ? await Promise.all(calls.map(one)) : await one(calls);
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
