import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { JsonRpcProvider, Network, Wallet } from "ethers";

const binary = fileURLToPath(new URL("../../../node_modules/.bin/anvil", import.meta.url));

/** anvil has no binary everywhere. */
export const hasAnvil = existsSync(binary);

/** The first accounts of the well-known development mnemonic. */
export const KEYS = [
  "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
  "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
] as const;

/** A real chain in a process of its own, which speaks HTTP as any other does. */
export class Anvil {
  readonly url: string;
  readonly provider: JsonRpcProvider;
  readonly #process: ChildProcess;

  private constructor(url: string, chainId: number, process: ChildProcess) {
    this.url = url;
    this.#process = process;
    const network = Network.from(chainId);
    this.provider = new JsonRpcProvider(url, network, {
      staticNetwork: network,
      cacheTimeout: -1,
      pollingInterval: 20,
    });
  }

  static async start(options: { chainId?: number; timestamp?: bigint } = {}): Promise<Anvil> {
    const { chainId = 31337, timestamp } = options;
    const args = ["--port", "0", "--chain-id", `${chainId}`, ...(timestamp ? ["--timestamp", `${timestamp}`] : [])];
    const child = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
    const port = await new Promise<string>((resolve, reject) => {
      let text = "";
      child.stdout!.on("data", (chunk) => {
        text += chunk;
        const found = /Listening on 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (found) resolve(found);
      });
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`anvil ended with ${code}`)));
    });
    return new Anvil(`http://127.0.0.1:${port}`, chainId, child);
  }

  wallet(index: 0 | 1 | 2): Wallet {
    return new Wallet(KEYS[index], this.provider);
  }

  send(method: string, ...params: unknown[]): Promise<unknown> {
    return this.provider.send(method, params);
  }

  /** How many transactions the account has sent. */
  sentBy(index: 0 | 1 | 2): Promise<number> {
    return this.provider.getTransactionCount(this.wallet(index).address);
  }

  close(): void {
    this.provider.destroy();
    this.#process.kill();
  }
}
