/* A thread of ThreadedRecovery. */
import { parentPort } from "node:worker_threads";
import { recoverReadingSigner } from "@bijuli/protocol";
import type { RecoveryResult, RecoveryTask } from "./recovery.ts";
import { recoverFast } from "./secp256k1.ts";

parentPort?.on("message", ({ id, domain, reading, signature }: RecoveryTask) => {
  let signer: string | undefined;
  try {
    signer = recoverReadingSigner(domain, reading, signature, recoverFast);
  } catch {
    signer = undefined;
  }
  parentPort?.postMessage({ id, signer } satisfies RecoveryResult);
});
