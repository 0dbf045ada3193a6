/** 1 Unit = 0.1 µkWh = 0.36 J: all energy on the wire and on chain is whole Units. */
export const UNITS_PER_KWH = 10_000_000n;

/** The energy token has 18 decimals and granularity 10^11, so its smallest part is exactly one Unit. */
export const TOKEN_PER_UNIT = 10n ** 11n;

/** Fixed point with 18 decimals. */
export const WAD = 10n ** 18n;

/** Basis points in a whole. */
export const BPS = 10_000n;

/** The largest energy one lot can carry on the wire: 6 bytes. */
export const MAX_LOT_ENERGY = 2n ** 48n - 1n;

/** Plant prices stay below this, so that every price derived from them fits 64 bits. */
export const MAX_PLANT_PRICE = 2n ** 62n;

/** Units as kWh with all seven decimals, for people: 1234567n → "0.1234567". */
export function formatKWh(units: bigint): string {
  const sign = units < 0n ? "-" : "";
  const digits = (units < 0n ? -units : units).toString().padStart(8, "0");
  return `${sign}${digits.slice(0, -7)}.${digits.slice(-7)}`;
}
