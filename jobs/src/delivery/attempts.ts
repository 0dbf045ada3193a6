import { Transaction } from "ethers/transaction";
import type { StoredAttempt } from "../state/transaction-store.ts";
import type { Bid } from "./fees.ts";
import type { SendingKey } from "./keys.ts";

/** A signed attempt at a nonce. */
export function signAttempt(
  key: SendingKey,
  transaction: { chainId: bigint; nonce: number; to: string; data: string; gasLimit: bigint },
  bid: Bid,
): StoredAttempt {
  const unsigned = Transaction.from({
    type: 2,
    ...transaction,
    maxFeePerGas: bid.maxFee,
    maxPriorityFeePerGas: bid.tip,
  });
  return { ...key.sign(unsigned), ...bid };
}

/** The same transaction, bid higher. */
export function replaceAttempt(key: SendingKey, last: StoredAttempt, bid: Bid): StoredAttempt {
  const replacement = Transaction.from(last.raw);
  replacement.signature = null;
  replacement.maxFeePerGas = bid.maxFee;
  replacement.maxPriorityFeePerGas = bid.tip;
  return { ...key.sign(replacement), ...bid };
}

/** One that does nothing but use the nonce up. */
export function emptyAttempt(key: SendingKey, chainId: bigint, nonce: number, bid: Bid): StoredAttempt {
  return signAttempt(key, { chainId, nonce, to: key.address, data: "0x", gasLimit: 21_000n }, bid);
}
