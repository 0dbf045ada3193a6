import { readFileSync } from "node:fs";
import { BijuliError, type Hex, isHex } from "@bijuli/protocol";
import { z } from "zod";

/** A day: what the registry takes at most. */
const MAX_LOT_SECONDS = 86_400;

const address = z.custom<Hex>((value) => isHex(value, 20), "must be an address: 0x and 40 hex digits");
const httpUrl = z
  .string()
  .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ""), "must be an http(s) URL");

const network = z.strictObject({
  /** An http(s) URL, or `env:NAME`: that environment variable holds it, for URLs that carry an API key. */
  rpcUrl: z.union([z.string().regex(/^env:[A-Za-z_][A-Za-z0-9_]*$/), httpUrl], {
    error: "must be an http(s) URL or env:NAME",
  }),
  chainId: z.int("must be a whole number").positive("must be positive"),
  /** The chain's own LINK token. */
  link: address.optional(),
  /** An Operator that is there already. */
  operator: address.optional(),
  /** The addresses that the oracle nodes send from. */
  nodes: z.array(address).optional(),
  /** Blocks to wait for after each transaction. */
  confirmations: z.int().min(1, "must be at least 1").max(100, "must be at most 100").optional(),
  lotSeconds: z
    .int()
    .min(1, "must be at least 1")
    .max(MAX_LOT_SECONDS, `must be at most ${MAX_LOT_SECONDS}`)
    .optional(),
});

const file = z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i), network);

/** A network as the command sees it; without `chainId` any chain will do. */
export interface Network {
  name: string;
  rpcUrl: string;
  chainId?: bigint | undefined;
  link?: Hex | undefined;
  operator?: Hex | undefined;
  nodes: readonly Hex[];
  confirmations?: number | undefined;
  lotSeconds?: number | undefined;
}

export const NETWORKS_FILE = "bijuli.networks.json";
export const LOCAL = "local";
const LOCAL_URL = "http://127.0.0.1:8545";
/** Chains on which whatever is deployed is worth nothing: Hardhat's and Ganache's. */
const DEVELOPMENT_CHAINS = [31337n, 1337n];

export const isDevelopmentChain = (chainId: bigint) => DEVELOPMENT_CHAINS.includes(chainId);

/** Which network is meant, by the options that say so. */
export interface NetworkOptions {
  network?: string | undefined;
  networks?: string | undefined;
  "rpc-url"?: string | undefined;
  "chain-id"?: string | undefined;
}

/**
 * Finds a network: in the networks file, by its URL alone, or the built-in `local`.
 * @throws BijuliError bad-networks or usage
 */
export function findNetwork(options: NetworkOptions, env: NodeJS.ProcessEnv): Network {
  const url = options["rpc-url"];
  if (url !== undefined && !httpUrl.safeParse(url).success) throw usage("--rpc-url must be an http(s) URL");
  if (options.network === undefined && url === undefined) {
    throw usage("which network? --network NAME or --rpc-url URL");
  }
  if (options["chain-id"] !== undefined && !/^[1-9][0-9]{0,18}$/.test(options["chain-id"])) {
    throw usage(`--chain-id ${JSON.stringify(options["chain-id"])} must be a positive whole number`);
  }
  const known = options.network === undefined ? undefined : fromFile(options.network, options.networks, env, url);
  const chainId = options["chain-id"] ?? known?.chainId;
  return {
    nodes: [],
    ...known,
    name: options.network ?? new URL(url!).host.replaceAll(/[^a-z0-9._-]/gi, "-"),
    rpcUrl: url ?? known!.rpcUrl,
    chainId: chainId === undefined ? undefined : BigInt(chainId),
  };
}

function fromFile(
  name: string,
  path: string | undefined,
  env: NodeJS.ProcessEnv,
  url: string | undefined,
): Network | undefined {
  const networks = readNetworks(path ?? NETWORKS_FILE, path === undefined);
  const found = Object.hasOwn(networks, name) ? networks[name] : undefined;
  if (!found) {
    if (name === LOCAL) return { name, rpcUrl: LOCAL_URL, nodes: [] };
    if (url !== undefined) return undefined;
    const names = [...new Set([...Object.keys(networks), LOCAL])].join(", ");
    throw usage(`there is no network ${JSON.stringify(name)} in ${path ?? NETWORKS_FILE}; there are: ${names}`);
  }
  return { ...found, name, nodes: found.nodes ?? [], chainId: BigInt(found.chainId), rpcUrl: url ?? urlOf(found, env) };
}

function urlOf({ rpcUrl }: { rpcUrl: string }, env: NodeJS.ProcessEnv): string {
  const variable = /^env:(.*)$/.exec(rpcUrl)?.[1];
  if (variable === undefined) return rpcUrl;
  const value = env[variable] ?? "";
  if (httpUrl.safeParse(value).success) return value;
  throw usage(`${variable} must hold the network's http(s) URL`);
}

/** @throws BijuliError bad-networks, one line that names the file and the field */
function readNetworks(path: string, optional: boolean): z.output<typeof file> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (missing && optional) return {};
    throw new BijuliError(
      "bad-networks",
      missing ? `${path}: there is no such networks file` : `${path}: not JSON: ${(error as Error).message}`,
    );
  }
  const parsed = file.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const unknown = issue.code === "unrecognized_keys";
  const field = [...issue.path, ...(unknown ? issue.keys.slice(0, 1) : [])].map(String).join(".");
  const missing = issue.message.endsWith("received undefined");
  const message = unknown ? "unknown key" : missing ? "is missing" : issue.message;
  throw new BijuliError("bad-networks", `${path}: ${field || "(top level)"}: ${message}`);
}

const usage = (message: string) => new BijuliError("usage", message, { remedy: "--help says more" });
