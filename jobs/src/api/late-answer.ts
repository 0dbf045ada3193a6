import { BijuliError } from "@bijuli/protocol";
import { isMap, parseJson, toJson, type Value } from "../pipeline/value.ts";
import type { LateAnswer } from "../state/awaited-store.ts";

/** Reads what an adapter sends to a responseURL, as Chainlink's ResumeRequest: one of `value` (any JSON) and `error` (text). */
export function readLateAnswer(body: string): LateAnswer {
  let said: Value;
  try {
    said = parseJson(body);
  } catch (cause) {
    throw new BijuliError("bad-input", "the answer is not JSON", { cause });
  }
  const { value, error } = isMap(said) ? said : {};
  if (typeof error === "string" && value === undefined) return { error };
  if ((error === undefined || error === null) && value !== undefined) return { value: toJson(value) };
  throw new BijuliError("bad-input", "must provide only one of either 'value' or 'error' key");
}
