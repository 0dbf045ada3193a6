import { formatKWh, WAD } from "@bijuli/protocol";

/*
 * Numbers for people. Energy and money stay integers to the last step: digits are placed, never computed by floats.
 */

const GROUP = "\u202f";
/** Between a number and its unit: no line breaks there. */
const NEXT = "\u00a0";

const grouped = (digits: string): string => digits.replace(/\B(?=(\d{3})+$)/g, GROUP);

/** An integer with its decimal point moved left by `shift`, cut (not rounded) to `decimals` places. */
export function shifted(value: bigint, shift: number, decimals: number): string {
  const negative = value < 0n;
  const digits = (negative ? -value : value).toString().padStart(shift + 1, "0");
  const whole = digits.slice(0, digits.length - shift);
  const part = digits.slice(digits.length - shift, digits.length - shift + decimals);
  return `${negative ? "−" : ""}${grouped(whole)}${decimals > 0 ? `.${part}` : ""}`;
}

/** Units as kWh. */
export function kWh(units: bigint | string, decimals = 4): string {
  return `${shifted(BigInt(units), 7, decimals)}${NEXT}kWh`;
}

/** Units in full, for whoever checks. */
export const units = (value: bigint | string): string =>
  `${grouped(BigInt(value).toString())} Units (${formatKWh(BigInt(value))} kWh)`;

/** Wei as the ether or gwei that people read. */
export function money(wei: bigint | string): string {
  const value = BigInt(wei);
  const size = value < 0n ? -value : value;
  if (size === 0n) return `0${NEXT}gwei`;
  if (size < 10n ** 5n) return `${value < 0n ? "−" : ""}${grouped(size.toString())}${NEXT}wei`;
  if (size < 10n ** 15n) return `${shifted(value, 9, size < 10n ** 12n ? 4 : 0)}${NEXT}gwei`;
  return `${shifted(value, 18, 6)}${NEXT}ETH`;
}

/** A price, in gwei a kWh. */
export const price = (weiPerKWh: bigint | string, decimals = 2): string =>
  `${shifted(BigInt(weiPerKWh), 9, decimals)}${NEXT}gwei/kWh`;

/** A WAD fraction as per cent. */
export const percent = (wad: bigint | string, decimals = 2): string =>
  `${shifted(BigInt(wad) * 100n, 18, decimals)}${NEXT}%`;

export const bps = (value: string | number): string => `${shifted(BigInt(value), 2, 2)}${NEXT}%`;

/** a / b as a WAD fraction. */
export const ratio = (a: bigint, b: bigint): bigint => (b === 0n ? 0n : (a * WAD) / b);

const at = (options: Intl.DateTimeFormatOptions) => {
  const format = new Intl.DateTimeFormat(undefined, options);
  return (unixSeconds: number): string => format.format(unixSeconds * 1000);
};

/** In the viewer's zone. */
export const dateTime = at({ year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
export const clockTime = at({ hour: "2-digit", minute: "2-digit" });
export const fullTime = at({ dateStyle: "medium", timeStyle: "medium" });
export const monthDay = at({ month: "short", day: "numeric" });
export const zone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A hash or id that only needs to be told apart. */
export const short = (hex: string): string => `${hex.slice(0, 8)}…${hex.slice(-4)}`;
