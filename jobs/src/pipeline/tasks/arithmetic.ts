import { Decimal } from "../decimal.ts";
import type { TaskRun, TaskType } from "../task.ts";
import { asDecimal, asList, asUint, badInput, isList, toJson, type Value } from "../value.ts";
import { input, jsonWithVariables, otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/** The values of sum, mean, median and mode: `values`, or the inputs; some may have failed, up to `allowedFaults`. */
function survivors({ attributes, variables, inputs }: TaskRun): Value[] {
  const all = resolve(
    "values",
    [variable(attributes.values, variables), jsonWithVariables(attributes.values, variables, true), () => [...inputs]],
    asList,
  );
  const allowed = resolve("allowedFaults", [text(attributes.allowedFaults), otherwise(all.length - 1)], (value) =>
    Number(asDecimal(value).toBigInt()),
  );
  const good = all.filter((value) => !(value instanceof Error));
  const faults = all.length - good.length;
  if (faults > allowed) {
    throw badInput(
      `${faults} of ${all.length} inputs failed; ${Math.max(allowed, 0)} may`,
      all.find((v) => v instanceof Error),
    );
  }
  if (good.length === 0) throw badInput("values: no values");
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
    (value) => (value === null ? undefined : Number(asUint(value))),
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

export const median: TaskType = {
  attributes: ["values", "allowedFaults"],
  run(task) {
    const values = decimals(task).sort((a, b) => a.compare(b));
    const middle = values.length >> 1;
    if (values.length % 2 === 1) return values[middle]!;
    return values[middle - 1]!.add(values[middle]!).divide(new Decimal(2n));
  },
};

/** The values that occur most often: `{results, occurrences}`. */
export const mode: TaskType = {
  attributes: ["values", "allowedFaults"],
  run(task) {
    const seen = new Map<string, { value: Value; times: number }>();
    for (const value of survivors(task)) {
      const key = typeof value === "string" ? value : toJson(value, "hex");
      const entry = seen.get(key) ?? { value, times: 0 };
      entry.times++;
      seen.set(key, entry);
    }
    const occurrences = Math.max(...[...seen.values()].map(({ times }) => times));
    const results = [...seen.values()].filter(({ times }) => times === occurrences).map(({ value }) => value);
    return { results, occurrences };
  },
};

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
  inputs: { min: 0, max: 1 },
  run(task) {
    noFailedInputs(task.inputs);
    return given(task, "input").divide(given(task, "divisor", -1), precisionOf(task));
  },
};

export const lessThan: TaskType = {
  attributes: ["input", "limit"],
  required: ["limit"],
  inputs: { min: 0, max: 1 },
  run(task) {
    noFailedInputs(task.inputs);
    return given(task, "input").compare(given(task, "limit", -1)) < 0;
  },
};

/** How many items a list or bytes a text has. */
export const length: TaskType = {
  attributes: ["input"],
  inputs: { min: 0, max: 1 },
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    return resolve(
      "input",
      [variable(attributes.input, variables), text(attributes.input), input(inputs, 0)],
      (value) => {
        if (isList(value)) return value.length;
        if (value instanceof Uint8Array) return value.length;
        if (typeof value === "string") return Buffer.byteLength(value);
        throw badInput("expected bytes, text or a list");
      },
    );
  },
};
