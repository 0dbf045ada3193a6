import { asString, asUint, badInput, type ValueMap } from "../value.ts";
import { lookUp, otherwise, resolve, text, variable } from "../variables.ts";

/**
 * Refuses an `evmChainID` that is not this node's chain: it serves one.
 * @throws BijuliError bad-input
 */
export function sameChain(evmChainId: string | undefined, variables: ValueMap): void {
  const chain = resolve("evmChainID", [variable(evmChainId, variables), text(evmChainId), otherwise("")], (value) =>
    typeof value === "string" ? value : asUint(value).toString(),
  );
  if (chain === "") return;
  const own = asString(lookUp(variables, "jobSpec.evmChainID"));
  if (asUint(chain) !== asUint(own)) throw badInput(`evmChainID: this node serves chain ${own}, not ${chain}`);
}
