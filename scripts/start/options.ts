import { parseArgs } from "node:util";
import { BijuliError } from "@bijuli/protocol";

/** What `npm start -- …` was asked for. */
export interface Options {
  /** A grid file's path; undefined for the simulated feeder. */
  grid: string | undefined;
  /** Virtual seconds a real second. */
  speed: number;
  /** Clear exactly so many lots of every feeder, then exit. */
  lots: number | undefined;
  /** stdout carries one JSON object per cleared lot and nothing else. */
  json: boolean;
  /** Where the page is served. */
  port: number;
  /** Where the chain's RPC listens; undefined for any free port. */
  rpcPort: number | undefined;
  /** Where logs, stores and keys of this run go. */
  dir: string;
  help: boolean;
}

export const HELP = `npm start -- [options]    (npm start --silent -- … keeps npm's own lines off stdout)

Starts a whole network on this machine: chain, contracts, one reader per meter, adapter, node and page.
Lots clear until Ctrl-C.

  --grid FILE     the network: feeders, terms, meters and where their samples come from
                  (default: a simulated feeder of two plants and four consumers)
  --speed N       virtual time runs N times as fast as real time                        [60]
  --lots N        clear exactly N lots of every feeder, then exit 0
  --json          stdout carries one JSON object per cleared lot, in order, and nothing else
  --port N        the page                                                              [8080]
  --rpc-port N    the chain's JSON-RPC                                                  [any free port]
  --dir FOLDER    logs and stores of this run, made anew                                [.bijuli/demo-PORT]
  --help          this text

Settings from the environment: QUEUE_URL (redis://… instead of the embedded queue), BIJULI_CHAIN (anvil or hardhat).
Exit codes: 0 done or stopped, 1 failed, 2 bad options or input (nothing was started).
`;

/** @throws BijuliError bad-option, naming the option */
export function parseOptions(argv: readonly string[]): Options {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        grid: { type: "string" },
        speed: { type: "string", default: "60" },
        lots: { type: "string" },
        json: { type: "boolean", default: false },
        port: { type: "string", default: "8080" },
        "rpc-port": { type: "string" },
        dir: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    throw new BijuliError("bad-option", (error as Error).message, { remedy: "npm start -- --help" });
  }
  const whole = (name: string, min: number, max: number): number | undefined => {
    const text = values[name] as string | undefined;
    if (text === undefined) return undefined;
    const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new BijuliError(
        "bad-option",
        `--${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`,
      );
    }
    return value;
  };
  return {
    grid: values.grid as string | undefined,
    speed: whole("speed", 1, 100_000)!,
    lots: whole("lots", 1, 1_000_000),
    json: values.json as boolean,
    port: whole("port", 1, 65_535)!,
    rpcPort: whole("rpc-port", 1, 65_535),
    dir: (values.dir as string | undefined) ?? `.bijuli/demo-${values.port}`,
    help: values.help as boolean,
  };
}
