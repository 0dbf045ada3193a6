import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  encodeRecord,
  type Hex,
  type LotReading,
  meterIdOf,
  readingDomain,
  readingToJson,
  signReading,
} from "@bijuli/protocol";
import { computeAddress, SigningKey } from "ethers";

export const LOT_SECONDS = Number(process.env.BENCH_LOT_SECONDS ?? "300");
export const DOMAIN = readingDomain({ chainId: 31337n, registry: "0x5FbDB2315678afecb367f032d93F642f64180aa3" });
const KEY = new SigningKey(meterIdOf("the bench's key"));
export const SIGNER = computeAddress(KEY.publicKey);
export const serialOf = (index: number): string => `BENCH-${index}`;

/** The answer of a reader: signed for real, the same key for all meters (verifying costs the same). */
export function answerOf(index: number, lot: bigint): object {
  const reading: LotReading = {
    meterId: meterIdOf(serialOf(index)),
    lot,
    lotSeconds: LOT_SECONDS,
    forward: lot * 1000n,
    reverse: 0n,
    quality: 0,
    energies: [1000n],
  };
  const signature: Hex = signReading(DOMAIN, reading, KEY);
  return {
    serial: serialOf(index),
    reading: readingToJson(reading),
    signature,
    record: encodeRecord(reading, signature),
  };
}

/** Many meters behind one address: /m/INDEX/readings/LOT. */
export async function startMeters(): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    const match = /^\/m\/(\d+)\/readings\/(\d+)$/.exec(request.url ?? "");
    if (match === null) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answerOf(Number(match[1]), BigInt(match[2]!))));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}
