import assert from "node:assert/strict";
import { Interface } from "ethers";
import { EnergyMarketAbi, EnergyTokenAbi, MeterRegistryAbi } from "../../abi/index.ts";

const interfaces = [EnergyMarketAbi, MeterRegistryAbi, EnergyTokenAbi].map((abi) => new Interface(abi));

/** The custom error in what a call threw, as `Name(argument, …)`. */
export function reasonOf(error: unknown): string {
  let data: unknown;
  for (let at = error as Record<string, unknown> | undefined; at && !data; at = at.cause as typeof at) {
    data = at.data ?? (at.error as { data?: unknown } | undefined)?.data;
  }
  if (typeof data !== "string") return String((error as Error)?.message ?? error);
  for (const known of interfaces) {
    const parsed = known.parseError(data);
    if (parsed) return `${parsed.name}(${parsed.args.map(String).join(", ")})`;
  }
  return data;
}

/** Asserts that a call reverts with the custom error `name`, whose first arguments are `args`. */
export async function refused(call: Promise<unknown>, name: string, ...args: unknown[]): Promise<void> {
  let result: unknown;
  try {
    result = await call;
    if (result && typeof result === "object" && "wait" in result) await (result as { wait(): Promise<unknown> }).wait();
  } catch (error) {
    const reason = reasonOf(error);
    const expected = `${name}(${args.map(String).join(", ")}`;
    assert.ok(reason.startsWith(expected), `expected ${expected}, got ${reason}`);
    return;
  }
  assert.fail(`expected ${name}, but it went through`);
}
