import { formatKWh, lotEnd, lotStart, qualityNames } from "@bijuli/protocol";
import type { LotLine } from "./lot-line.ts";

const clockTime = (unixSeconds: bigint): string =>
  new Date(Number(unixSeconds) * 1000).toISOString().slice(0, 16).replace("T", " ");
const percent = (wad: string): string => `${(Number(BigInt(wad) / 10n ** 12n) / 10_000).toFixed(2)} %`;
const kWh = (units: string): string => `${formatKWh(BigInt(units)).slice(0, -3)} kWh`;
/** Shown in gwei, for a lot moves far less than an ether; only people read this. */
const gwei = (wei: string): string =>
  `${(Number(BigInt(wei) / 10n ** 5n) / 10_000).toLocaleString("en", { maximumFractionDigits: 4 })} gwei`;

/** A cleared lot as a person reads it: one block. */
export function describeLot(line: LotLine, lotSeconds: number): string {
  const [from, to] = [lotStart(BigInt(line.lot), lotSeconds), lotEnd(BigInt(line.lot), lotSeconds)];
  const width = Math.max(...[...line.plants, line.distributor, ...line.consumers].map(({ serial }) => serial.length));
  const row = (role: string, serial: string, energy: string | null, money: string) =>
    `  ${role.padEnd(12)}${serial.padEnd(width)}  ${(energy === null ? "not read yet" : kWh(energy)).padStart(14)}  ${money}`.trimEnd();
  const flags = qualityNames(line.quality);
  return [
    `${line.feeder}  lot ${line.lot}  ${clockTime(from)}–${clockTime(to).slice(11)} UTC${flags.length > 0 ? `  [${flags.join(", ")}]` : ""}`,
    ...line.plants.map((plant) => row("plant", plant.serial, plant.energy, `is paid ${gwei(plant.paid)}`)),
    row(
      "distributor",
      line.distributor.serial,
      line.distributor.energy,
      `loss ${percent(line.actualLoss)}${line.excessLoss === "0" ? "" : `, ${percent(line.excessLoss)} above the ideal: penalty`}`,
    ),
    ...line.consumers.map((consumer) =>
      row(
        "consumer",
        consumer.serial,
        consumer.energy,
        consumer.charged === null ? "" : `is charged ${gwei(consumer.charged)}`,
      ),
    ),
    `  price ${gwei(line.pricePerKWh)}/kWh · delivered ${kWh(line.delivered)} · unaccounted ${kWh(line.unaccounted)}${line.overdrawn === "0" ? "" : ` · overdrawn ${kWh(line.overdrawn)}`}`,
    "",
  ].join("\n");
}
