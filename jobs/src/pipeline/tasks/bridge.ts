import { explain } from "@bijuli/protocol";
import { parseDuration } from "../../spec/duration.ts";
import { RetryableError, Suspended, type TaskType } from "../task.ts";
import {
  asBool,
  asList,
  asMap,
  asString,
  badInput,
  isMap,
  shorten,
  toJson,
  type Value,
  type ValueMap,
} from "../value.ts";
import { jsonWithVariables, lookUp, otherwise, resolve, text, variable } from "../variables.ts";
import { errorInBody, httpCall, statusInBody } from "./http-call.ts";
import { noFailedInputs } from "./inputs.ts";

/** Last good answers of tasks with a `cacheTTL`, used when the adapter fails. */
const lastAnswers = new WeakMap<object, { at: number; answer: string }>();

/**
 * `bridge`: posts `requestData` to an external adapter and gives its answer as text (task.bridge.go). Only HTTP 200 is
 * success, `statusCode` in the body overrides the header, 5xx and silence may be tried again, 4xx may not. With `async` the
 * adapter gets a responseURL, and may say `pending` and send its answer there later.
 */
export const bridge: TaskType = {
  attributes: ["name", "requestData", "includeInputAtKey", "async", "cacheTTL", "headers", "checkRequired"],
  required: ["name"],
  check({ async, cacheTTL }) {
    if (async !== undefined) asBool(async);
    if (cacheTTL !== undefined && parseDuration(cacheTTL) === undefined) throw badInput(`cacheTTL: ${cacheTTL}`);
  },
  async run({ id, attributes, variables, inputs, context, signal }) {
    noFailedInputs(inputs);
    const name = resolve("name", [text(attributes.name)], asString);
    const request = resolve(
      "requestData",
      [
        variable(attributes.requestData, variables),
        jsonWithVariables(attributes.requestData, variables),
        otherwise({}),
      ],
      asMap,
    );
    const headers = resolve("headers", [text(attributes.headers), otherwise([])], asList).map(asString);
    if (headers.length % 2 !== 0) throw badInput("headers must have an even number of elements");
    const url = context.bridges.get(name.toLowerCase());
    if (url === undefined) throw badInput(`could not find bridge with name '${name}': name it in BRIDGES`);

    const slot = isAsync(attributes) ? await context.awaited.slot(id) : undefined;
    if (slot?.answer !== undefined) {
      if ("error" in slot.answer) throw badInput(`bridge ${name} answered later: ${slot.answer.error}`);
      return slot.answer.value;
    }
    if (slot?.state === "pending") throw new Suspended(`waits for the answer of bridge ${name}`);

    const body: Record<string, Value> = { ...request };
    const meta = metaOf(variables);
    if (meta !== undefined) body.meta = meta;
    const key = attributes.includeInputAtKey ?? "";
    if (key !== "" && inputs[0] !== undefined) body[key] = inputs[0];
    if (slot !== undefined) body.responseURL = slot.url;

    try {
      const answer = await httpCall({
        url,
        method: "POST",
        headers,
        body: toJson(body),
        signal,
        maxBytes: context.http.maxBytes,
        restricted: false,
      });
      const status = statusInBody(answer.body) ?? answer.status;
      // A body that claims 200 does not mend an answer that HTTP says is an error.
      if (status !== 200 || answer.status >= 400) {
        const said = errorInBody(answer.body) ?? shorten(answer.body.toString("utf8"));
        const failure = `bridge ${name} answered ${status === 200 ? answer.status : status}: ${said}`;
        throw status >= 400 && status < 500 ? badInput(failure) : new RetryableError(failure);
      }
      const said = answer.body.toString("utf8");
      if (slot !== undefined && ("x-chainlink-pending" in answer.headers || saysPending(said))) {
        await context.awaited.pending(slot.id);
        throw new Suspended(`waits for the answer of bridge ${name}`);
      }
      lastAnswers.set(attributes, { at: Date.now(), answer: said });
      return said;
    } catch (error) {
      if (error instanceof Suspended) throw error;
      const ttl = parseDuration(attributes.cacheTTL ?? "0") ?? 0;
      const last = lastAnswers.get(attributes);
      if (ttl > 0 && last !== undefined && Date.now() - last.at <= ttl) {
        context.logger.warn({ bridge: name, cause: explain(error) }, "the adapter failed: its last answer is used");
        return last.answer;
      }
      throw error;
    }
  },
};

/** Whether a bridge task's adapter may answer later. */
export function isAsync({ async }: Readonly<Record<string, string>>): boolean {
  return async !== undefined && asBool(async);
}

function saysPending(text: string): boolean {
  try {
    return (JSON.parse(text) as { pending?: unknown } | null)?.pending === true;
  } catch {
    return false;
  }
}

function metaOf(variables: ValueMap): ValueMap | undefined {
  try {
    const meta = lookUp(variables, "jobRun.meta");
    return isMap(meta) ? meta : undefined;
  } catch {
    return undefined;
  }
}
