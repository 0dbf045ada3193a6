import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HardhatEthers } from "@nomicfoundation/hardhat-ethers/types";
import type { NetworkHelpers } from "@nomicfoundation/hardhat-network-helpers/types";
import { compile } from "../../scripts/compile.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

export interface Chain {
  ethers: HardhatEthers;
  helpers: NetworkHelpers;
  close(): Promise<void>;
}

/** A fresh chain inside this process, its clock at `timestamp` (unix seconds). */
export async function startChain(timestamp: bigint): Promise<Chain> {
  await compile();
  const { createHardhatRuntimeEnvironment } = await import("hardhat/hre");
  const { default: config } = await import("../../hardhat.config.ts");
  const hre = await createHardhatRuntimeEnvironment(config, { config: join(root, "hardhat.config.ts") }, root);
  const connection = await hre.network.create({
    override: { initialDate: new Date(Number(timestamp) * 1000), allowBlocksWithSameTimestamp: true },
  });
  return {
    ethers: connection.ethers,
    helpers: connection.networkHelpers,
    close: () => connection.close(),
  };
}
