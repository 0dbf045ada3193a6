import { FunctionFragment } from "ethers/abi";
import { decodeArguments, encodeCall, parseArguments, parseSignature } from "../abi.ts";
import type { TaskType } from "../task.ts";
import { asBytes, asList, asMap, asString, badInput, toHex, type Value } from "../value.ts";
import { input, jsonWithVariables, otherwise, resolve, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

/** `ethabidecodelog`: an event's topics and data by the names in its ABI (task.eth_abi_decode_log.go). */
export const ethAbiDecodeLog: TaskType = {
  attributes: ["abi", "data", "topics"],
  required: ["abi", "topics"],
  check: ({ abi }) => void parseSignature(abi!, true),
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const data = resolve("data", [variable(attributes.data, variables), otherwise(null)], asBytes);
    const topics = resolve("topics", [variable(attributes.topics, variables)], asList).map(asBytes);
    const signature = parseSignature(attributes.abi!, true);
    const plain = signature.arguments.filter((argument) => !argument.indexed);
    const indexed = signature.arguments.filter((argument) => argument.indexed);
    const decoded = decodeArguments(plain, data);
    if (indexed.length === 0) return decoded;
    if (topics.length !== indexed.length + 1) {
      throw badInput(`${topics.length} topics for ${indexed.length} indexed fields`);
    }
    for (const [position, { name, type }] of indexed.entries()) {
      const topic = topics[position + 1]!;
      // Of what does not fit a topic it holds the hash.
      const hashed = type.isArray() || type.isTuple() || type.baseType === "string" || type.baseType === "bytes";
      decoded[name] = hashed ? toHex(topic) : decodeArguments([{ name, type, indexed: true }], topic)[name]!;
    }
    return decoded;
  },
};

/** `ethabidecode`: ABI-encoded bytes by the names in `abi` (task.eth_abi_decode.go). */
export const ethAbiDecode: TaskType = {
  attributes: ["abi", "data"],
  required: ["abi"],
  check: ({ abi }) => void parseArguments(abi!),
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const data = resolve("data", [variable(attributes.data, variables), input(inputs, 0)], asBytes);
    return decodeArguments(parseArguments(attributes.abi!), data);
  },
};

/** `ethabiencode`: values by name to calldata; without a function name, to arguments only (task.eth_abi_encode.go). */
export const ethAbiEncode: TaskType = {
  attributes: ["abi", "data"],
  required: ["abi"],
  check: ({ abi }) => void parseSignature(abi!),
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const values = namedValues(attributes.data, variables);
    return toHex(encodeCall(parseSignature(attributes.abi!), values));
  },
};

/** `ethabiencode2`: as `ethabiencode`, from a JSON ABI, which can hold tuples (task.eth_abi_encode_2.go). */
export const ethAbiEncode2: TaskType = {
  attributes: ["abi", "data"],
  required: ["abi"],
  check: ({ abi }) => void parseJsonAbi(abi!),
  run({ attributes, variables, inputs }) {
    noFailedInputs(inputs);
    const values = namedValues(attributes.data, variables);
    return toHex(encodeCall(parseJsonAbi(attributes.abi!), values));
  },
};

function namedValues(data: string | undefined, variables: Parameters<typeof variable>[1]): Record<string, Value> {
  return resolve("data", [variable(data, variables), jsonWithVariables(data, variables), otherwise({})], asMap);
}

function parseJsonAbi(abi: string) {
  const parsed = asMap(asString(abi));
  const fragment = FunctionFragment.from({ type: "function", name: "unnamed", outputs: [], ...parsed });
  return {
    name: typeof parsed.name === "string" ? parsed.name : "",
    arguments: fragment.inputs.map((type) => {
      if (type.name === "") throw badInput("bad ABI specification, missing argument name");
      return { name: type.name, type, indexed: false };
    }),
  };
}
