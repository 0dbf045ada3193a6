import { Decimal } from "../decimal.ts";
import type { TaskRun, TaskType } from "../task.ts";
import { asBool, asDecimal, asMap, asString, badInput, isList, isMap, kindOf, toHex, type Value } from "../value.ts";
import { input, jsonWithVariables, otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

function given<T>({ attributes, variables, inputs }: TaskRun, name: string, convert: (value: Value) => T): T {
  return resolve(name, [variable(attributes[name], variables), text(attributes[name]), input(inputs, 0)], convert);
}

function onInput(attributes: readonly string[], convert: (task: TaskRun) => Value): TaskType {
  return {
    attributes,
    inputs: { min: 0, max: 1 },
    run(task) {
      noFailedInputs(task.inputs);
      return convert(task);
    },
  };
}

export const lowercase = onInput(["input"], (task) => given(task, "input", asString).toLowerCase());
export const uppercase = onInput(["input"], (task) => given(task, "input", asString).toUpperCase());

export const hexDecode = onInput(["input"], (task) => {
  const hex = given(task, "input", asString);
  if (!/^0x(?:[0-9a-f]{2})*$/i.test(hex)) throw badInput("input: hex text with the prefix 0x is wanted");
  return Buffer.from(hex.slice(2), "hex");
});

/** Text and bytes byte by byte, integers as their own hex; null gives "" (task.hexencode.go). */
export const hexEncode = onInput(["input"], (task) =>
  given(task, "input", (value) => {
    if (value === null) return "";
    if (typeof value === "string" || value instanceof Uint8Array) {
      const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
      return bytes.length === 0 ? "" : toHex(bytes);
    }
    const decimal = asDecimal(value);
    if (!decimal.isInteger() || decimal.digits < 0n) throw badInput(`${decimal} is not an unsigned integer`);
    return `0x${decimal.toBigInt().toString(16)}`;
  }),
);

export const base64Decode = onInput(["input"], (task) => {
  // As Go's decoder: lines may be broken.
  const encoded = given(task, "input", asString).replace(/[\r\n]/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4 !== 0) throw badInput("input: base64 is wanted");
  return Buffer.from(encoded, "base64");
});

export const base64Encode = onInput(["input"], (task) =>
  given(task, "input", (value) =>
    Buffer.from(value instanceof Uint8Array ? value : Buffer.from(asString(value ?? ""), "utf8")).toString("base64"),
  ),
);

/** The value of `key` in the map that its input is, or null. `key` is taken as it is written (task.lookup.go). */
export const lookup: TaskType = {
  attributes: ["key"],
  inputs: { min: 1, max: 1 },
  run({ attributes, inputs }) {
    noFailedInputs(inputs);
    const [map] = inputs;
    if (!isMap(map)) throw badInput(`expected an object, got ${kindOf(map)}`);
    const key = attributes.key ?? "";
    return Object.hasOwn(map, key) ? map[key]! : null;
  },
};

/** Two maps in one; the right one wins. */
export const merge = onInput(["left", "right"], (task) => {
  const side = (name: "left" | "right", fallback: readonly ReturnType<typeof input>[]) =>
    resolve(
      name,
      [
        variable(task.attributes[name], task.variables),
        jsonWithVariables(task.attributes[name], task.variables),
        ...fallback,
      ],
      asMap,
    );
  return { ...side("left", [input(task.inputs, 0)]), ...side("right", []) };
});

/** Passes a value on: for tests of specs. */
export const memo = onInput(["value"], (task) =>
  resolve(
    "value",
    [
      variable(task.attributes.value, task.variables),
      jsonWithVariables(task.attributes.value, task.variables),
      input(task.inputs, 0),
    ],
    (value) => {
      if (value === null || isMap(value) || isList(value) || value instanceof Decimal) return value;
      if (value instanceof Error) throw badInput(kindOf(value));
      return value;
    },
  ),
);

/** Ends the branch unless `data`, a variable, is true; any other text there counts for nothing, and the input is asked. */
export const conditional = onInput(["data"], ({ attributes, variables, inputs }) => {
  if (!resolve("data", [variable(attributes.data, variables), input(inputs, 0)], asBool)) {
    throw badInput("conditional was not satisfied");
  }
  return true;
});

/** Always fails, with `msg`. */
export const fail: TaskType = {
  attributes: ["msg"],
  run({ attributes, variables }) {
    throw badInput(
      resolve("msg", [variable(attributes.msg, variables), text(attributes.msg), otherwise("fail")], asString),
    );
  },
};
