import { marginWarning } from "@bijuli/contracts";
import { type Grid, metersOf } from "./grid.ts";

/** Meters named one by one; of a larger feeder the rest is counted. */
const NAMED = 12;

/**
 * What runs, with every default spelled out: each feeder's terms, each meter's place, and where the parts listen.
 * @param links name → URL
 * @param readers serial → URL
 */
export function introduce(grid: Grid, links: Record<string, string>, readers: ReadonlyMap<string, string>): string {
  const lines = Object.entries(links).map(([name, url]) => `  ${name.padEnd(9)} ${url}`);
  for (const feeder of grid.feeders) {
    const terms = Object.entries({
      lotSeconds: grid.lotSeconds,
      lotsPerClearing: feeder.lotsPerClearing ?? grid.lotsPerClearing,
      ...feeder.terms,
    });
    lines.push(`feeder ${feeder.name}: ${terms.map(([key, value]) => `${key} ${value}`).join(", ")}`);
    const warning = marginWarning(feeder.name, feeder.terms);
    if (warning) lines.push(`  warning: ${warning}`);
    const meters = metersOf(grid, feeder);
    for (const { role, serial, pricePerKWh, capacityWatts, deposit } of meters.slice(0, NAMED)) {
      const price = role === "plant" ? `${pricePerKWh} wei/kWh, ` : "";
      lines.push(
        `  ${role} ${serial}: ${price}capacity ${capacityWatts} W, deposit ${deposit} wei, reader ${readers.get(serial)}`,
      );
    }
    if (meters.length > NAMED) lines.push(`  and ${meters.length - NAMED} more`);
  }
  return lines.map((line) => `         ${line}`).join("\n");
}
