import { BijuliError, type Hex } from "@bijuli/protocol";
import { keccak256, SigningKey } from "ethers/crypto";
import { computeAddress, type Transaction } from "ethers/transaction";
import { signRecoverable } from "tiny-secp256k1";

/** A key that sends this node's transactions. */
export interface SendingKey {
  /** Lower case. */
  address: string;
  /** Signs it in place. */
  sign(transaction: Transaction): { hash: string; raw: string };
}

/** A key held in this process. Its signatures are libsecp256k1's, in WebAssembly: the bytes of ethers' in a third of the time. */
export function sendingKey(privateKey: Hex): SendingKey {
  let key: SigningKey;
  try {
    key = new SigningKey(privateKey);
  } catch {
    throw new BijuliError("bad-key", "a sending key is not a valid secp256k1 private key");
  }
  const secret = bytesOf(privateKey);
  return {
    address: computeAddress(key).toLowerCase(),
    sign(transaction) {
      const { signature, recoveryId } = signRecoverable(bytesOf(transaction.unsignedHash), secret);
      const [r, s] = [signature.subarray(0, 32), signature.subarray(32)].map((half) =>
        Buffer.from(half).toString("hex"),
      );
      transaction.signature = { r: `0x${r}`, s: `0x${s}`, yParity: recoveryId & 1 ? 1 : 0 };
      const raw = transaction.serialized;
      return { hash: keccak256(raw), raw };
    },
  };
}

/** Bytes of hex digits after 0x. */
const bytesOf = (hex: string): Buffer => Buffer.from(hex.slice(2), "hex");
