import type { ClearedLot, Hex, SignedReading } from "@bijuli/protocol";
import type { Terms } from "./charters.ts";

/** A log as eth_getLogs gives it, with the input of its transaction. */
export interface ChainLog {
  address: Hex;
  topics: readonly Hex[];
  data: Hex;
  transactionHash: Hex;
  /** The transaction's input; needed for stages that were cleared, and only then asked for. */
  input: () => Promise<Hex>;
}

/** One meter's part in a lot. */
export interface MeterLot {
  meterId: Hex;
  /** Units that entered the clearing. */
  energy: bigint;
  /** wei: what this lot added to floor(Σ energy · price / 10^7). */
  money: bigint;
  /** The reading that it came with; its quality is the or of all its lots. Undefined: estimated, or gone on without. */
  signed: SignedReading | undefined;
}

/** A cleared lot. */
export interface LotStatement {
  feeder: Hex;
  name: string;
  lot: bigint;
  /** The clearing's last lot, which names it, and how many lots it has. */
  clearing: bigint;
  lots: number;
  terms: Terms;
  cleared: ClearedLot;
  plants: MeterLot[];
  distributor: MeterLot;
  /** In the charter's order; null where a consumer's reading had not come when the clearing closed. */
  consumers: { meterId: Hex; part: MeterLot | null }[];
  transactions: { open: Hex; plant: Hex; distributor: Hex; consumers: Hex[] };
}

/** A consumer's part in a lot whose clearing had been closed without it: charged all the same, at the lot's price. */
export interface LatePart {
  feeder: Hex;
  name: string;
  lot: bigint;
  account: number;
  part: MeterLot;
  transaction: Hex;
}
