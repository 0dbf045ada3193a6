import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  encodeRecord,
  type Hex,
  type LotReading,
  lotOf,
  meterIdOf,
  readingDigest,
  readingDomain,
  readingToJson,
} from "@bijuli/protocol";
import { computeAddress, SigningKey } from "ethers";
import { signRecoverable } from "tiny-secp256k1";

export const LOT_SECONDS = Number(process.env.BENCH_LOT_SECONDS ?? "300");
export const DOMAIN = readingDomain({ chainId: 31337n, registry: "0x5FbDB2315678afecb367f032d93F642f64180aa3" });
const KEY = new SigningKey(meterIdOf("the bench's key"));
const PRIVATE_KEY = Buffer.from(KEY.privateKey.slice(2), "hex");
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
  // libsecp256k1's signature, for a hundred thousand of them are needed; it is the one that signReading gives.
  const digest = Buffer.from(readingDigest(DOMAIN, reading).slice(2), "hex");
  const { signature: rs, recoveryId } = signRecoverable(digest, PRIVATE_KEY);
  const signature: Hex = `0x${Buffer.from(rs).toString("hex")}${(27 + recoveryId).toString(16)}`;
  return {
    serial: serialOf(index),
    reading: readingToJson(reading),
    signature,
    record: encodeRecord(reading, signature),
  };
}

/**
 * Many meters behind one address: /m/INDEX/readings/LOT. The answers of the first `signedAhead` meters for the newest lot
 * are made beforehand, so that what readers cost (each has a processor of its own) is not in what the adapter takes.
 */
export async function startMeters(signedAhead = 0): Promise<{ url: string; server: Server }> {
  const newest = lotOf(BigInt(Math.floor(Date.now() / 1000)), LOT_SECONDS) - 1n;
  const ahead = Array.from({ length: signedAhead }, (_, i) => Buffer.from(JSON.stringify(answerOf(i, newest))));
  const server = createServer((request, response) => {
    const match = /^\/m\/(\d+)\/readings\/(\d+)$/.exec(request.url ?? "");
    if (match === null) return void response.writeHead(404).end();
    const [index, lot] = [Number(match[1]), BigInt(match[2]!)];
    const body = (lot === newest ? ahead[index] : undefined) ?? Buffer.from(JSON.stringify(answerOf(index, lot)));
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}
