/*
 * What a Chainlink node makes of an adapter's answer, restated from its source: smartcontractkit/chainlink at 02e2a69 for
 * files below core/, smartcontractkit/chainlink-common at 2afe6ef for files below pkg/.
 */
export const SOURCES = {
  run: "core/services/pipeline/task.bridge.go BridgeTask.Run",
  body: "core/services/pipeline/task.bridge.go finalizeAndMarshalBridgeRequestData, withRunInfo",
  status: "core/services/pipeline/task.bridge.go eaJSONResponseStatus; eautils/eautils.go BestEffortExtractEAStatus",
  error: "core/services/pipeline/task.bridge.go resolveFailureOrCache; eautils/eautils.go BestEffortExtractEAError",
  request: "core/services/pipeline/common_http.go makeHTTPRequest",
  retry: "core/services/pipeline/common.go isRetryableHTTPError",
  size: "pkg/http/http.go Request.SendRequest",
  limit: "core/config/docs/core.toml [JobPipeline.HTTPRequest] MaxSize = '32768'",
  pending: "core/services/pipeline/task.bridge.go BridgeTask.Run, response.Pending",
  meta: "core/services/directrequest/delegate.go oracleRequestToMap, handleOracleRequest",
  cbor: "core/services/pipeline/task.cborparse.go CBORParseTask.Run; common.go replaceBytesWithHex",
  jsonparse: "core/services/pipeline/task.jsonparse.go JSONParseTask.Run",
} as const;

/** Go's json.Unmarshal into a struct field fails on another JSON type; null and absent leave it nil. */
type Field = { ok: boolean; value: unknown };
const field = (body: Record<string, unknown>, name: string, type: "integer" | "string"): Field => {
  // encoding/json matches names without regard to case when there is no exact match.
  const key =
    Object.keys(body).find((k) => k === name) ?? Object.keys(body).find((k) => k.toLowerCase() === name.toLowerCase());
  const value = key === undefined ? null : body[key];
  if (value === null) return { ok: true, value: undefined };
  const fits = type === "integer" ? Number.isInteger(value) : typeof value === type;
  return { ok: fits, value };
};

export interface BridgeResult {
  /** The task's value, handed to the next task as text. */
  value?: string;
  /** The task's error; an error that is undefined on failure would be swallowed by the node. */
  error?: string | undefined;
  failed: boolean;
  retryable: boolean;
}

/** BestEffortExtractEAStatus: what the body says about itself overrides the header. */
function statusOf(body: Record<string, unknown> | undefined): number | undefined {
  if (body === undefined) return undefined;
  const statusCode = field(body, "statusCode", "integer");
  const providerStatusCode = field(body, "providerStatusCode", "integer");
  const errorMessage = field(body, "errorMessage", "string");
  if (!statusCode.ok || !providerStatusCode.ok || !errorMessage.ok) return undefined;
  if (statusCode.value === undefined) return undefined;
  if (statusCode.value !== 200) return statusCode.value as number;
  if (providerStatusCode.value !== undefined && providerStatusCode.value !== 200)
    return providerStatusCode.value as number;
  if (body.error !== undefined && body.error !== null) return 500;
  return 200;
}

/** BestEffortExtractEAError: only an object with name and message speaks; text makes a decoding error of it. */
function errorOf(body: Record<string, unknown> | undefined): string | undefined {
  if (body === undefined) return "invalid character in the body";
  const { error } = body;
  if (error === undefined || error === null) return undefined;
  if (typeof error !== "object" || Array.isArray(error)) return "json: cannot unmarshal into AdapterError";
  const { name = "", message = "" } = error as Record<string, unknown>;
  if (typeof name !== "string" || typeof message !== "string") return "json: cannot unmarshal into AdapterError";
  return `${name}: ${message}`;
}

/** BridgeTask.Run for a bridge without a response cache (cacheTTL 0) and, when `async`, with async="true". */
export function readAsBridge(
  answer: { status: number; text: string },
  options: { limit?: number; async?: boolean } = {},
): BridgeResult {
  const { limit = 32_768 } = options;
  // SendRequest returns no error when its reader stops at the limit: what came so far is taken for the whole. (Until
  // core/utils/http/http.go moved there, it was an error, and retried for nothing.)
  if (Buffer.byteLength(answer.text) > limit) {
    answer = { ...answer, text: Buffer.from(answer.text).subarray(0, limit).toString() };
  }
  let body: Record<string, unknown> | undefined;
  try {
    const json: unknown = JSON.parse(answer.text);
    body =
      typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : undefined;
  } catch {
    body = undefined;
  }
  // makeHTTPRequest: an error from 400 on, which does not keep the body from being read.
  let error = answer.status >= 400 ? `got error: (status code ${answer.status})` : undefined;
  const status = statusOf(body) ?? answer.status;
  if (error !== undefined || status !== 200) {
    error = errorOf(body) ?? error;
    // isRetryableHTTPError
    const retryable = status >= 400 && status < 500 ? false : status >= 500 ? true : error !== undefined;
    return { failed: true, error, retryable };
  }
  if (options.async && body?.pending === true) return { failed: false, retryable: false };
  return { failed: false, value: answer.text, retryable: false };
}

/** The jsonparse task with a comma-separated path, as a job has it after its bridge; throws as it fails. */
export function jsonparse(text: string, path: string): unknown {
  return path
    .split(",")
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], JSON.parse(text));
}
