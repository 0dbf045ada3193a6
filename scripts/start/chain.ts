import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BijuliError, type Clock } from "@bijuli/protocol";
import type { Processes } from "./processes.ts";
import { rpc } from "./rpc.ts";

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The first account of Hardhat's and Foundry's well-known development mnemonic: the deployer and regulator here. */
export const DEV_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
export const CHAIN_ID = 31337;

const HOST = "127.0.0.1";
const GAS_LIMIT = 60_000_000;

/** Which development chain runs here: anvil where it has a binary, Hardhat's otherwise. */
export function chainKind(): "anvil" | "hardhat" {
  const asked = process.env.BIJULI_CHAIN;
  if (asked !== undefined && asked !== "anvil" && asked !== "hardhat") {
    throw new BijuliError("bad-option", `BIJULI_CHAIN=${JSON.stringify(asked)} must be anvil or hardhat`);
  }
  return asked ?? (existsSync(at("node_modules/.bin/anvil")) ? "anvil" : "hardhat");
}

/**
 * Starts the chain with its genesis at `genesis` (unix seconds). It mines each transaction at once until
 * `mineByClock` takes over.
 * @returns the RPC's URL
 */
export async function startChain(processes: Processes, port: number, genesis: number): Promise<string> {
  const url = `http://${HOST}:${port}`;
  if (chainKind() === "anvil") {
    const args = [
      "--host",
      HOST,
      "--port",
      `${port}`,
      "--chain-id",
      `${CHAIN_ID}`,
      "--timestamp",
      `${genesis}`,
      "--gas-limit",
      `${GAS_LIMIT}`,
    ];
    await processes.start(
      "chain",
      at("node_modules/.bin/anvil"),
      [...args, "--order", "fifo", "--disable-min-priority-fee"],
      {},
      (line) => (line.startsWith("Listening on") ? true : undefined),
    );
  } else {
    const args = [at("scripts/start/hardhat-chain.ts"), HOST, `${port}`, `${genesis}`, `${GAS_LIMIT}`];
    await processes.start("chain", process.execPath, args, {}, (line) =>
      line.startsWith("Listening on") ? true : undefined,
    );
  }
  return url;
}

/**
 * Mines a block every `intervalMs` real milliseconds, stamped with the virtual clock: the chain's time is the
 * network's time, however fast that runs. Ends when the signal aborts.
 */
export async function mineByClock(url: string, clock: Clock, intervalMs: number, signal: AbortSignal): Promise<void> {
  await rpc(url, "evm_setAutomine", [false]);
  let stamp = Number((await rpc<{ timestamp: string }>(url, "eth_getBlockByNumber", ["latest", false])).timestamp);
  for (let due = performance.now(); !signal.aborted; ) {
    stamp = Math.max(stamp + 1, Math.floor(clock.nowMs() / 1000));
    await rpc(url, "evm_setNextBlockTimestamp", [stamp]);
    await rpc(url, "evm_mine");
    due = Math.max(due + intervalMs, performance.now() + 1);
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
  }
}
