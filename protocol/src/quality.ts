/**
 * Quality bits of a reading; 0–7 as in the DLMS profile status. They inform only: no amount depends on them,
 * for the meter signs them itself.
 */
export const Quality = {
  CRITICAL_ERROR: 1 << 0,
  CLOCK_INVALID: 1 << 1,
  DATA_INVALID: 1 << 2,
  CLOCK_ADJUSTED: 1 << 5,
  POWER_DOWN: 1 << 7,
  /** Part of the lot was not measured. */
  GAP: 1 << 8,
  /** The sensor failed or was reset. */
  SENSOR_FAULT: 1 << 10,
} as const;

const NAMES: readonly (readonly [number, string])[] = [
  [Quality.CRITICAL_ERROR, "critical error"],
  [Quality.CLOCK_INVALID, "clock invalid"],
  [Quality.DATA_INVALID, "data not valid"],
  [Quality.CLOCK_ADJUSTED, "clock adjusted"],
  [Quality.POWER_DOWN, "power went down"],
  [Quality.GAP, "gap"],
  [Quality.SENSOR_FAULT, "sensor fault"],
];

/** What a quality says, in words; bits without a meaning are named by their number. */
export function qualityNames(bits: number): string[] {
  const names = NAMES.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
  const known = NAMES.reduce((all, [bit]) => all | bit, 0);
  for (let bit = 0; bit < 16; bit++) if (bits & ~known & (1 << bit)) names.push(`bit ${bit}`);
  return names;
}
