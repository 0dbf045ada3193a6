// The development chain where anvil has no binary: Hardhat's own, served over HTTP by a process of its own.
// Arguments: host, port, genesis (unix seconds), block gas limit.
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import { CHAIN_ID } from "./chain.ts";

const [host, port, genesis, gasLimit] = process.argv.slice(2);
const { network } = await createHardhatRuntimeEnvironment({
  networks: {
    chain: {
      type: "edr-simulated",
      chainId: CHAIN_ID,
      initialDate: new Date(Number(genesis) * 1000).toISOString(),
      blockGasLimit: BigInt(gasLimit!),
      hardfork: "osaka",
    },
  },
});
const server = await network.createServer("chain", host, Number(port));
const { address, port: bound } = await server.listen();
process.stdout.write(`Listening on ${address}:${bound}\n`);

const stop = async () => {
  await server.close();
  process.exit(0);
};
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
