import { AbiCoder } from "ethers/abi";
import { marketAbi } from "./market.ts";
import type { RpcError } from "./rpc.ts";

/** What a reverted call says, in words: Error(string), a custom error of the market by name, or its bytes. */
export function revertReason(error: RpcError): string {
  const data = error.revertData;
  if (data === undefined || data === "0x") return error.message;
  try {
    if (data.startsWith("0x08c379a0")) {
      return String(AbiCoder.defaultAbiCoder().decode(["string"], `0x${data.slice(10)}`)[0]);
    }
    const known = marketAbi.parseError(data);
    if (known !== null) return `${known.name}(${known.args.map(String).join(", ")})`;
  } catch {
    // Not an error that is known here: its bytes are shown.
  }
  return `${error.message} (${data})`;
}
