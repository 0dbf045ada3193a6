import { AbiCoder, FunctionFragment, ParamType } from "ethers/abi";
import {
  asAddress,
  asBool,
  asCalldata,
  asDecimal,
  asList,
  asString,
  badInput,
  FixedBytes,
  isMap,
  kindOf,
  type Value,
} from "./value.ts";

/* Chainlink's ABI strings and conversions: core/services/pipeline/common_eth.go. */

const SIGNATURE = /^\s*([a-zA-Z0-9_]+)?\s*\(\s*([a-zA-Z0-9[\]_\s,]+\s*)?\)\s*$/;

export interface AbiArgument {
  name: string;
  type: ParamType;
  indexed: boolean;
}

/** `name(type name, …)`, in which the name may be missing. */
export interface AbiSignature {
  name: string;
  arguments: readonly AbiArgument[];
}

/** ABI strings stand in specs: there are few, and each is read once. */
const known = new Map<string, AbiSignature>();

/** Reads an ABI string of ethabiencode, ethabidecode and (`log`) ethabidecodelog. */
export function parseSignature(abi: string, log = false): AbiSignature {
  const key = `${log} ${abi}`;
  const signature = known.get(key) ?? readSignature(abi, log);
  known.set(key, signature);
  return signature;
}

function readSignature(abi: string, log: boolean): AbiSignature {
  const match = SIGNATURE.exec(abi);
  if (match === null) throw badInput(`bad ABI specification: ${abi.trim()}`);
  return { name: match[1] ?? "", arguments: parseArguments(match[2] ?? "", log) };
}

/** Reads `type name, type name`. */
export function parseArguments(list: string, log = false): AbiArgument[] {
  if (list.trim() === "") return [];
  return list.split(",").map((part) => {
    // Chainlink strikes these words out wherever they stand, also within a name.
    const words = part
      .replaceAll(/calldata|memory|storage/g, "")
      .split(/\s+/)
      .filter((word) => word !== "");
    const indexed = log && words.length === 3 && words[1] === "indexed";
    if (words.length === 0) throw badInput(`bad ABI specification, empty argument: ${list.trim()}`);
    if (words.length === 1 || (log && words.length === 2 && words[1] === "indexed")) {
      throw badInput(`bad ABI specification, missing argument name: ${list.trim()}`);
    }
    if (words.length > 2 && !indexed) {
      throw badInput(`bad ABI specification, too many components in argument ${JSON.stringify(part.trim())}`);
    }
    return { name: words.at(-1)!, type: paramType(words[0]!), indexed };
  });
}

function paramType(type: string): ParamType {
  try {
    return ParamType.from(type);
  } catch (cause) {
    throw badInput(`bad ABI specification: ${type} is not a type`, cause);
  }
}

const coder = AbiCoder.defaultAbiCoder();

/** The encoded arguments, after the selector when the signature has a name. */
export function encodeCall(signature: AbiSignature, values: { readonly [name: string]: Value }): Uint8Array {
  const types = signature.arguments.map((argument) => argument.type);
  const encoded = coder.encode(
    types,
    signature.arguments.map(({ name, type }) => {
      if (!Object.hasOwn(values, name)) throw badInput(`argument ${JSON.stringify(name)} is missing`);
      try {
        return toAbi(values[name]!, type);
      } catch (cause) {
        throw badInput(`argument ${JSON.stringify(name)} of type ${type.format()}`, cause);
      }
    }),
  );
  return Buffer.from(`${selectorOf(signature)}${encoded.slice(2)}`, "hex");
}

const selectors = new WeakMap<AbiSignature, string>();

/** Eight hex digits; none for arguments without a function's name. */
function selectorOf(signature: AbiSignature): string {
  const known = selectors.get(signature);
  if (known !== undefined) return known;
  const types = signature.arguments.map(({ type }) => type.format()).join(",");
  const selector =
    signature.name === "" ? "" : FunctionFragment.from(`function ${signature.name}(${types})`).selector.slice(2);
  selectors.set(signature, selector);
  return selector;
}

