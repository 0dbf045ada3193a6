import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Contract, concat, toBeHex } from "ethers";
import { Random } from "./support/random.ts";
import { build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

const ROUNDS = process.env.BIJULI_DEEP ? 5_000 : 200;
const HIGHEST_ENERGY = 2n ** 48n - 1n;
const HIGHEST_PRICE = 2n ** 62n - 1n;

describe("the prices of many lots at once and one after the other", () => {
  let chain: EmptyChain;
  let harness: Contract;
  before(async () => {
    chain = await startEmptyChain();
    const built = build("test/harnesses/LotPricesHarness.sol");
    harness = (await chain.deploy(built.LotPricesHarness!)) as Contract;
  });
  after(() => chain.close());

  async function same(
    lots: readonly { sent: bigint; value: bigint; received: bigint }[],
    terms: bigint[],
    waived: number,
  ) {
    const flows = lots.map(({ sent, value }) => (value << 64n) | sent);
    const received = concat(lots.map(({ received }) => toBeHex(received, 6)));
    const { clever, plain } = await harness.price!(flows, received, terms, waived);
    assert.deepEqual(clever.toArray(true), plain.toArray(true));
    return clever;
  }

  test("agree on lots, terms and waivers of all kinds", async () => {
    const random = new Random("lot prices");
    for (let round = 0; round < ROUNDS; round++) {
      const lots = Array.from({ length: random.pick([1, 2, 5, 12, 33]) }, () => {
        const sent = random.pick([
          () => 0n,
          () => 1n,
          () => random.below(10n ** 7n),
          () => random.below(HIGHEST_ENERGY),
        ])();
        const value = sent * random.pick([0n, random.below(10n ** 14n), HIGHEST_PRICE]);
        const received = random.pick([
          0n,
          sent,
          sent + 1n,
          random.below(sent + 1n),
          (sent * 906n) / 1000n,
          HIGHEST_ENERGY,
        ]);
        return { sent, value, received };
      });
      const bps = (end: bigint) => random.pick([0n, random.below(end), end]);
      const cap = random.pick([0n, 1n, random.below(10n ** 14n), 2n ** 64n - 1n]);
      const terms = [bps(10_000n), bps(10_000n), bps(1_000_000n), bps(10_000n), cap];
      await same(lots, terms, random.pick([0, 1, lots.length, random.int(lots.length + 1)]));
    }
  });

  test("the highest energies of 64 plants at the highest price overflow nothing", async () => {
    const sent = 64n * HIGHEST_ENERGY;
    const lots = Array.from({ length: 288 }, () => ({ sent, value: sent * HIGHEST_PRICE, received: 0n }));
    const { sent: total, prices } = await same(lots, [10_000n, 10_000n, 0n, 0n, 0n], 0);
    assert.equal(total, 288n * sent);
    assert.equal(prices[287], 3n * HIGHEST_PRICE);
  });

  test("plants are added to the lots' flows two lots at a time as one by one", async () => {
    const random = new Random("flows");
    for (let round = 0; round < ROUNDS; round++) {
      const lots = random.pick([1, 2, 3, 4, 5, 6, 7, 8, 12, 33]);
      const count = round === 0 ? 64 : 1 + random.int(4);
      const plants = Array.from({ length: count }, () => {
        const width = round === 0 ? 6 : 1 + random.int(6);
        const most = 2n ** BigInt(8 * width) - 1n;
        const energy = () => (round === 0 ? most : random.pick([0n, random.below(most + 1n), most]));
        const price = round === 0 ? HIGHEST_PRICE : random.pick([0n, random.below(10n ** 14n), HIGHEST_PRICE]);
        const bytes = Array.from({ length: lots }, () => toBeHex(energy(), width));
        return { width, price, energies: concat([...bytes, `0x${"ff".repeat(40)}`]) };
      });
      const { clever, cleverTotals, plain, totals } = await harness.flow!(
        lots,
        plants.map(({ energies }) => energies),
        plants.map(({ width }) => width),
        plants.map(({ price }) => price),
      );
      assert.deepEqual([...clever], [...plain]);
      assert.deepEqual([...cleverTotals], [...totals]);
    }
  });
});
