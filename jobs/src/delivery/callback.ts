import { submitCall } from "../chain/market.ts";
import type { Call } from "./forwarder.ts";
import type { Entry, Line } from "./line.ts";
import { callbackAddressOf, recordsOf } from "./outcome.ts";
import type { Outgoing } from "./transactions.ts";

export interface CallbackOptions {
  /** The addresses whose keys are here. */
  addresses: readonly string[];
  /** Gas of a callback whose spec and task name none. */
  defaultGasLimit: bigint;
  /** Wraps a call for a forwarder, or leaves it as it is. */
  forward: (call: Call) => Call;
}

/** The transaction for an entry: its callback or, when its request is spent, its submission; or why there can be none. */
export function callbackOf(entry: Entry, options: CallbackOptions): Outgoing | string {
  const { run } = entry;
  const { call } = run;
  if (call === undefined) return "its pipeline built no transaction";
  const allowed = options.addresses.filter((address) => call.from.length === 0 || call.from.includes(address));
  if (allowed.length === 0) return `the spec wants to send from ${call.from.join(", ")}, whose key this node has not`;
  const common = {
    sender: senderOf(entry.line, allowed),
    runId: run.id,
    gasLimit: gasLimitOf(entry, options.defaultGasLimit),
  };
  if (run.stage?.submit) {
    const records = recordsOf(call.data);
    if (records === undefined) return "its records cannot be read from its callback";
    return { ...common, ...submitCall(run.stage, records), purpose: "submit", detail: {} };
  }
  const { to, data } = options.forward({ to: call.to, data: call.data });
  return { ...common, to, data, purpose: "fulfil", detail: { callback: callbackAddressOf(call.data) } };
}

export function gasLimitOf(entry: Entry, otherwise: bigint): bigint {
  return entry.gasLimit ?? BigInt(entry.run.call?.gasLimit ?? entry.line.job.gasLimit ?? otherwise);
}

/** A group stays with its key: the one that its last transactions went out with, else always the same choice. */
function senderOf(line: Line, allowed: readonly string[]): string {
  const { sender } = line;
  return sender !== undefined && allowed.includes(sender) ? sender : allowed[indexOf(line.key, allowed.length)]!;
}

function indexOf(text: string, count: number): number {
  let hash = 2166136261;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619) >>> 0;
  return hash % count;
}
