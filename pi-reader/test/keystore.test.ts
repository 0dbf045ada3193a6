import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { BijuliError } from "@bijuli/protocol";
import { decryptKeystoreJson, encryptKeystoreJsonSync } from "ethers/wallet";
import { exitCodeOf } from "../src/commands/command.ts";
import { keygen } from "../src/commands/keygen.ts";
import { readKey } from "../src/keyFile.ts";
import { decryptKey, encryptKey } from "../src/keystore.ts";
import { keySigner } from "../src/signer.ts";
import { KEY, tempFolder } from "./bench.ts";

/** Cheap, for tests. */
const N = 1024;

test("keystores are those of other wallets, both ways", async () => {
  const ours = encryptKey(KEY, "pässword", N);
  assert.equal((await decryptKeystoreJson(ours, "pässword")).privateKey, KEY);
  const theirs = encryptKeystoreJsonSync({ address: keySigner(KEY).address, privateKey: KEY }, "pässword", {
    scrypt: { N },
  });
  assert.equal(decryptKey(theirs, "pässword", "file"), KEY);
});

test("a keystore opens with its password file or systemd's credential, and with nothing else", async (t) => {
  const folder = tempFolder(t);
  const file = join(folder, "key.json");
  const right = join(folder, "password");
  const wrong = join(folder, "wrong");
  const credentials = join(folder, "credentials");
  mkdirSync(credentials);
  writeFileSync(file, encryptKey(KEY, "open sesame", N));
  writeFileSync(right, "open sesame\n");
  writeFileSync(wrong, "open simsim\n");
  writeFileSync(join(credentials, "reader-key-password"), "open sesame");
  assert.equal(await readKey({ file, passwordFile: right }), KEY);
  assert.equal(await readKey({ file, credentials }), KEY);
  await assert.rejects(readKey({ file, passwordFile: wrong }), /the password of the keystore .* is wrong/);
  await assert.rejects(readKey({ file }), /its password is missing/);
  await assert.rejects(readKey({ file, passwordFile: join(folder, "none") }), /cannot be read/);
  writeFileSync(file, "{}");
  await assert.rejects(readKey({ file, passwordFile: right }), /is no keystore/);
  writeFileSync(file, "hello");
  await assert.rejects(readKey({ file }), /holds no private key/);
  await assert.rejects(readKey({ file, key: KEY }), /both READER_KEY and READER_KEY_FILE/);
  await assert.rejects(readKey({}), /READER_KEY_FILE is missing/);
});

test("keygen encrypts, at full strength", async (t) => {
  const folder = tempFolder(t);
  const out = join(folder, "key.json");
  const password = join(folder, "password");
  writeFileSync(password, "open sesame\n");
  t.mock.method(console, "log", () => {});
  assert.equal(await keygen.run(["--out", out, "--password-file", password]), 0);
  const keystore = JSON.parse(readFileSync(out, "utf8"));
  assert.equal(keystore.crypto.kdfparams.n, 131_072);
  assert.equal(
    keySigner(await readKey({ file: out, passwordFile: password })).address.toLowerCase(),
    `0x${keystore.address}`,
  );
});

test("what is no key, or a keystore that asks for the impossible, is refused as such: systemd need not try again", (t) => {
  for (const digits of ["00".repeat(32), "ff".repeat(32)]) {
    assert.throws(
      () => keySigner(`0x${digits}`),
      (error: BijuliError) => {
        assert.equal(error.code, "bad-key");
        assert.ok(!error.message.includes(digits));
        assert.equal(exitCodeOf(error), 2);
        return true;
      },
    );
  }
  const keystore = JSON.parse(encryptKey(KEY, "open sesame", 1024));
  keystore.crypto.kdfparams.n = 1000;
  const file = join(tempFolder(t), "key.json");
  assert.throws(() => decryptKey(JSON.stringify(keystore), "open sesame", file), { code: "bad-key" });
});
