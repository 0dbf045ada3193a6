import { join } from "node:path";
import { withoutSecrets } from "./connection.ts";
import { findNetwork, type Network } from "./networks.ts";

/** The options that every command takes which talks to a network. */
export const NETWORK_OPTIONS = {
  network: { type: "string" },
  networks: { type: "string" },
  "rpc-url": { type: "string" },
  "chain-id": { type: "string" },
  keystore: { type: "string" },
  book: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

/** What they were given, as parseArgs tells it. */
export interface NetworkValues {
  network?: string | undefined;
  networks?: string | undefined;
  "rpc-url"?: string | undefined;
  "chain-id"?: string | undefined;
  book?: string | undefined;
}

/**
 * The network that a command is for, and where its address book lies.
 * @param secrets is told what of its URL must not be shown, and what stands in its place
 * @throws BijuliError bad-networks or usage
 */
export function chosenNetwork(
  values: NetworkValues,
  env: NodeJS.ProcessEnv,
  secrets: Map<string, string>,
): { network: Network; bookFile: string } {
  const network = findNetwork(values, env);
  secrets.set(network.rpcUrl, withoutSecrets(network.rpcUrl));
  return { network, bookFile: values.book ?? join("deployments", `${network.name}.json`) };
}
