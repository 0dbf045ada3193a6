import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { domainSeparator, readingDomain, recordLength } from "@bijuli/protocol";
import type { Contract } from "ethers";
import { build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

const { vectors } = JSON.parse(
  readFileSync(new URL("../../protocol/test/vectors/readings.json", import.meta.url), "utf8"),
);

describe("a record is read and verified on chain as its vector says", () => {
  let chain: EmptyChain;
  let harness: Contract;
  before(async () => {
    chain = await startEmptyChain();
    const built = build("test/harnesses/LotRecordHarness.sol");
    harness = (await chain.deploy(built.LotRecordHarness!)) as Contract;
  });
  after(() => chain.close());

  for (const { note, domain, reading, record, signer, digest } of vectors) {
    const separator = domainSeparator(readingDomain({ chainId: domain.chainId, registry: domain.verifyingContract }));
    const read = (bytes: string, by: string = signer, lot: string = reading.lot) =>
      harness.read!(bytes, separator, reading.meterId, lot, reading.lotSeconds, by);

    test(note, async () => {
      const learnt = await read(`${record}ffff`);
      const lots = (reading.energies.length - 2) / 12;
      assert.equal(learnt.lots, BigInt(lots));
      assert.equal(learnt.quality, BigInt(reading.quality));
      assert.equal(learnt.forward, BigInt(reading.forward));
      assert.equal(learnt.getValue("reverse"), BigInt(reading.reverse));
      assert.equal(learnt.digest, digest);
      assert.equal(learnt.signed, true);
      assert.equal(learnt.taken, BigInt(recordLength(lots)));
    });

    test(`${note}: another signer, another lot or a missing byte is not taken`, async () => {
      assert.equal((await read(record, "0x000000000000000000000000000000000000dEaD")).signed, false);
      assert.equal((await read(record, signer, `${BigInt(reading.lot) + 1n}`)).signed, false);
      assert.equal((await read(record.slice(0, -2))).taken, 0n);
      assert.equal((await read("0x0000")).taken, 2n);
    });
  }
});
