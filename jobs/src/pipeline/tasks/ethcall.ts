import { explain } from "@bijuli/protocol";
import { RpcError } from "../../chain/rpc.ts";
import { RetryableError, type TaskType } from "../task.ts";
import { asAddress, asBool, asBytes, asString, asUint, badInput, toHex } from "../value.ts";
import { otherwise, resolve, text, variable } from "../variables.ts";
import { noFailedInputs } from "./inputs.ts";

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
    const data = resolve("data", given("data"), asBytes);
    if (data.length === 0) throw badInput("data param must not be empty");
    const from = optional("from", asAddress);
    const gas = resolve("gasUnlimited", [...given("gasUnlimited"), otherwise(false)], asBool)
      ? undefined
      : optional("gas", asUint);
    const block = resolve("block", [...given("block"), otherwise("latest")], asString);
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
