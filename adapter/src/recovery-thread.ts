/* A thread of ThreadedRecovery. */
import { parentPort } from "node:worker_threads";
import { Signature, SigningKey } from "ethers/crypto";
import { computeAddress } from "ethers/transaction";
import type { RecoveryResult, RecoveryTask } from "./recovery.ts";

parentPort?.on("message", ({ id, digest, signature }: RecoveryTask) => {
  let signer: string | undefined;
  try {
    signer = computeAddress(SigningKey.recoverPublicKey(digest, Signature.from(signature)));
  } catch {
    signer = undefined;
  }
  parentPort?.postMessage({ id, signer } satisfies RecoveryResult);
});
