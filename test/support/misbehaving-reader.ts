import { createServer, type Server } from "node:http";
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
    this.#server = createServer(async (request, response) => {
      const readerUrl = behind();
      if (this.fault === "down") return request.socket.destroy();
      const isReading = request.url!.startsWith("/readings/");
      if (isReading && this.fault === "lot still open") {
        response.writeHead(425, { "content-type": "application/json", "retry-after": "1" });
        return response.end(JSON.stringify({ error: { name: "TooEarly", message: "the lot is still open" } }));
      }
      const answer = await fetch(new URL(request.url!, readerUrl));
      const text = await answer.text();
      response.writeHead(answer.status, { "content-type": "application/json" });
      response.end(answer.ok && isReading ? this.#spoil(text, await this.#domain(readerUrl)) : text);
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
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
      // A consumer that would rather have used a Unit less in this lot, and knows that registers must fit.
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
