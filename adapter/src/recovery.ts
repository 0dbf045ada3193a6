import { Worker } from "node:worker_threads";
import { BijuliError, type Hex, type LotReading, type ReadingDomain, recoverReadingSigner } from "@bijuli/protocol";
import { recoverFast } from "./secp256k1.ts";
import { Turns } from "./turns.ts";

/** Recovers signers, 0.4 ms of computing each, without keeping requests for cached answers waiting. */
export interface Recovery {
  /**
   * The address that signed a reading.
   * @param urgent whether a request waits for it
   * @throws BijuliError bad-signature
   */
  signerOf(domain: ReadingDomain, reading: LotReading, signature: Hex, urgent: boolean): Promise<string>;
  close(): void;
}

/** On the main thread, one a turn of the event loop: 40 MB less than a thread. */
export class InlineRecovery implements Recovery {
  readonly #turns = new Turns();

  async signerOf(domain: ReadingDomain, reading: LotReading, signature: Hex, urgent: boolean): Promise<string> {
    await this.#turns.take(urgent);
    return recoverReadingSigner(domain, reading, signature, recoverFast);
  }

  close(): void {}
}

/** What goes to a thread, and what comes back: the signer, or nothing when the signature is malformed. */
export type RecoveryTask = { id: number; domain: ReadingDomain; reading: LotReading; signature: Hex };
export type RecoveryResult = { id: number; signer: string | undefined };
/** On threads of their own: for thousands of meters. */
export class ThreadedRecovery implements Recovery {
  readonly #workers: { worker: Worker; busy: number }[];
  readonly #waiting = new Map<number, (signer: string | undefined) => void>();
  #next = 0;

  constructor(threads: number, onFailure: (error: unknown) => void) {
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL("./recovery-thread.ts", import.meta.url));
      const entry = { worker, busy: 0 };
      worker.unref();
      worker.on("message", ({ id, signer }: RecoveryResult) => {
        entry.busy--;
        this.#waiting.get(id)?.(signer);
        this.#waiting.delete(id);
      });
      worker.on("error", (error) => {
        onFailure(error);
        // What it was computing would be waited for in vain: the process ends, and its supervisor starts it anew.
        throw error;
      });
      return entry;
    });
  }

  async signerOf(domain: ReadingDomain, reading: LotReading, signature: Hex): Promise<string> {
    const task: RecoveryTask = { id: this.#next++, domain, reading, signature };
    const entry = this.#workers.reduce((least, one) => (one.busy < least.busy ? one : least));
    entry.busy++;
    const signer = await new Promise<string | undefined>((resolve) => {
      this.#waiting.set(task.id, resolve);
      entry.worker.postMessage(task);
    });
    if (signer !== undefined) return signer;
    throw new BijuliError(
      "bad-signature",
      `reading of meter ${reading.meterId} for lot ${reading.lot}: the signature is malformed`,
    );
  }

  close(): void {
    for (const { worker } of this.#workers) void worker.terminate();
  }
}
