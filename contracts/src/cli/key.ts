import { readFileSync } from "node:fs";
import { BijuliError } from "@bijuli/protocol";
import { decryptKeystoreJson, isKeystoreJson, Wallet } from "ethers";
import { isDevelopmentChain, LOCAL } from "./networks.ts";

/** The first account of Hardhat's and Foundry's well-known development mnemonic: everyone has this key. */
const DEVELOPMENT_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

const PASSWORD_FILE = "BIJULI_KEYSTORE_PASSWORD_FILE";

/**
 * The key that signs: from an encrypted keystore file (Web3 Secret Storage, version 3), else from the environment. On
 * the built-in local network the development account stands in.
 * @param variable the environment variable that may hold the key
 * @throws BijuliError bad-key, which never holds a secret
 */
export async function openKey(
  options: { keystore?: string | undefined; network: string; chainId: bigint },
  variable: string,
  env: NodeJS.ProcessEnv,
): Promise<Wallet> {
  if (options.keystore !== undefined) return fromKeystore(options.keystore, env);
  const key = env[variable]?.trim();
  if (key) {
    if (!/^(0x)?[0-9a-f]{64}$/i.test(key)) throw badKey(`${variable} (secret) must be 32 bytes as hex`);
    try {
      return new Wallet(key);
    } catch {
      throw badKey(`${variable} (secret) is no private key`);
    }
  }
  if (options.network === LOCAL && isDevelopmentChain(options.chainId)) return new Wallet(DEVELOPMENT_KEY);
  throw badKey("there is no key to send with", `--keystore FILE, or ${variable} in the environment`);
}

async function fromKeystore(path: string, env: NodeJS.ProcessEnv): Promise<Wallet> {
  let json: string;
  try {
    json = readFileSync(path, "utf8");
  } catch (error) {
    throw badKey(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? "unknown"}`);
  }
  if (!isKeystoreJson(json)) throw badKey(`${path} is no keystore file (Web3 Secret Storage, version 3)`);
  const password = await passwordFor(path, env);
  try {
    return new Wallet((await decryptKeystoreJson(json, password)).privateKey);
  } catch {
    throw badKey(`${path} does not open with this password`);
  }
}

async function passwordFor(path: string, env: NodeJS.ProcessEnv): Promise<string> {
  const file = env[PASSWORD_FILE];
  if (file) {
    try {
      return readFileSync(file, "utf8").replace(/\r?\n$/, "");
    } catch (error) {
      throw badKey(`${PASSWORD_FILE}: ${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? "unknown"}`);
    }
  }
  if (!process.stdin.isTTY) throw badKey(`${path} needs its password`, `${PASSWORD_FILE}, or a terminal to ask at`);
  return ask(`password of ${path}: `);
}

/** Asks at the terminal; what is typed is not shown. */
function ask(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true).setEncoding("utf8").resume();
  return new Promise((resolve, reject) => {
    let typed = "";
    const done = () => {
      stdin.off("data", onData).setRawMode(false).pause();
      stderr.write("\n");
    };
    const onData = (text: string) => {
      for (const key of text) {
        if (key === "\r" || key === "\n" || key === "\u0004") {
          done();
          return resolve(typed);
        }
        if (key === "\u0003") {
          done();
          return reject(badKey("no password was given"));
        }
        typed = key === "\u007f" || key === "\b" ? typed.slice(0, -1) : typed + key;
      }
    };
    stdin.on("data", onData);
  });
}

const badKey = (message: string, remedy?: string) => new BijuliError("bad-key", message, { remedy });
