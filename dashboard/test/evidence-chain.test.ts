import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Hex } from "@bijuli/protocol";
import { encodeRlp, type RlpStructuredData } from "ethers";
import { Anvil, hasAnvil } from "../../contracts/test/support/anvil.ts";
import { ProvenChain } from "../src/evidence/proven-chain.ts";
import { decodeRlp } from "../src/evidence/rlp.ts";
import { type Rpc, RpcSupplier } from "../src/evidence/rpc-supplier.ts";
import { addList, EMPTY_ROOT, listKey, trieValue } from "../src/evidence/trie.ts";
import { DoesNotHold, Witness } from "../src/evidence/witness.ts";

/*
 * What one block's hash proves, on a real chain: earlier blocks over their parents and over EIP-2935's history, and
 * transactions and receipts of every kind in blocks with more than a trie's branch of them.
 */

test("a list's trie: every entry is found, no other, and none in a trie whose nodes are missing", () => {
  for (const length of [0, 1, 2, 16, 17, 128, 129, 300]) {
    const witness = new Witness();
    const values = Array.from(
      { length },
      (_, i): Hex => `0x${"ab".repeat(1 + ((i * 37) % 90))}${(i + 256).toString(16)}0`,
    );
    const root = addList(witness, values);
    if (length === 0) assert.equal(root, EMPTY_ROOT);
    values.forEach((value, i) => assert.equal(trieValue(witness, root, listKey(i), "it"), value));
    assert.equal(trieValue(witness, root, listKey(length), "it"), null);
    if (length > 0) assert.throws(() => trieValue(new Witness(), root, listKey(0), "it"), DoesNotHold);
  }
});

test("RLP: what it encodes is decoded; what is cut short, or goes on, is refused", () => {
  const long = `0x${"cd".repeat(300)}` as Hex;
  for (const item of [
    "0x",
    "0x00",
    "0x7f",
    "0x80",
    "0xffff",
    long,
    [],
    [[], ["0x01"]],
    [long, [long, "0x"], `0x${"11".repeat(55)}`],
  ]) {
    const bytes = encodeRlp(item as RlpStructuredData) as Hex;
    assert.deepEqual(decodeRlp(bytes), item);
    assert.throws(() => decodeRlp(`${bytes}00`), DoesNotHold);
    if (bytes.length > 4) assert.throws(() => decodeRlp(bytes.slice(0, -2) as Hex), DoesNotHold);
  }
  for (const bytes of ["0x", "0xb8", "0xc2c2", "0xf8", "0x8"])
    assert.throws(() => decodeRlp(bytes as Hex), DoesNotHold, bytes);
});

describe("what a block's hash proves", { skip: hasAnvil ? false : "no anvil here" }, () => {
  let anvil: Anvil;
  let rpc: Rpc;
  const BUSY = 2;
  before(async () => {
    anvil = await Anvil.start();
    rpc = (method, params) => anvil.send(method, ...params) as ReturnType<Rpc>;
    await anvil.send("evm_setAutomine", false);
    await anvil.send("evm_mine");
    const [from, to] = [anvil.wallet(0).address, anvil.wallet(1).address];
    for (let i = 0; i < 20; i++) {
      const kind = [
        { gasPrice: "0x77359400" },
        { gasPrice: "0x77359400", accessList: [{ address: to, storageKeys: [`0x${"00".repeat(32)}`] }] },
        { maxFeePerGas: "0x77359400", maxPriorityFeePerGas: "0x1" },
      ][i % 3];
      const gas = "0x186a0";
      await anvil.send("eth_sendTransaction", {
        from,
        to,
        gas,
        nonce: `0x${i.toString(16)}`,
        data: `0x${"5a".repeat(i)}`,
        value: `0x${i.toString(16)}`,
        ...kind,
      });
    }
    await anvil.send("evm_mine");
    await anvil.send("anvil_mine", "0x28");
  });
  after(() => anvil.close());

  async function chainTo(path: number[], witness = new Witness()): Promise<ProvenChain> {
    const supplier = new RpcSupplier(rpc, witness);
    return ProvenChain.from(witness, await supplier.block("latest"), path, supplier);
  }

  test("a block forty blocks back, over its parents and over the state's history alike", async () => {
    const { number: head } = (await chainTo([])).head;
    const parents = Array.from({ length: head - BUSY }, (_, i) => head - 1 - i);
    const slow = new Witness();
    const quick = new Witness();
    const { hash } = (await chainTo(parents, slow)).header(BUSY);
    assert.equal(hash, (await chainTo([BUSY], quick)).header(BUSY).hash);
    assert.equal(hash, ((await rpc("eth_getBlockByNumber", ["0x2", false])) as { hash: Hex }).hash);
    assert.ok(quick.used().length < slow.used().length / 2);
    // once more from the witness alone
    const alone = await ProvenChain.from(new Witness(quick.used()), (await chainTo([])).head.hash, [BUSY]);
    assert.equal(alone.header(BUSY).hash, hash);
  });

  test("transactions of every kind, and their receipts", async () => {
    const chain = await chainTo([BUSY]);
    const { transactions } = (await rpc("eth_getBlockByNumber", ["0x2", true])) as {
      transactions: { hash: Hex; input: Hex; to: Hex }[];
    };
    assert.equal(transactions.length, 20);
    for (const [i, { hash, input, to }] of transactions.entries()) {
      assert.deepEqual(await chain.transaction(BUSY, i), { hash, input, to });
      assert.deepEqual(await chain.logs(BUSY, i), []);
    }
    await assert.rejects(chain.transaction(BUSY, 20), /transaction 20 of block 2: the block holds none/);
  });

  test("a path that rises, skips what is no ancestor, or leads nowhere is refused", async () => {
    const { number: head, hash } = (await chainTo([])).head;
    const witness = new Witness();
    await chainTo([BUSY], witness);
    await assert.rejects(chainTo([head]), /does not fall/);
    await assert.rejects(ProvenChain.from(witness, hash, [BUSY + 1]), DoesNotHold);
    await assert.rejects(ProvenChain.from(witness, `0x${"11".repeat(32)}`, []), /its proof is missing/);
    assert.throws(() => new Witness().get(hash, "the block"), DoesNotHold);
  });
});
