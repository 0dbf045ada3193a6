import { explain } from "@bijuli/protocol";
import { RpcError } from "../../chain/rpc.ts";
import { RetryableError, type TaskType } from "../task.ts";
import { asAddress, asBool, asBytes, asCalldata, asString, asUint, badInput, toHex, type ValueMap } from "../value.ts";
import { jsonWithVariables, otherwise, resolve, text, variable } from "../variables.ts";
import { sameChain } from "./chain.ts";
import { noFailedInputs } from "./inputs.ts";

/** Hex as it is written, which Chainlink has no word for, or JSON with variables. */
function calldata(data: string, variables: ValueMap) {
  const plain = /^\s*0x/i.test(data) ? text(data) : jsonWithVariables(data, variables);
  return [variable(data, variables), plain];
}

/** `ethcall`: what a contract answers to calldata, as bytes (task.eth_call.go). */
export const ethCall: TaskType = {
  attributes: [
    "contract",
    "from",
    "data",
    "gas",
    "gasPrice",
    "gasTipCap",
    "gasFeeCap",
    "gasUnlimited",
    "extractRevertReason",
    "evmChainID",
    "block",
    "specGasLimit",
  ],
  required: ["contract", "data"],
  async run({ attributes, variables, inputs, context, signal }) {
    noFailedInputs(inputs);
    const given = (name: string) => [variable(attributes[name], variables), text(attributes[name])];
    const optional = <T>(name: string, convert: (value: Parameters<typeof asUint>[0]) => T) =>
      resolve(name, [...given(name), otherwise(null)], (value) => (value === null ? undefined : convert(value)));
    const to = resolve("contract", given("contract"), asAddress);
    sameChain(attributes.evmChainID, variables);
    const data = resolve("data", calldata(attributes.data!, variables), asCalldata);
    if (data.length === 0) throw badInput("data param must not be empty");
    const from = optional("from", asAddress);
    const gas = optional("gas", asUint) || undefined;
    if (gas !== undefined && resolve("gasUnlimited", [...given("gasUnlimited"), otherwise(false)], asBool)) {
      throw badInput("gas must be zero when gasUnlimited is true");
    }
    const block = resolve("block", [...given("block"), otherwise("latest")], asString).toLowerCase();
    const quantity = (value: bigint | undefined) => (value === undefined ? undefined : `0x${value.toString(16)}`);
    const call = {
      to,
      data: toHex(data),
      from,
      gas: quantity(gas),
      gasPrice: quantity(optional("gasPrice", asUint)),
      maxPriorityFeePerGas: quantity(optional("gasTipCap", asUint)),
      maxFeePerGas: quantity(optional("gasFeeCap", asUint)),
    };
    try {
      return asBytes(await context.rpc.call<string>("eth_call", [call, block], signal));
    } catch (error) {
      if (error instanceof RpcError && error.revertData !== undefined)
        throw badInput(`the call reverted: ${explain(error)}`);
      throw new RetryableError(`eth_call: ${explain(error)}`, { cause: error });
    }
  },
};
