import { scryptSync as nativeScrypt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BijuliError, explain, type Hex } from "@bijuli/protocol";
import { scryptSync } from "ethers/crypto";
import { decryptKeystoreJsonSync, encryptKeystoreJsonSync, Wallet } from "ethers/wallet";
import { type SendingKey, sendingKey } from "./keys.ts";

// Node's own scrypt takes a tenth of the time of the one in JavaScript.
scryptSync.register((password, salt, N, r, p, length) => {
  const maxmem = 256 * N * r;
  return `0x${nativeScrypt(password, salt, length, { N, r, p, maxmem }).toString("hex")}`;
});

/*
 * A folder of Web3 Secret Storage files (version 3, scrypt), one a key, named by address: what geth and a Chainlink node
 * export and import.
 */

/** The addresses in a keystore; nothing is decrypted. */
export function listKeystore(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => {
      const { address } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { address?: string };
      return `0x${String(address ?? "")
        .replace(/^0x/, "")
        .toLowerCase()}`;
    });
}

/**
 * All keys of a keystore.
 * @throws BijuliError bad-key, which never holds a secret
 */
export function openKeystore(folder: string, password: string): SendingKey[] {
  if (!existsSync(folder))
    throw new BijuliError("bad-key", `the keystore ${folder} does not exist`, { remedy: "node keys create" });
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return names.sort().map((name) => {
    try {
      return sendingKey(decryptKeystoreJsonSync(readFileSync(join(folder, name), "utf8"), password).privateKey as Hex);
    } catch (error) {
      const wrong = /password/i.test(explain(error));
      throw new BijuliError(
        "bad-key",
        `${join(folder, name)} ${wrong ? "does not open with this password" : "is no keystore file"}`,
      );
    }
  });
}

/** Makes a new key and stores it encrypted. @returns its address */
export function createKey(folder: string, password: string): string {
  const { address, privateKey } = Wallet.createRandom();
  return storeKey(folder, password, { address, privateKey });
}

/** Stores a key that exists. @returns its address */
export function importKey(folder: string, password: string, privateKey: string): string {
  return storeKey(folder, password, new Wallet(privateKey));
}

function storeKey(folder: string, password: string, account: { address: string; privateKey: string }): string {
  const file = join(folder, `${account.address.toLowerCase()}.json`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (existsSync(file)) throw new BijuliError("bad-key", `${file} exists already`);
  writeFileSync(file, encryptKeystoreJsonSync(account, password), { mode: 0o600 });
  return account.address.toLowerCase();
}
