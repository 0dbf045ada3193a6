import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AbiCoder, type Contract, ContractFactory } from "ethers";
import { ETHER, SPEC_ID, type World } from "../../contracts/test/support/feeder.ts";
import { calldata } from "./schedule.ts";

const require = createRequire(import.meta.url);
const SOURCE = "PlainAnyApi.sol";

export interface AnyApi {
  /** Asking for three numbers. */
  request: number;
  /** Answering and storing them, through fulfillOracleRequest2. */
  fulfilment: number;
  /** What the answer's calldata costs of that. */
  fulfilmentCalldata: number;
}

/** A plain consumer's second round on the same LINK and Operator: its slots have been written before, as the market's have. */
export async function measureAnyApi(world: World): Promise<AnyApi> {
  const { abi, bytecode } = compile();
  const { link, operator } = world.book;
  const deployed = await new ContractFactory(abi, bytecode, world.regulator).deploy(link, operator);
  const consumer = (await deployed.waitForDeployment()) as Contract;
  await world.send(world.link.transfer!(await consumer.getAddress(), 10n * ETHER));
  let measured: AnyApi | undefined;
  for (let round = 1n; round <= 2n; round++) {
    const latest = await world.chain.helpers.time.latest();
    await world.chain.helpers.time.setNextBlockTimestamp(latest - (latest % 300) + 600);
    const asked = await world.send(consumer.getFunction("request")(SPEC_ID, ETHER / 10n));
    const request = asked.logs.map((log) => world.operator.interface.parseLog(log)).find((event) => event !== null)!;
    const { requestId, payment, callbackAddr, callbackFunctionId, cancelExpiration } = request.args;
    const data = AbiCoder.defaultAbiCoder().encode(
      ["bytes32", "uint256", "uint256", "uint256"],
      [requestId, 1_000_001n * round, 2_000_002n * round, 3_000_003n * round],
    );
    const answered = await world.send(
      world.operator.fulfillOracleRequest2!(
        requestId,
        payment,
        callbackAddr,
        callbackFunctionId,
        cancelExpiration,
        data,
        { gasLimit: 1_000_000n },
      ),
    );
    if ((await consumer.getFunction("third")()) !== 3_000_003n * round) throw new Error("AnyAPI stored nothing");
    const sent = (await world.chain.ethers.provider.getTransaction(answered.hash))!;
    measured = {
      request: Number(asked.gasUsed),
      fulfilment: Number(answered.gasUsed),
      fulfilmentCalldata: calldata(sent.data).gas,
    };
  }
  return measured!;
}

/** With the market's compiler and optimizer. */
function compile(): { abi: string; bytecode: string } {
  const solc = require("solc");
  const read = (path: string) => ({ contents: readFileSync(path, "utf8") });
  const input = {
    language: "Solidity",
    sources: {
      [SOURCE]: {
        content: readFileSync(join(fileURLToPath(new URL(".", import.meta.url)), "contracts", SOURCE), "utf8"),
      },
    },
    settings: {
      optimizer: { enabled: true, runs: 800 },
      viaIR: true,
      evmVersion: "cancun",
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
    },
  };
  const modules = join(require.resolve("@chainlink/contracts/package.json"), "../../..");
  const output = JSON.parse(
    solc.compile(JSON.stringify(input), { import: (path: string) => read(join(modules, path)) }),
  );
  if (output.errors?.length > 0)
    throw new Error(output.errors.map((e: { formattedMessage: string }) => e.formattedMessage).join("\n"));
  const { abi, evm } = output.contracts[SOURCE].PlainAnyApi;
  return { abi, bytecode: evm.bytecode.object };
}
