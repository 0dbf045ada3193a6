import { decodeFirst } from "cborg";
import { bigIntDecoder, bigNegIntDecoder } from "cborg/taglib";
import type { TaskType } from "../task.ts";
import { asBytes, asString, badInput, kindOf, type Value } from "../value.ts";
import { otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/**
 * `cborparse`: in mode `diet`, the default, a request's CBOR, which arrives without its map delimiters; in mode
 * `standard` any CBOR item (task.cborparse.go, core/cbor/cbor.go).
 */
export const cborParse: TaskType = {
  attributes: ["data", "mode"],
  required: ["data"],
  check({ mode }) {
    if (mode !== undefined && !["diet", "standard"].includes(mode.trim())) throw badInput(`unrecognised mode: ${mode}`);
  },
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const data = resolve("data", [variable(attributes.data, variables)], asBytes);
    const mode = resolve("mode", [text(attributes.mode), otherwise("diet")], asString);
    if (mode === "standard") return data.length === 0 ? null : parse(data);
    return parseDietCbor(data);
  },
};

/** A map whose delimiters may be missing: both, or the one that opens it. */
export function parseDietCbor(data: Uint8Array): Record<string, Value> {
  const isWhole = data.length === 1 || (data.length > 0 && data[0]! >> 5 === 5);
  const value = parse(isWhole ? data : Uint8Array.from([0xbf, ...data, 0xff]));
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw badInput(`the request's CBOR is ${kindOf(value)}, not a map`);
  }
  return value as Record<string, Value>;
}

/** The first item; what stands behind it, such as the zeros that fill a word up, is left aside, as Chainlink's tests have it. */
function parse(data: Uint8Array): Value {
  try {
    return coerce(decodeFirst(data, { useMaps: true, tags: { 2: bigIntDecoder, 3: bigNegIntDecoder } })[0]);
  } catch (cause) {
    throw badInput(`malformed CBOR (${data.length} bytes)`, cause);
  }
}

function coerce(value: unknown): Value {
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]: [unknown, unknown]) => {
      if (typeof key !== "string") throw badInput(`the map key ${String(key)} is not a string`);
      return [key, coerce(item)] as const;
    });
    return Object.fromEntries(entries);
  }
  if (Array.isArray(value)) return value.map(coerce);
  // cborg gives the break that ends an open map as a value where one is missing.
  if (typeof value === "symbol") throw badInput("a value is missing");
  return value === undefined ? null : (value as Value);
}
