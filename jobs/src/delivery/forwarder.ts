import { forwarderAbi } from "../chain/abi.ts";

/** Where a call goes and what it carries. */
export interface Call {
  to: string;
  data: string;
}

/** Wraps calls for the AuthorizedForwarder through which this node sends, or leaves them as they are. */
export function forwarding(forwarder: string | undefined): (call: Call) => Call {
  if (forwarder === undefined) return (call) => call;
  return ({ to, data }) => ({ to: forwarder, data: forwarderAbi.encodeFunctionData("forward", [to, data]) });
}
