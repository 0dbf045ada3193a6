/** Values travel as millionths: µV, µA, µW. */
export const MICRO = 1_000_000n;

/** Why a text is not a decimal with at most six decimals; undefined when it is one. */
export function decimalProblem(text: string): string | undefined {
  const match = /^[+-]?([0-9]+)(?:\.([0-9]*))?$/.exec(text);
  if (match === null) return `${JSON.stringify(text)} is not a plain decimal number`;
  if ((match[2] ?? "").length > 6) return `${text} has more than six decimals`;
  if (match[1]!.length > 15) return `${text} is beyond anything measurable`;
  return undefined;
}

/** A decimal that `decimalProblem` has nothing against, as exact millionths: "0.5" → 500000n. */
export function parseMicro(text: string): bigint {
  const negative = text.startsWith("-");
  const [whole = "", fraction = ""] = text.replace(/^[+-]/, "").split(".");
  const micro = BigInt(whole) * MICRO + BigInt(fraction.padEnd(6, "0"));
  return negative ? -micro : micro;
}

/** Millionths as a JSON number, for display only: nothing is computed from it. */
export function microToNumber(micro: bigint): number {
  return Number(micro) / 1e6;
}

/** Millionths as a decimal text without trailing zeros: 500000n → "0.5". */
export function formatMicro(micro: bigint): string {
  const digits = (micro < 0n ? -micro : micro).toString().padStart(7, "0");
  const fraction = digits.slice(-6).replace(/0+$/, "");
  return `${micro < 0n ? "-" : ""}${digits.slice(0, -6)}${fraction && `.${fraction}`}`;
}
