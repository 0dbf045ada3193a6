import type { TaskType } from "../task.ts";
import { asBool, asString, badInput, isList, isMap, parseJson, shorten, type Value } from "../value.ts";
import { input, otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/**
 * `jsonparse`: the value at `path` (names and indices between commas, or `separator`; negative indices count from the
 * end) in JSON text. `lax` gives null where the path leads nowhere (task.jsonparse.go).
 */
export const jsonParse: TaskType = {
  attributes: ["path", "separator", "data", "lax"],
  inputs: { min: 0, max: 1 },
  check({ lax }) {
    if (lax !== undefined && !lax.includes("$(")) asBool(lax);
  },
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const separator = resolve("separator", [text(attributes.separator), otherwise(",")], asString);
    const path = resolve("path", [variable(attributes.path, variables), otherwise(attributes.path ?? "")], (value) =>
      isList(value) ? value.map(asString) : asString(value) === "" ? [] : asString(value).split(separator),
    );
    const data = resolve(
      "data",
      [variable(attributes.data, variables), text(attributes.data), input(inputs, 0)],
      asString,
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
        if (!/^-?\d+$/.test(key)) throw badInput(`${JSON.stringify(key)} is not an array index`);
        next = at.at(Number(key));
      } else throw lost();
      if (next === undefined) {
        if (lax) return null;
        throw lost();
      }
      at = next;
    }
    return at;
  },
};
