import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

interface Call {
  id: number;
  method: string;
  params: unknown[];
}

/**
 * A node that forwards to another one and refuses some calls, as public ones do.
 * @param refuse the refusal's text, or undefined to forward
 */
export async function forwardRpc(
  url: string,
  refuse: (call: Call) => string | undefined,
): Promise<{ url: string; close(): void }> {
  const one = async (call: Call) => {
    const message = refuse(call);
    if (message) return { jsonrpc: "2.0", id: call.id, error: { code: -32000, message } };
    const headers = { "content-type": "application/json" };
    return (await fetch(url, { method: "POST", headers, body: JSON.stringify(call) })).json();
  };
  const server = createServer(async (request, response) => {
    const body = JSON.parse(await textOf(request));
    const answer = Array.isArray(body) ? await Promise.all(body.map(one)) : await one(body);
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}
