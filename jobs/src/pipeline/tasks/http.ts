import { RetryableError, type TaskType } from "../task.ts";
import { asBool, asList, asMap, asString, badInput, shorten, toJson } from "../value.ts";
import { jsonWithVariables, otherwise, resolve, text, variable, variablesIn } from "../variables.ts";
import { errorInBody, httpCall } from "./http-call.ts";
import { noFailedInputs } from "./inputs.ts";

/**
 * `http`: one request; its answer is text (task.http.go). A URL that the request brings reaches no inner address unless
 * `allowUnrestrictedNetworkAccess` says so; one that the operator wrote into the spec does.
 */
export const http: TaskType = {
  attributes: ["method", "url", "requestData", "allowUnrestrictedNetworkAccess", "headers"],
  required: ["url"],
  check({ allowUnrestrictedNetworkAccess }) {
    if (allowUnrestrictedNetworkAccess !== undefined) asBool(allowUnrestrictedNetworkAccess);
  },
  async run({ attributes, variables, inputs, context, signal }) {
    noFailedInputs(inputs);
    const method = resolve("method", [text(attributes.method), otherwise("GET")], asString).toUpperCase();
    const address = resolve("url", [variable(attributes.url, variables), text(attributes.url)], asString);
    const data = resolve(
      "requestData",
      [
        variable(attributes.requestData, variables),
        jsonWithVariables(attributes.requestData, variables),
        otherwise(null),
      ],
      (value) => (value === null ? undefined : asMap(value)),
    );
    const unrestricted = resolve(
      "allowUnrestrictedNetworkAccess",
      [
        text(attributes.allowUnrestrictedNetworkAccess),
        otherwise(variablesIn(attributes.url!).length === 0 || context.http.allowUnrestricted),
      ],
      asBool,
    );
    const headers = resolve("headers", [text(attributes.headers), otherwise([])], asList).map(asString);
    if (headers.length % 2 !== 0) throw badInput("headers must have an even number of elements");
    const url = URL.parse(address);
    if (url === null || !/^https?:$/.test(url.protocol)) throw badInput(`${shorten(address)} is not an http(s) URL`);
    const answer = await httpCall({
      url,
      method,
      headers,
      body: data === undefined ? undefined : toJson(data),
      signal,
      maxBytes: context.http.maxBytes,
      restricted: !unrestricted,
    });
    if (answer.status >= 400) {
      const said = errorInBody(answer.body) ?? shorten(answer.body.toString("utf8"));
      const failure = `got error from ${url.origin}${url.pathname}: (status code ${answer.status}) ${said}`;
      throw answer.status < 500 ? badInput(failure) : new RetryableError(failure);
    }
    return answer.body.toString("utf8");
  },
};
