import { readFileSync } from "node:fs";
import { BijuliError, type Hex, isHex } from "@bijuli/protocol";

/**
 * The signing key from READER_KEY or READER_KEY_FILE.
 * @throws BijuliError bad-key, never with the key's text, when there is none, or both, or it is malformed
 */
export function readKey(from: { key?: Hex | undefined; file?: string | undefined }): Hex {
  if (from.key !== undefined && from.file !== undefined) {
    throw new BijuliError("bad-key", "both READER_KEY and READER_KEY_FILE are set", { remedy: "keep one" });
  }
  if (from.key !== undefined) return from.key;
  if (from.file === undefined) {
    throw new BijuliError("bad-key", "READER_KEY_FILE is missing: the meter needs a key to sign with", {
      remedy: "make one with `keygen --out FILE`",
    });
  }
  let text: string;
  try {
    text = readFileSync(from.file, "utf8").trim();
  } catch (cause) {
    throw new BijuliError("bad-key", `READER_KEY_FILE=${from.file} cannot be read`, { cause });
  }
  if (!isHex(text, 32)) throw new BijuliError("bad-key", `READER_KEY_FILE=${from.file} holds no private key`);
  return text;
}
