import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

type Send = (method: string, params: unknown[]) => Promise<unknown>;

/** A chain that lives in this process, over HTTP and in batches, as a node would serve it. */
export async function frontOf(send: Send): Promise<{ url: string; close(): void }> {
  const one = async ({ id, method, params }: { id: number; method: string; params: unknown[] }) => {
    try {
      return { jsonrpc: "2.0", id, result: await send(method, params) };
    } catch (error) {
      return { jsonrpc: "2.0", id, error: { code: -32000, message: (error as Error).message } };
    }
  };
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    const answer = Array.isArray(body) ? await Promise.all(body.map(one)) : await one(body);
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
