import { createCipheriv, createDecipheriv, randomBytes, randomUUID, scryptSync, timingSafeEqual } from "node:crypto";
import { BijuliError, type Hex } from "@bijuli/protocol";
import { keccak256 } from "ethers/crypto";
import { z } from "zod";
import { keySigner } from "./signer.ts";

/*
 * Web3 Secret Storage, version 3: the keystore file that geth, Foundry and ethers read and write. scrypt is Node's own,
 * for a Pi takes half a minute over one in JavaScript.
 */

const bytes = z
  .string()
  .regex(/^(0x)?([0-9a-fA-F]{2})+$/)
  .transform((text) => Buffer.from(text.replace(/^0x/, ""), "hex"));

const keystoreShape = z.object({
  version: z.literal(3),
  crypto: z.object({
    cipher: z.literal("aes-128-ctr"),
    cipherparams: z.object({ iv: bytes }),
    ciphertext: bytes,
    kdf: z.literal("scrypt"),
    kdfparams: z.object({
      n: z
        .int()
        .min(2)
        .max(2 ** 20),
      r: z.int().min(1).max(64),
      p: z.int().min(1).max(64),
      dklen: z.literal(32),
      salt: bytes,
    }),
    mac: bytes,
  }),
});

/** scrypt as geth's --lightkdf has it would be weak on a stolen card; this takes a Pi 4 about a second and 128 MB. */
const SCRYPT = { n: 131_072, r: 8, p: 1 };

function derive(password: string, salt: Buffer, { n, r, p }: typeof SCRYPT): Buffer {
  return scryptSync(password.normalize("NFKC"), salt, 32, { N: n, r, p, maxmem: 256 * n * r });
}

const macOf = (derived: Buffer, ciphertext: Buffer): Buffer =>
  Buffer.from(keccak256(Buffer.concat([derived.subarray(16, 32), ciphertext])).slice(2), "hex");

/** The keystore's text. `n` is scrypt's cost, a power of two. */
export function encryptKey(privateKey: Hex, password: string, n = SCRYPT.n): string {
  const salt = randomBytes(32);
  const iv = randomBytes(16);
  const derived = derive(password, salt, { ...SCRYPT, n });
  const cipher = createCipheriv("aes-128-ctr", derived.subarray(0, 16), iv);
  const ciphertext = Buffer.concat([cipher.update(Buffer.from(privateKey.slice(2), "hex")), cipher.final()]);
  return JSON.stringify({
    version: 3,
    id: randomUUID(),
    address: keySigner(privateKey).address.slice(2).toLowerCase(),
    crypto: {
      cipher: "aes-128-ctr",
      cipherparams: { iv: iv.toString("hex") },
      ciphertext: ciphertext.toString("hex"),
      kdf: "scrypt",
      kdfparams: { ...SCRYPT, n, dklen: 32, salt: salt.toString("hex") },
      mac: macOf(derived, ciphertext).toString("hex"),
    },
  });
}

/**
 * The private key of a keystore.
 * @throws BijuliError bad-key when it is no keystore of this kind, or the password is wrong
 */
export function decryptKey(keystore: string, password: string, file: string): Hex {
  let parsed: z.output<typeof keystoreShape>;
  try {
    const json = JSON.parse(keystore) as Record<string, unknown>;
    // Some wallets spell it with a capital.
    parsed = keystoreShape.parse({ ...json, crypto: json.crypto ?? json.Crypto });
  } catch {
    throw new BijuliError("bad-key", `${file} is no keystore of version 3 with scrypt and aes-128-ctr`);
  }
  const { ciphertext, cipherparams, kdfparams, mac } = parsed.crypto;
  let derived: Buffer;
  try {
    derived = derive(password, kdfparams.salt, kdfparams);
  } catch (cause) {
    throw new BijuliError("bad-key", `${file} asks for scrypt in a way that is none`, { cause });
  }
  const found = macOf(derived, ciphertext);
  if (found.length !== mac.length || !timingSafeEqual(found, mac)) {
    throw new BijuliError("bad-key", `the password of the keystore ${file} is wrong`, {
      remedy: "see READER_KEY_PASSWORD_FILE, or the credential reader-key-password",
    });
  }
  const decipher = createDecipheriv("aes-128-ctr", derived.subarray(0, 16), cipherparams.iv);
  return `0x${Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString("hex")}`;
}
