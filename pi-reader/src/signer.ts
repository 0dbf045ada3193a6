import { BijuliError, type Hex, type LotReading, type ReadingDomain, signReading } from "@bijuli/protocol";
import { SigningKey } from "ethers/crypto";
import { computeAddress } from "ethers/transaction";

/**
 * What makes a meter's signatures. A secure element takes this place: it must sign deterministically (RFC 6979), or
 * its signatures of the same reading differ, which is harmless on chain but spoils caches.
 */
export interface Signer {
  /** The address that the registry knows the meter by. */
  readonly address: Hex;
  /** 65 bytes: r, s, v. */
  sign(domain: ReadingDomain, reading: LotReading): Hex;
}

/**
 * Signs with a key in memory.
 * @throws BijuliError bad-key for 32 bytes that are no key, never with their text
 */
export function keySigner(privateKey: Hex): Signer {
  const key = new SigningKey(privateKey);
  try {
    key.publicKey;
  } catch {
    throw new BijuliError("bad-key", "the private key is none: zero, or beyond the curve's order", {
      remedy: "make one with `keygen --out FILE`",
    });
  }
  return {
    address: computeAddress(key.publicKey) as Hex,
    sign: (domain, reading) => signReading(domain, reading, key),
  };
}
