import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BijuliError, type Hex, isHex } from "@bijuli/protocol";

/** The systemd credential that unlocks a keystore. */
export const PASSWORD_CREDENTIAL = "reader-key-password";

export interface KeySettings {
  key?: Hex | undefined;
  /** A file with the key in hex, or a keystore. */
  file?: string | undefined;
  /** A file with the keystore's password on its first line. */
  passwordFile?: string | undefined;
  /** systemd's folder of credentials: $CREDENTIALS_DIRECTORY. */
  credentials?: string | undefined;
}

/**
 * The signing key from READER_KEY or READER_KEY_FILE.
 * @throws BijuliError bad-key, never with the key's text, when there is none, or both, or it is malformed or locked
 */
export async function readKey({ key, file, passwordFile, credentials }: KeySettings): Promise<Hex> {
  if (key !== undefined && file !== undefined) {
    throw new BijuliError("bad-key", "both READER_KEY and READER_KEY_FILE are set", { remedy: "keep one" });
  }
  if (key !== undefined) return key;
  if (file === undefined) {
    throw new BijuliError("bad-key", "READER_KEY_FILE is missing: the meter needs a key to sign with", {
      remedy: "make one with `keygen --out FILE`",
    });
  }
  const text = readText("READER_KEY_FILE", file).trim();
  if (isHex(text, 32)) return text;
  if (!text.startsWith("{")) throw new BijuliError("bad-key", `READER_KEY_FILE=${file} holds no private key`);
  const unlock = passwordFile ?? (credentials === undefined ? undefined : join(credentials, PASSWORD_CREDENTIAL));
  if (unlock === undefined) {
    throw new BijuliError("bad-key", `READER_KEY_FILE=${file} is a keystore and its password is missing`, {
      remedy: `READER_KEY_PASSWORD_FILE, or systemd's credential ${PASSWORD_CREDENTIAL}`,
    });
  }
  // A key in plain hex needs none of it.
  const { decryptKey } = await import("./keystore.ts");
  return decryptKey(text, readPassword(unlock), file);
}

/** A password: the first line of a file, without its line end. */
export function readPassword(file: string): string {
  return readText("the password file", file).split(/\r?\n/)[0]!;
}

function readText(what: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new BijuliError("bad-key", `${what === "READER_KEY_FILE" ? `${what}=` : `${what} `}${file} cannot be read`, {
      cause,
    });
  }
}
