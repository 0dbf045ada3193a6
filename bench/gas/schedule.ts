// What the protocol charges, in gas: Ethereum as of Osaka. The floors are computed from these.

/** The transaction itself. */
export const INTRINSIC = 21_000;
/** EIP-2028: a zero byte of calldata and any other. */
export const ZERO_BYTE = 4;
export const OTHER_BYTE = 16;
/** EIP-7623: what a calldata token costs at least; a zero byte is one token, any other byte four. */
export const FLOOR_TOKEN = 10;
/** EIP-2929: a slot or an account touched for the first time in a transaction, and again. */
export const COLD_SLOT = 2_100;
export const COLD_ACCOUNT = 2_600;
export const WARM = 100;
/** EIP-3529: what freeing a slot returns. */
const CLEAR_REFUND = 4_800;
/** At most this part of the gas is refunded. */
export const REFUND_QUOTIENT = 5;
/** The ecrecover precompile, called. */
export const ECRECOVER = 3_000 + WARM;

const words = (bytes: number) => Math.ceil(bytes / 32);

export const keccak = (bytes: number) => 30 + 6 * words(bytes);
export const copy = (bytes: number) => 3 * words(bytes);
export const log = (topics: number, bytes: number) => 375 + 375 * topics + 8 * bytes;
/** EXTCODECOPY of a contract that was not touched before. */
export const readCode = (bytes: number) => COLD_ACCOUNT + copy(bytes);
/** CREATE (EIP-3860) of a contract that is nothing but these bytes and the STOP before them. */
export const writeCode = (bytes: number) => 32_000 + 200 * (bytes + 1) + 2 * words(bytes + 12);

/** EIP-2200 with EIP-3529: writing a slot that was touched before, by what it held before the transaction and holds now. */
export function storeCost(original: number, current: number, value: number): { gas: number; refund: number } {
  if (value === current) return { gas: WARM, refund: 0 };
  if (current === original) {
    if (original === 0) return { gas: 20_000, refund: 0 };
    return { gas: 2_900, refund: value === 0 ? CLEAR_REFUND : 0 };
  }
  let refund = 0;
  if (original !== 0) refund += (current === 0 ? -CLEAR_REFUND : 0) + (value === 0 ? CLEAR_REFUND : 0);
  if (value === original) refund += original === 0 ? 19_900 : 2_800;
  return { gas: WARM, refund };
}

/** What a transaction's calldata costs, and what EIP-7623 asks for at least. */
export function calldata(data: string): { gas: number; atLeast: number } {
  let zeros = 0;
  const length = (data.length - 2) / 2;
  for (let i = 2; i < data.length; i += 2) if (data[i] === "0" && data[i + 1] === "0") zeros++;
  const others = length - zeros;
  return {
    gas: ZERO_BYTE * zeros + OTHER_BYTE * others,
    atLeast: INTRINSIC + FLOOR_TOKEN * (zeros + 4 * others),
  };
}
