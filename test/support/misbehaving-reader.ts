import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { encodeRecord, type Hex, readingDomain, readingFromJson, readingToJson, signReading } from "@bijuli/protocol";
import { SigningKey } from "ethers";

/** How a reader can go wrong without being down. */
export type Fault = "honest" | "wrong key" | "tampered record" | "lot still open" | "down";

/** Stands before an honest reader and spoils its readings as told. */
export class MisbehavingReader {
  fault: Fault = "honest";
  url = "";
  #server: Server | undefined;

  /** @param behind the honest reader's address, asked for with each request */
  async listen(behind: () => string): Promise<void> {
    this.#server = createServer((request, response) => {
      // A reader that was stopped meanwhile is down.
      this.#answer(behind(), request, response).catch(() => request.socket.destroy());
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  async #answer(readerUrl: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const isReading = request.url!.startsWith("/readings/");
    if (this.fault === "down") {
      request.socket.destroy();
    } else if (isReading && this.fault === "lot still open") {
      response.writeHead(425, { "content-type": "application/json", "retry-after": "1" });
      response.end(JSON.stringify({ error: { name: "TooEarly", message: "the lot is still open" } }));
    } else {
      const answer = await fetch(new URL(request.url!, readerUrl));
      const text = await answer.text();
      const body = answer.ok && isReading ? this.#spoil(text, await this.#domain(readerUrl)) : text;
      response.writeHead(answer.status, { "content-type": "application/json" });
      response.end(body);
    }
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  async #domain(readerUrl: string) {
    const { domain } = (await (await fetch(new URL("/identity", readerUrl))).json()) as {
      domain: { chainId: string; verifyingContract: string };
    };
    return readingDomain({ chainId: domain.chainId, registry: domain.verifyingContract });
  }

  #spoil(text: string, domain: ReturnType<typeof readingDomain>): string {
    const served = JSON.parse(text);
    const reading = readingFromJson(served.reading);
    if (this.fault === "wrong key") {
      const signature = signReading(domain, reading, new SigningKey(`0x${"77".repeat(32)}`));
      return JSON.stringify({ ...served, signature, record: encodeRecord(reading, signature) });
    }
    if (this.fault === "tampered record") {
      // A meter's owner who would rather have another energy in this lot, and knows that the register must fit it.
      const spoilt = {
        ...reading,
        forward: reading.forward + 1n,
        energies: [reading.energies[0]! + 1n, ...reading.energies.slice(1)],
      };
      return JSON.stringify({
        ...served,
        reading: readingToJson(spoilt),
        record: encodeRecord(spoilt, served.signature as Hex),
      });
    }
    return text;
  }
}
