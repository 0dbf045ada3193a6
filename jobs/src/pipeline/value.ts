import { BijuliError, explain } from "@bijuli/protocol";
import { Decimal } from "./decimal.ts";

/**
 * What a task gives to the next. Numbers stay exact: integers beyond 2^53 are bigint, the arithmetic tasks give Decimal.
 * A failed task's value is its Error, so that a later task may count or skip it.
 */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Decimal
  | Error
  | readonly Value[]
  | ValueMap;
export interface ValueMap {
  readonly [key: string]: Value;
}

/**
 * Bytes of Solidity's bytes1 to bytes32. In JSON for an adapter they are a list of numbers, as Go writes an array of bytes;
 * those of `bytes` are base64.
 */
export class FixedBytes extends Uint8Array {}

export function badInput(message: string, cause?: unknown): BijuliError {
  return new BijuliError("bad-input", message, { cause });
}

export function isMap(value: Value | undefined): value is ValueMap {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array) &&
    !(value instanceof Decimal) &&
    !(value instanceof Error)
  );
}

export function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

export function toHex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}

/** JSON text to values; integers keep every digit. */
export function parseJson(text: string): Value {
  return JSON.parse(text, (_, value: unknown, context?: { source?: string }) => {
    if (typeof value !== "number") return value;
    const source = context?.source;
    return source !== undefined && /^-?\d+$/.test(source) && !Number.isSafeInteger(value) ? BigInt(source) : value;
  }) as Value;
}

/** Stand-ins for values that JSON.stringify has no word for. */
function jsonable(value: Value, bytes: "base64" | "hex", numbers: string[]): unknown {
  if (typeof value === "bigint") {
    numbers.push(value.toString());
    return `\u0000n${numbers.length - 1}\u0000`;
  }
  if (value instanceof Uint8Array) {
    if (bytes === "hex") return toHex(value);
    return value instanceof FixedBytes ? [...value] : Buffer.from(value).toString("base64");
  }
  if (value instanceof Decimal) return value.toString();
  if (value instanceof Error) return { error: explain(value) };
  if (isList(value)) return value.map((item) => jsonable(item, bytes, numbers));
  if (isMap(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonable(item, bytes, numbers)]));
  }
  return value;
}

/**
 * Values to JSON text: integers bare, decimals as strings, bytes in base64 (FixedBytes as numbers), as Go's encoding/json
 * writes what a Chainlink node sends to an adapter. `bytes: "hex"` is how a run shows them (Chainlink's JSONSerializable).
 */
export function toJson(value: Value, bytes: "base64" | "hex" = "base64"): string {
  const numbers: string[] = [];
  const text = JSON.stringify(jsonable(value, bytes, numbers));
  return numbers.length === 0 ? text : text.replace(/"\\u0000n(\d+)\\u0000"/g, (_, index) => numbers[Number(index)]!);
}

/* What follows mirrors the *Param types of Chainlink's core/services/pipeline/task_params.go. */

export function asString(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  throw badInput(`expected a string, got ${kindOf(value)}`);
}

/** A string with 0x is hex, any other (also one that begins as hex and is none) its UTF-8 bytes. */
export function asBytes(value: Value): Uint8Array {
  if (typeof value === "string" && !HEX.test(value)) return Buffer.from(value, "utf8");
  return asCalldata(value);
}

const HEX = /^0x(?:[0-9a-f]{2})*$/i;

/** The same where what begins as hex must be hex: nobody means to send the text of a mistyped number to a contract. */
export function asCalldata(value: Value): Uint8Array {
  if (value === null) return new Uint8Array();
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") {
    if (!/^0x/i.test(value)) return Buffer.from(value, "utf8");
    if (!HEX.test(value)) throw badInput(`${shorten(value)} is not hex`);
    return Buffer.from(value.slice(2), "hex");
  }
  if (isList(value) && value.every((item) => typeof item === "number" && item >= 0 && item < 256)) {
    return Uint8Array.from(value as number[]);
  }
  throw badInput(`expected bytes, got ${kindOf(value)}`);
}

export function asDecimal(value: Value): Decimal {
  if (value instanceof Decimal) return value;
  if (typeof value === "bigint") return new Decimal(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw badInput(`${value} is not a number`);
    return Decimal.parse(String(value));
  }
  if (typeof value === "string") return Decimal.parse(value);
  throw badInput(`expected a number, got ${kindOf(value)}`);
}

export function asUint(value: Value): bigint {
  const decimal = asDecimal(value);
  if (!decimal.isInteger() || decimal.digits < 0n) throw badInput(`${decimal} is not an unsigned integer`);
  return decimal.toBigInt();
}

export function asBool(value: Value): boolean {
  if (typeof value === "boolean") return value;
  // Go's strconv.ParseBool
  if (typeof value === "string" && /^(1|t|true)$/i.test(value)) return true;
  if (typeof value === "string" && /^(0|f|false)$/i.test(value)) return false;
  throw badInput(`expected true or false, got ${kindOf(value)}`);
}

export function asAddress(value: Value): string {
  if (value instanceof Uint8Array && value.length === 20) return toHex(value);
  const text = asString(value);
  if (!/^0x[0-9a-f]{40}$/i.test(text)) throw badInput(`${shorten(text)} is not an address`);
  return text.toLowerCase();
}

/** A map, or the text of a JSON object; null is an empty one. */
export function asMap(value: Value): ValueMap {
  if (value === null) return {};
  if (isMap(value)) return value;
  if (typeof value === "string" || value instanceof Uint8Array) {
    const parsed = parseText(asString(value));
    if (isMap(parsed)) return parsed;
    throw badInput(`expected a JSON object, got ${kindOf(parsed)}`);
  }
  throw badInput(`expected an object, got ${kindOf(value)}`);
}

/** A list, or the text of a JSON array. */
export function asList(value: Value): readonly Value[] {
  if (value === null) return [];
  if (isList(value)) return value;
  if (typeof value === "string" || value instanceof Uint8Array) {
    const parsed = parseText(asString(value));
    if (isList(parsed)) return parsed;
    throw badInput(`expected a JSON array, got ${kindOf(parsed)}`);
  }
  throw badInput(`expected a list, got ${kindOf(value)}`);
}

function parseText(text: string): Value {
  try {
    return parseJson(text);
  } catch (cause) {
    throw badInput(`${shorten(text)} is not JSON`, cause);
  }
}

/** What an error calls a value. */
export function kindOf(value: Value | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (value instanceof Error) return `an error (${explain(value)})`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof Decimal) return `the number ${value}`;
  if (isList(value)) return `a list of ${value.length}`;
  if (isMap(value)) return "an object";
  return typeof value === "string" ? `the text ${shorten(value)}` : `the ${typeof value} ${value}`;
}

/** Text short enough for an error message. */
export function shorten(text: string, length = 120): string {
  return text.length <= length
    ? JSON.stringify(text)
    : `${JSON.stringify(text.slice(0, length))}… (${text.length} characters)`;
}
