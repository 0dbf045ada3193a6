import type { TaskType } from "../task.ts";
import { asAddress, asBool, asCalldata, asList, asUint, badInput, toHex } from "../value.ts";
import { jsonWithVariables, otherwise, resolve, text, variable } from "../variables.ts";
import { sameChain } from "./chain.ts";
import { noFailedInputs } from "./inputs.ts";

/**
 * `ethtx`: asks for a transaction (task.eth_tx.go). It is not sent here: ordered delivery takes it, so that callbacks leave
 * in the order of their requests however fast their adapters were.
 *
 * minConfirmations: the run is at an end when so many blocks hold its delivery; the transaction's own is the first.
 * failOnRevert: with minConfirmations above 0, a revert ends the run.
 */
export const ethTx: TaskType = {
  attributes: [
    "from",
    "to",
    "data",
    "gasLimit",
    "txMeta",
    "minConfirmations",
    "failOnRevert",
    "evmChainID",
    "transmitChecker",
    "forwardingAllowed",
  ],
  required: ["to", "data"],
  check({ minConfirmations = "" }, outputs) {
    if (outputs.length === 0 || minConfirmations.trim() === "0") return;
    throw badInput("tasks after it would get its receipt, which is not supported: they need minConfirmations=0");
  },
  run({ attributes, variables, inputs, context }) {
    noFailedInputs(inputs);
    const given = (name: string) => [variable(attributes[name], variables), text(attributes[name])];
    sameChain(attributes.evmChainID, variables);
    const from = resolve(
      "from",
      [variable(attributes.from, variables), jsonWithVariables(attributes.from, variables), otherwise([])],
      asList,
    ).map(asAddress);
    const to = resolve("to", given("to"), asAddress);
    const data = resolve("data", given("data"), asCalldata);
    const optional = (name: string) =>
      resolve(name, [...given(name), otherwise(null)], (value) => (value === null ? undefined : asUint(value)));
    const minConfirmations = optional("minConfirmations");
    context.transact({
      from,
      to,
      data: toHex(data),
      gasLimit: optional("gasLimit"),
      minConfirmations: minConfirmations === undefined ? undefined : Number(minConfirmations),
      failOnRevert: resolve("failOnRevert", [...given("failOnRevert"), otherwise(false)], asBool),
    });
    return null;
  },
};
