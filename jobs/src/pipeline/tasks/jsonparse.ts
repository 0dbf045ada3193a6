import type { TaskType } from "../task.ts";
import { asBool, asBytes, asString, badInput, isList, isMap, parseJson, shorten, type Value } from "../value.ts";
import { input, otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/**
 * `jsonparse`: the value at `path` (names and indices between commas, or `separator`; negative indices count from the
 * end) in the JSON text that `data`, a variable, or the input is. `lax` gives null where the path's last step leads nowhere
 * (task.jsonparse.go).
 */
export const jsonParse: TaskType = {
  attributes: ["path", "separator", "data", "lax"],
  inputs: { min: 0, max: 1 },
  check({ lax }) {
    if (lax !== undefined && !lax.includes("$(")) asBool(lax);
  },
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const separator = attributes.separator || ",";
    const path = resolve("path", [variable(attributes.path, variables), otherwise(attributes.path ?? "")], (value) => {
      if (isList(value)) return value.map(asString);
      const whole = value === null ? "" : asString(value);
      return whole === "" ? [] : whole.split(separator);
    });
    const data = resolve("data", [variable(attributes.data, variables), input(inputs, 0)], (value) =>
      Buffer.from(asBytes(value)).toString("utf8"),
    );
    const lax = resolve("lax", [variable(attributes.lax, variables), text(attributes.lax), otherwise(false)], asBool);
    let at: Value;
    try {
      at = parseJson(data);
    } catch (cause) {
      throw badInput(`${shorten(data)} is not JSON`, cause);
    }
    const lost = () => badInput(`could not resolve path ${JSON.stringify(path)} in ${shorten(data)}`);
    for (const key of path) {
      let next: Value | undefined;
      if (isMap(at)) next = Object.hasOwn(at, key) ? at[key] : undefined;
      else if (isList(at)) {
        if (!/^[+-]?\d+$/.test(key)) throw badInput(`${JSON.stringify(key)} is not an array index`);
        next = at.at(Number(key));
      } else throw lost();
      if (next === undefined && !lax) throw lost();
      at = next ?? null;
    }
    return at;
  },
};
