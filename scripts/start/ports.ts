import { createServer } from "node:net";
import { BijuliError } from "@bijuli/protocol";

const HOST = "127.0.0.1";

/** Takes a port for a moment; port 0 is any free one. Resolves to the port. */
function tryPort(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, HOST, () => {
      const taken = (server.address() as { port: number }).port;
      server.close(() => resolve(taken));
    });
  });
}

/** Refuses a port that someone listens on, before anything is started. */
export async function requireFree(port: number, option: string): Promise<void> {
  try {
    await tryPort(port);
  } catch (cause) {
    const why =
      (cause as NodeJS.ErrnoException).code === "EADDRINUSE"
        ? "is in use"
        : `cannot be used: ${(cause as Error).message}`;
    throw new BijuliError("port-in-use", `port ${port} ${why}; choose another with ${option} N`);
  }
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return tryPort(0);
}