/** Decoded values by the arguments' names; of no data, none. */
export function decodeArguments(list: readonly AbiArgument[], data: Uint8Array): Record<string, Value> {
  if (data.length === 0) return {};
  let decoded: unknown[];
  try {
    decoded = [
      ...coder.decode(
        list.map((argument) => argument.type),
        data,
      ),
    ];
  } catch (cause) {
    throw badInput(`${data.length} bytes do not hold (${list.map((one) => one.type.format()).join(",")})`, cause);
  }
  return Object.fromEntries(list.map(({ name, type }, index) => [name, fromAbi(decoded[index], type)]));
}

/**
 * What ethers decoded as a pipeline's value: bytes as bytes, integers as bigint, addresses as text in lower case, as which Go
 * writes them into an adapter's JSON.
 */
export function fromAbi(value: unknown, type: ParamType): Value {
  if (type.baseType === "array") return [...(value as unknown[])].map((item) => fromAbi(item, type.arrayChildren!));
  if (type.baseType === "tuple") {
    const parts = [...(value as unknown[])].map((item, index) => fromAbi(item, type.components![index]!));
    return type.components!.every((part) => part.name !== "")
      ? Object.fromEntries(parts.map((part, index) => [type.components![index]!.name, part]))
      : parts;
  }
  if (type.baseType === "address") return (value as string).toLowerCase();
  if (!type.baseType.startsWith("bytes")) return value as Value;
  const bytes = Buffer.from((value as string).slice(2), "hex");
  return type.baseType === "bytes" ? bytes : new FixedBytes(bytes);
}

/** Converts a value to what the ABI type wants, as Chainlink's convertToETHABIType does. */
export function toAbi(value: Value, type: ParamType): unknown {
  const base = type.baseType;
  if (base === "array") {
    const items = asList(value);
    if (type.arrayLength !== null && type.arrayLength !== -1 && items.length !== type.arrayLength) {
      throw badInput(`incorrect length: expected ${type.arrayLength}, got ${items.length}`);
    }
    return items.map((item) => toAbi(item, type.arrayChildren!));
  }
  if (base === "tuple") {
    const parts = type.components!;
    if (isMap(value)) {
      return parts.map((part) => {
        if (!Object.hasOwn(value, part.name)) throw badInput(`${JSON.stringify(part.name)} is missing`);
        return toAbi(value[part.name]!, part);
      });
    }
    const items = asList(value);
    if (items.length !== parts.length)
      throw badInput(`incorrect length: expected ${parts.length}, got ${items.length}`);
    return items.map((item, index) => toAbi(item, parts[index]!));
  }
  if (/^u?int/.test(base)) return toInteger(value, base);
  if (base === "bool") return asBool(value);
  if (base === "address") return asAddress(value);
  if (base === "string") return asString(value);
  const bytes = asCalldata(value);
  if (base === "bytes") return bytes;
  const size = Number(base.slice(5));
  // Go copies what there is: bytes are cut, or filled up with zeros at their end. A text must fit.
  if (value instanceof Uint8Array) return Uint8Array.from({ length: size }, (_, at) => bytes[at] ?? 0);
  if (bytes.length !== size) throw badInput(`incorrect length: expected ${size} bytes, got ${kindOf(value)}`);
  return bytes;
}

function toInteger(value: Value, type: string): bigint {
  // Chainlink cuts decimals off: 1.9 becomes 1.
  const integer = asDecimal(value).toBigInt();
  const bits = BigInt(/\d+$/.exec(type)?.[0] ?? "256");
  const [low, high] = type.startsWith("u") ? [0n, 2n ** bits] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n)];
  if (integer < low || integer >= high) throw badInput(`${integer} overflows ${type}`);
  return integer;
}
