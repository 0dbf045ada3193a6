import { BijuliError, type Hex } from "@bijuli/protocol";
import { keccak256, SigningKey } from "ethers/crypto";
import { computeAddress, type Transaction } from "ethers/transaction";

/** A key that sends this node's transactions. */
export interface SendingKey {
  /** Lower case. */
  address: string;
  /** Signs it in place. */
  sign(transaction: Transaction): { hash: string; raw: string };
}

/** A key held in this process. */
export function sendingKey(privateKey: Hex): SendingKey {
  let key: SigningKey;
  try {
    key = new SigningKey(privateKey);
  } catch {
    throw new BijuliError("bad-key", "a sending key is not a valid secp256k1 private key");
  }
  return {
    address: computeAddress(key).toLowerCase(),
    sign(transaction) {
      transaction.signature = key.sign(transaction.unsignedHash);
      const raw = transaction.serialized;
      return { hash: keccak256(raw), raw };
    },
  };
}
