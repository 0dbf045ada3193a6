import { formatKWh, UNITS_PER_KWH } from "@bijuli/protocol";
import { formatEther } from "ethers";
import { type Bill, type BillLot, sumOf } from "../bill.ts";
import { energyOfAccount } from "../derive.ts";

/** Units as people read them. */
export const energyText = (units: bigint): string => `${formatKWh(units)} kWh`;

/** wei as people read them: exact. */
export const etherText = (wei: bigint): string => `${formatEther(wei)} ETH`;

/** A ratio in WAD as a percentage with four decimals, rounded to the nearest. */
export function percentText(wad: bigint): string {
  const parts = ((wad < 0n ? -wad : wad) * 1_000_000n + 5n * 10n ** 17n) / 10n ** 18n;
  const digits = parts.toString().padStart(5, "0");
  return `${wad < 0n ? "-" : ""}${digits.slice(0, -4)}.${digits.slice(-4)} %`;
}

/** One line of a bill: what a lot was for its account. */
export interface BillRow {
  lot: bigint;
  /** ISO 8601: the lot's first second, and the first after it. */
  start: string;
  end: string;
  /** Units used, sent or received. */
  energy: bigint;
  /** wei per kWh at which that energy counts: a plant's own price, else what the consumers pay. */
  pricePerKWh: bigint;
  /** wei. */
  owes: bigint;
  earns: bigint;
  quality: number | undefined;
  /** False: the account's own meter was silent, and its energy was estimated. */
  measured: boolean;
  /** The share of each plant in what the bill's consumers used, in Units, in the charter's order. */
  origin: { meterId: string; energy: bigint }[];
  of: BillLot;
}

export function rowsOf(bill: Bill): BillRow[] {
  const { account, role, lots, lotSeconds } = bill;
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
  return lots.map((of): BillRow => {
    const used = sumOf(of.consumers.map(({ money }) => money));
    const sent = sumOf(of.plants.map(({ money }) => money ?? 0n));
    const plant = of.plants.find((one) => one.account === account);
    const consumer = of.consumers.find((one) => one.account === account);
    return {
      lot: of.lot,
      start: iso(of.start),
      end: iso(of.start + lotSeconds),
      energy: energyOfAccount(of, account, role),
      pricePerKWh: role === "plant" && plant ? plant.pricePerKWh : of.pricePerKWh,
      owes: role === "consumer" ? used : role === "distributor" ? sent : 0n,
      earns: role === "plant" ? sent : role === "distributor" ? used : 0n,
      quality: consumer?.quality,
      measured: role === "plant" ? (plant?.measured ?? true) : role === "distributor" ? of.receivedMeasured : true,
      origin: of.plants.map(({ meterId }) => ({
        meterId,
        energy: sumOf(
          of.consumers.flatMap(({ origin }) =>
            origin.flatMap((share) => (share.meterId === meterId ? [share.energy] : [])),
          ),
        ),
      })),
      of,
    };
  });
}

/** The mean price of an energy, in wei per kWh, rounded down; undefined where there was none. */
export const meanPrice = (wei: bigint, units: bigint): bigint | undefined =>
  units === 0n ? undefined : (wei * UNITS_PER_KWH) / units;
