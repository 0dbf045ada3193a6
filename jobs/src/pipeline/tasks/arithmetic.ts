import { Decimal } from "../decimal.ts";
import type { TaskRun, TaskType } from "../task.ts";
import { asBool, asBytes, asDecimal, asList, badInput, isList, parseJson, toJson, type Value } from "../value.ts";
import { input, jsonWithVariables, otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/** What a null among the values is: a value like any other, nothing, or one that failed. */
type Nulls = "values" | "nothing" | "faults";

/**
 * The values of sum, mean, median and mode: `values`, or the inputs; some may have failed, up to `allowedFaults`. There is
 * at least one, unless nulls are not values.
 */
function survivors({ attributes, variables, inputs }: TaskRun, nulls: Nulls = "values"): Value[] {
  const all = resolve(
    "values",
    [variable(attributes.values, variables), jsonWithVariables(attributes.values, variables, true), () => [...inputs]],
    asList,
  ).filter((value) => value !== null || nulls !== "nothing");
  const allowed = resolve(
    "allowedFaults",
    [text(attributes.allowedFaults), otherwise(Math.max(all.length - 1, 0))],
    (value) => Number(asDecimal(value).toBigInt()),
  );
  const good = all.filter((value) => !(value instanceof Error) && (value !== null || nulls !== "faults"));
  const faults = all.length - good.length;
  if (faults > allowed) {
    throw badInput(
      `${faults} of ${all.length} inputs failed; ${Math.max(allowed, 0)} may`,
      all.find((v) => v instanceof Error),
    );
  }
  if (good.length === 0 && nulls === "values") throw badInput("values: no values");
  return good;
}

function decimals(task: TaskRun): Decimal[] {
  return survivors(task).map(asDecimal);
}

function given({ attributes, variables, inputs }: TaskRun, name: string, position = 0): Decimal {
  return resolve(
    name,
    [variable(attributes[name], variables), text(attributes[name]), input(inputs, position)],
    asDecimal,
  );
}

function precisionOf({ attributes, variables }: TaskRun): number | undefined {
  return resolve(
    "precision",
    [variable(attributes.precision, variables), text(attributes.precision), otherwise(null)],
    (value) => (value === null || value === "" ? undefined : Number(asDecimal(value).toBigInt())),
  );
}

const total = (values: readonly Decimal[]) => values.reduce((sum, value) => sum.add(value), new Decimal(0n));

export const sum: TaskType = {
  attributes: ["values", "allowedFaults"],
  run: (task) => total(decimals(task)),
};

export const mean: TaskType = {
  attributes: ["values", "allowedFaults", "precision"],
  run(task) {
    const values = decimals(task);
    return total(values).divide(new Decimal(BigInt(values.length)), precisionOf(task));
  },
};

/** The middle value. `lax` leaves nulls aside, `countNilsAsFaults` counts them as failed; with either, no value gives null. */
export const median: TaskType = {
  attributes: ["values", "allowedFaults", "lax", "countNilsAsFaults"],
  run(task) {
    const flag = (name: string) => resolve(name, [text(task.attributes[name]), otherwise(false)], asBool);
    const [lax, faults] = [flag("lax"), flag("countNilsAsFaults")];
    if (lax && faults) throw badInput("lax and countNilsAsFaults exclude one another");
    const values = survivors(task, lax ? "nothing" : faults ? "faults" : "values")
      .map(asDecimal)
      .sort((a, b) => a.compare(b));
    if (values.length === 0) return null;
    const middle = values.length >> 1;
    if (values.length % 2 === 1) return values[middle]!;
    return values[middle - 1]!.add(values[middle]!).divide(new Decimal(2n));
  },
};

/** The values that occur most often, in the order in which they came to that: `{results, occurrences}`. */
export const mode: TaskType = {
  attributes: ["values", "allowedFaults"],
  run(task) {
    const times = new Map<string, number>();
    let results: Value[] = [];
    let occurrences = 0;
    for (const value of survivors(task)) {
      const key = comparable(value);
      const now = (times.get(key) ?? 0) + 1;
      times.set(key, now);
      if (now > occurrences) {
        results = [value];
        occurrences = now;
      } else if (now === occurrences) results.push(value);
    }
    return { results, occurrences };
  },
};

/** By which mode takes values for the same: 1, "1" and the bytes of "1" are. */
function comparable(value: Value): string {
  if (typeof value === "string") return Buffer.from(value, "utf8").toString("latin1");
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  return value instanceof Decimal ? value.toString() : toJson(value);
}

/** Any one of the inputs that did not fail. */
export const any: TaskType = {
  attributes: [],
  inputs: { min: 1, max: Number.POSITIVE_INFINITY },
  run({ inputs }) {
    const good = inputs.filter((value) => !(value instanceof Error));
    if (good.length === 0) throw badInput("there was not a single valid input", inputs[0]);
    return good[Math.floor(Math.random() * good.length)]!;
  },
};

export const multiply: TaskType = {
  attributes: ["input", "times"],
  required: ["times"],
  inputs: { min: 0, max: 1 },
  run(task) {
    noFailedInputs(task.inputs);
    return given(task, "input").multiply(given(task, "times", -1));
  },
};

export const divide: TaskType = {
  attributes: ["input", "divisor", "precision"],
  required: ["divisor"],
  run(task) {
    noFailedInputs(task.inputs);
    return given(task, "input").divide(given(task, "divisor", -1), precisionOf(task));
  },
};

/** Whether `left`, or the input, is less than `right`. */
export const lessThan: TaskType = {
  attributes: ["left", "right"],
  required: ["right"],
  inputs: { min: 0, max: 1 },
  run(task) {
    noFailedInputs(task.inputs);
    return given(task, "left").compare(given(task, "right", -1)) < 0;
  },
};

/** How many items a list has (also one in JSON text), or how many bytes a text (of hex text: what it stands for). */
export const length: TaskType = {
  attributes: ["input"],
  inputs: { min: 0, max: 1 },
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    return resolve(
      "input",
      [variable(attributes.input, variables), text(attributes.input), input(inputs, 0)],
      (value) => {
        const items = typeof value === "string" ? listIn(value) : value === null ? [] : value;
        return new Decimal(BigInt(isList(items) ? items.length : asBytes(value).length));
      },
    );
  },
};

function listIn(text: string): Value {
  try {
    return parseJson(text) ?? [];
  } catch {
    return text;
  }
}
