import { badInput, isList, isMap, parseJson, shorten, type Value, type ValueMap } from "./value.ts";

/* The variables of Chainlink's core/services/pipeline/variables.go and getters.go. */

const VARIABLE = /\$\(\s*([a-zA-Z0-9_.]+)\s*\)/g;

/** What a getter gives whose parameter is absent, so that the next getter is asked. */
const ABSENT = Symbol("parameter is empty");

/** The value at a key path: map keys and list indices between dots. */
export function lookUp(variables: ValueMap, keypath: string): Value {
  let at: Value = variables;
  for (const key of keypath.split(".")) {
    if (isMap(at)) {
      if (!Object.hasOwn(at, key)) throw badInput(`$(${keypath}): there is no ${JSON.stringify(key)}`);
      at = at[key]!;
    } else if (isList(at)) {
      if (!/^-?\d+$/.test(key)) throw badInput(`$(${keypath}): ${JSON.stringify(key)} is not an index`);
      const item: Value | undefined = at[Number(key)];
      if (item === undefined) throw badInput(`$(${keypath}): index ${key} is out of range`);
      at = item;
    } else if (at instanceof Error) {
      throw badInput(`$(${keypath}): the task failed`, at);
    } else {
      throw badInput(`$(${keypath}): ${JSON.stringify(key)} is looked up in what is neither a map nor a list`);
    }
  }
  return at;
}

/** Asked in turn for a parameter's value; the first that has one answers. */
export type Getter = () => Value | typeof ABSENT;

/** `$(path)` and nothing else. */
export function variable(expression: string | undefined, variables: ValueMap): Getter {
  return () => {
    const path = soleVariable(expression);
    if (path === undefined) return ABSENT;
    const value = lookUp(variables, path);
    if (value instanceof Error) throw badInput(`$(${path}) failed`, value);
    return value;
  };
}

/** The path of an expression that is one variable. Standing alone it may have letters in it that it may not have in JSON: $(cbor.my-key). */
export function soleVariable(expression: string | undefined): string | undefined {
  const path = /^\$\(([^$]*)\)$/.exec((expression ?? "").trim())?.[1]?.trim();
  return path === "" ? undefined : path;
}

/** JSON text with `$(path)` standing for values. */
export function jsonWithVariables(expression: string | undefined, variables: ValueMap, allowErrors = false): Getter {
  return () => {
    if (expression === undefined || expression.trim() === "") return ABSENT;
    const paths: string[] = [];
    const text = expression.replace(VARIABLE, (_, path: string) => {
      paths.push(path);
      return `{"${MARK}":${paths.length - 1}}`;
    });
    let parsed: Value;
    try {
      parsed = parseJson(firstValue(text));
    } catch (cause) {
      throw badInput(`${shorten(expression)} is not JSON`, cause);
    }
    return fill(parsed, (index) => {
      const path = paths[index];
      if (path === undefined) throw badInput(`${MARK} cannot be used in JSON`);
      const value = lookUp(variables, path);
      if (value instanceof Error && !allowErrors) throw badInput(`$(${path}) failed`, value);
      return value;
    });
  };
}

/** The object or list that a text begins with: as Go's decoder, which does not look at what stands behind, such as a brace too many. */
function firstValue(text: string): string {
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === "{" || token === "[") depth++;
    else if ((token === "}" || token === "]") && --depth === 0) return text.slice(0, index + 1);
  }
  return text;
}

const MARK = "__bijuli_variable__";

function fill(value: Value, valueAt: (index: number) => Value): Value {
  if (isList(value)) return value.map((item) => fill(item, valueAt));
  if (isMap(value)) {
    if (Object.hasOwn(value, MARK)) return valueAt(value[MARK] as number);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, valueAt)]));
  }
  return value;
}

/** The attribute's own text, trimmed. */
export function text(attribute: string | undefined): Getter {
  return () => {
    const trimmed = (attribute ?? "").trim();
    if (trimmed === "") return ABSENT;
    return trimmed;
  };
}

/** The result of the task's n-th input. */
export function input(inputs: readonly Value[], index: number): Getter {
  return () => {
    const value = inputs[index];
    if (value === undefined) return ABSENT;
    if (value instanceof Error) throw value;
    return value;
  };
}

/** A default. */
export function otherwise(value: Value): Getter {
  return () => value;
}

/**
 * The first value that the getters give, converted.
 * @throws BijuliError bad-input that names the parameter
 */
export function resolve<T>(name: string, getters: readonly Getter[], convert: (value: Value) => T): T {
  for (const get of getters) {
    try {
      const value = get();
      if (value !== ABSENT) return convert(value);
    } catch (error) {
      throw badInput(name, error);
    }
  }
  throw badInput(`${name}: parameter is empty`);
}

/** The variables that an expression names. */
export function variablesIn(expression: string): string[] {
  return [...expression.matchAll(VARIABLE)].map((match) => match[1]!);
}
