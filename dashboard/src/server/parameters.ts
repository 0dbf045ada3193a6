import { BijuliError, type Hex, isHex } from "@bijuli/protocol";

type Query = Readonly<Record<string, unknown>>;

const bad = (name: string, what: string) => new BijuliError("bad-input", `${name} must be ${what}`);

/** A whole number of the query; undefined when it is left out. @throws BijuliError bad-input */
export function whole(query: Query, name: string, min: number, max: number): number | undefined {
  const text = query[name];
  if (text === undefined) return undefined;
  const value = typeof text === "string" && /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw bad(name, `a whole number from ${min} to ${max}`);
  return value;
}

/** A lot or another 64-bit number. @throws BijuliError bad-input */
export function big(query: Query, name: string): bigint | undefined {
  const text = query[name];
  if (text === undefined) return undefined;
  if (typeof text !== "string" || !/^[0-9]{1,18}$/.test(text)) throw bad(name, "a decimal number");
  return BigInt(text);
}

/** @throws BijuliError bad-input */
export function hex32(text: unknown, name: string): Hex {
  if (!isHex(text, 32)) throw bad(name, "32 bytes of hex");
  return text.toLowerCase() as Hex;
}
