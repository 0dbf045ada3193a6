import type { Bill } from "../bill.ts";
import { rowsOf } from "./words.ts";

/**
 * A bill as CSV (RFC 4180), a line a lot. Energies are Units (0.1 µkWh), money is wei, prices are wei per kWh, losses and
 * factor are WAD; then each plant's share in what was used, in Units.
 */
export function billCsv(bill: Bill): string {
  const plants = [...new Set(bill.lots.flatMap((lot) => lot.plants.map(({ meterId }) => meterId)))];
  const head = [
    "lot",
    "start",
    "end",
    "energy",
    "price_per_kwh",
    "owes",
    "earns",
    "quality",
    "measured",
    "sent",
    "received",
    "lost",
    "actual_loss",
    "excess_loss",
    "factor",
    "penalty_waived",
    ...plants.map((meterId) => `origin_${meterId}`),
  ];
  const rows = rowsOf(bill).map(({ of, origin, ...row }) => [
    row.lot,
    row.start,
    row.end,
    row.energy,
    row.pricePerKWh,
    row.owes,
    row.earns,
    row.quality ?? "",
    row.measured,
    of.sent,
    of.received,
    of.lost,
    of.actualLoss,
    of.excessLoss,
    of.factor,
    of.penaltyWaived,
    ...plants.map((meterId) => origin.find((share) => share.meterId === meterId)?.energy ?? 0n),
  ]);
  return [head, ...rows].map((cells) => `${cells.join(",")}\r\n`).join("");
}
