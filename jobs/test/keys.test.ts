import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SigningKey, Transaction } from "ethers";
import { loadKeys } from "../src/commands.ts";
import { sendingKey } from "../src/delivery/keys.ts";
import { KEYS } from "./fixtures/chain.ts";
import { runCli } from "./fixtures/node.ts";

test("keys are made, imported, listed and opened; a wrong password is told without the secret", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-keys-"));
  try {
    const password = join(folder, "password");
    writeFileSync(password, "correct horse\n");
    const env = { KEYSTORE: join(folder, "keystore"), KEYSTORE_PASSWORD_FILE: password };
    const made = await runCli(["keys", "create"], env);
    assert.match(made.stdout, /^0x[0-9a-f]{40}\n$/);
    const imported = await runCli(["keys", "import"], { ...env, NODE_KEY: KEYS[1] });
    assert.equal(imported.stdout, "0x70997970c51812dc3a010c7d01b50e0d17dc79c8\n");
    const listed = await runCli(["keys"], env);
    assert.deepEqual(listed.stdout.trim().split("\n").sort(), [made.stdout.trim(), imported.stdout.trim()].sort());
    const [file] = readdirSync(env.KEYSTORE);
    assert.equal(statSync(join(env.KEYSTORE, file!)).mode & 0o777, 0o600);
    assert.doesNotMatch(readFileSync(join(env.KEYSTORE, file!), "utf8"), new RegExp(KEYS[1].slice(2)));

    const settings = { NODE_KEY: undefined, NODE_KEY_FILE: undefined, ...env };
    assert.deepEqual(
      loadKeys(settings)
        .map((key) => key.address)
        .sort(),
      listed.stdout.trim().split("\n").sort(),
    );
    writeFileSync(password, "wrong");
    assert.throws(() => loadKeys(settings), /does not open with this password/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a start without keys ends with one line and code 2", async () => {
  const ended = await runCli(["start"], { CHAIN_ID: "1", JOBS: "/nowhere.toml" });
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /nowhere\.toml cannot be read/);
});

test("what a key signs is what ethers signs, byte for byte", () => {
  const [key, ethers] = [sendingKey(KEYS[1]), new SigningKey(KEYS[1])];
  for (let nonce = 0; nonce < 50; nonce++) {
    const transaction = Transaction.from({
      type: 2,
      chainId: 31337n,
      nonce,
      to: key.address,
      data: "0x1234",
      gasLimit: 21_000n,
    });
    const { hash, raw } = key.sign(transaction.clone());
    transaction.signature = ethers.sign(transaction.unsignedHash);
    assert.deepEqual([hash, raw], [transaction.hash, transaction.serialized]);
  }
});
