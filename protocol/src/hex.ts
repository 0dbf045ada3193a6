/** Bytes as lower-case hex with its 0x. */
export type Hex = `0x${string}`;

/** True for 0x and an even number of hex digits; with `bytes`, for exactly that many bytes. */
export function isHex(value: unknown, bytes?: number): value is Hex {
  return (
    typeof value === "string" &&
    /^0x(?:[0-9a-fA-F]{2})*$/.test(value) &&
    (bytes === undefined || value.length === 2 + 2 * bytes)
  );
}

/** An unsigned integer as fixed-width big-endian hex digits, without 0x. The caller has checked that it fits. */
export function digitsOf(value: bigint | number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, "0");
}
