import type { LogDescription } from "ethers";

/**
 * The name in a FeederCreated event. The contract takes any bytes: those that are no UTF-8 make no name, and must not keep
 * anybody from reading on; then the feeder is called by its id.
 */
export function feederName({ args }: Pick<LogDescription, "args">): string {
  try {
    return args.name;
  } catch {
    return args.feeder;
  }
}
