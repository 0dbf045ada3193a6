import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HardhatEthers } from "@nomicfoundation/hardhat-ethers/types";
import { type BaseContract, ContractFactory, type InterfaceAbi } from "ethers";
import config from "../../hardhat.config.ts";

const solc: { compile(input: string, callbacks: { import(path: string): object }): string } = createRequire(
  import.meta.url,
)("solc");
const { compilers } = config.solidity as { compilers: { version: string; settings: object }[] };
const ours = compilers.find(({ version }) => version === "0.8.34")!;
const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

export interface Built {
  abi: InterfaceAbi;
  evm: { bytecode: { object: string } };
}

/** What a source imports: ours, or a package's. */
function found(path: string): { contents: string } | { error: string } {
  const file = [join(root, path), join(root, "../node_modules", path)].find((one) => existsSync(one));
  return file === undefined ? { error: `no ${path}` } : { contents: readFileSync(file, "utf8") };
}

/**
 * Compiles one source and what it imports, with the market's compiler and settings: for libraries, whose tests then need
 * nothing else to be built.
 * @param source a path below `contracts/`, whose contracts are returned
 */
export function build(source: string): Record<string, Built> {
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: "Solidity",
        sources: { [source]: { content: readFileSync(join(root, source), "utf8") } },
        settings: {
          ...ours.settings,
          outputSelection: { [source]: { "*": ["abi", "evm.bytecode.object"] } },
        },
      }),
      { import: found },
    ),
  );
  const complaints = (output.errors ?? []).map((error: { formattedMessage: string }) => error.formattedMessage);
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  return output.contracts[source];
}

export interface EmptyChain {
  ethers: HardhatEthers;
  deploy(built: Built): Promise<BaseContract>;
  close(): Promise<void>;
}

/** A chain inside this process that has nothing on it and needs nothing compiled. */
export async function startEmptyChain(): Promise<EmptyChain> {
  const { createHardhatRuntimeEnvironment } = await import("hardhat/hre");
  const hre = await createHardhatRuntimeEnvironment(config, { config: join(root, "hardhat.config.ts") }, root);
  const connection = await hre.network.create();
  const [signer] = await connection.ethers.getSigners();
  return {
    ethers: connection.ethers,
    deploy: ({ abi, evm }) => new ContractFactory(abi, evm.bytecode.object, signer).deploy(),
    close: () => connection.close(),
  };
}
