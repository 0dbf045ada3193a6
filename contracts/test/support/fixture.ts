import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BaseContract, Contract, ContractFactory, type Signer } from "ethers";

/** Deploys a contract of test/fixtures. */
export async function deployFixture(signer: Signer, path: string, ...args: unknown[]): Promise<Contract> {
  // in a process of its own: the configuration is read once in each
  execFileSync(process.execPath, [fileURLToPath(new URL("../../scripts/compile.ts", import.meta.url)), "--fixtures"]);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const file = new URL(`../../artifacts/fixtures/test/fixtures/${path}.sol/${name}.json`, import.meta.url);
  const { abi, bytecode } = JSON.parse(readFileSync(file, "utf8"));
  const contract: BaseContract = await new ContractFactory(abi, bytecode, signer).deploy(...args);
  await contract.waitForDeployment();
  return new Contract(await contract.getAddress(), abi, signer);
}
