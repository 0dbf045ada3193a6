/** A cleared lot as `--json` prints it (SPEC: commands). Integers are decimal strings: Units, wei, WAD. */
export interface LotLine {
  feeder: string;
  lot: string;
  sent: string;
  received: string;
  lost: string;
  available: string;
  actualLoss: string;
  excessLoss: string;
  factor: string;
  pricePerKWh: string;
  /** `paid` and `charged`: what this lot added to floor(Σ energy · price / 10^7). */
  plants: { serial: string; energy: string; paid: string }[];
  distributor: { serial: string; energy: string };
  /** A consumer whose reading has not come yet has neither energy nor charge. */
  consumers: { serial: string; energy: string | null; charged: string | null }[];
  delivered: string;
  unaccounted: string;
  overdrawn: string;
  /** All its readings' bits or-ed. */
  quality: number;
  transactions: { open: string; plant: string; distributor: string; consumers: string[] };
}
