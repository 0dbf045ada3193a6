import type { Terms } from "@bijuli/dashboard/ledger";
import type { Hex, SignedReading } from "@bijuli/protocol";
import type { AccountStand, Role } from "./market-state.ts";
import type { MeterKey } from "./registry-state.ts";

/*
 * A bill: what an account used or delivered in a run of lots, what that came to, and everything that it follows from.
 * Energies are Units, money is wei, prices are wei per kWh, times are unix seconds.
 */

/** Which bill is wanted, and where its evidence stands. None of it is believed: it only says where to look. */
export interface BillRequest {
  account: number;
  /** The first and the last lot. */
  from: bigint;
  to: bigint;
  /** The block at which the account is opened: nothing of these lots had been charged yet. */
  before: number;
  /** Blocks from the trusted one back to all that are needed, see ProvenChain. */
  path: number[];
  /** Accounts whose debts to this one moved. */
  debtors: number[];
  /** In the chain's order. */
  transactions: { block: number; index: number }[];
  readings: SignedReading[];
}

export interface BillBlock {
  number: number;
  hash: Hex;
  timestamp: number;
}

export interface BillMeter {
  meterId: Hex;
  /** The reading that it was registered with: its registers at the end of the lot before its first, in Units. */
  opening: { lot: bigint; forward: bigint; reverse: bigint };
  /** Who signs for it, and what it can carry. */
  keys: MeterKey[];
}

export interface BillCharter {
  index: number;
  fromLot: bigint;
  terms: Terms;
  distributor: { account: number; meterId: Hex };
  plants: { account: number; meterId: Hex; pricePerKWh: bigint }[];
}

export interface BillTransaction {
  hash: Hex;
  block: number;
  index: number;
  timestamp: number;
  to: Hex | null;
}

export interface BillEvent {
  transaction: Hex;
  name: string;
  args: Record<string, unknown>;
}

/** A consumer's part in a lot. */
export interface ConsumerPart {
  account: number;
  meterId: Hex;
  energy: bigint;
  /** What this lot added to floor(Σ energy · price / 10^7). */
  money: bigint;
  /** The or of the quality bits of all lots that its reading covers. */
  quality: number;
  /** The share of each plant, in Units; they sum up to the energy. */
  origin: { meterId: Hex; energy: bigint }[];
}

/** A plant's part in a lot. */
export interface PlantPart {
  account: number;
  meterId: Hex;
  energy: bigint;
  pricePerKWh: bigint;
  /** What this lot added to its money; null where the bill is not about it. */
  money: bigint | null;
  /** False: it was silent, and estimated or gone on without. */
  measured: boolean;
}

export interface BillLot {
  lot: bigint;
  /** unix seconds: the lot's first. */
  start: number;
  /** The clearing's last lot, which names it. */
  clearing: bigint;
  charter: number;
  sent: bigint;
  received: bigint;
  receivedMeasured: boolean;
  lost: bigint;
  /** WAD. */
  actualLoss: bigint;
  excessLoss: bigint;
  factor: bigint;
  /** An estimate or a correction took part: no penalty. */
  penaltyWaived: boolean;
  /** What the consumers pay. */
  pricePerKWh: bigint;
  plants: PlantPart[];
  /** Those that the bill is about. */
  consumers: ConsumerPart[];
}

export interface Bill {
  registry: Hex;
  chainId: bigint;
  market: Hex;
  lotSeconds: number;
  feeder: Hex;
  account: number;
  role: Role;
  owner: Hex;
  meterId: Hex;
  priceLimit: bigint;
  from: bigint;
  to: bigint;
  /** The trusted block, at which the account is closed. */
  block: BillBlock;
  before: BillBlock;
  meters: BillMeter[];
  charters: BillCharter[];
  transactions: BillTransaction[];
  events: BillEvent[];
  lots: BillLot[];
  totals: {
    /** Used, sent or received in these lots. */
    energy: bigint;
    /** What these lots cost the account, and what they brought it. */
    owes: bigint;
    earns: bigint;
  };
  /** The account before the first and after the last of these transactions, and what came and went between. */
  money: {
    opening: AccountStand;
    deposited: bigint;
    withdrawn: bigint;
    closing: AccountStand;
  };
}

export const sumOf = (values: readonly bigint[]): bigint => values.reduce((a, b) => a + b, 0n);
