import type { Meter } from "./meters.ts";
import { Refusal } from "./refusal.ts";

/** Tells whose signature a meter's reading must carry. */
export interface Signers {
  /**
   * The meter's signer at a lot, lower-case.
   * @throws Refusal 503 when it cannot be told yet
   */
  signerOf(meter: Meter, lot: bigint): string | Promise<string>;
  close(): void;
}

/** Signers as the operator configured them. */
export class ConfiguredSigners implements Signers {
  signerOf(meter: Meter): string {
    if (meter.signer === undefined) {
      throw new Refusal(503, "signer-unknown", `${meter.label}: no signer is configured`);
    }
    return meter.signer;
  }
  close(): void {}
}
