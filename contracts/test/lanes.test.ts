import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Contract, concat, toBeHex } from "ethers";
import { Random } from "./support/random.ts";
import { build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

const ROUNDS = process.env.BIJULI_DEEP ? 5_000 : 150;
const MAX = 2n ** 48n - 1n;

describe("the clever loops and their plain twins", () => {
  let chain: EmptyChain;
  let harness: Contract;
  before(async () => {
    chain = await startEmptyChain();
    const built = build("test/harnesses/LotLanesHarness.sol");
    harness = (await chain.deploy(built.LotLanesHarness!)) as Contract;
  });
  after(() => chain.close());

  /** Energies of all sizes: a household's, a plant's, none, and the highest that six bytes hold. */
  const energy = (random: Random): bigint =>
    random.pick([
      () => 0n,
      () => 1n,
      () => random.below(10n ** 6n),
      () => random.below(10n ** 12n),
      () => random.below(MAX + 1n),
      () => MAX,
    ])();
  const price = (random: Random): bigint =>
    random.pick([() => 0n, () => random.below(10n ** 14n), () => random.next(), () => 2n ** 64n - 1n])();
  const packed = (energies: readonly bigint[]) => concat(energies.map((e) => toBeHex(e, 6)));

  test("five lots a word: sum, price and capacity of any run are those of the plain loop", async () => {
    const random = new Random("lanes");
    for (let round = 0; round < ROUNDS; round++) {
      const lots = random.pick([1, 2, 4, 5, 6, 10, 11, 12, 287, 288, random.int(60) + 1]);
      const uniform = random.chance(0.5) ? () => random.below(2_000_000n) : () => energy(random);
      const energies = Array.from({ length: lots }, uniform);
      const prices = Array.from({ length: lots }, () => price(random));
      const highest = energies.reduce((a, b) => (a > b ? a : b));
      const capacity = random.pick([highest, highest - 1n, highest + 1n, 2n ** 47n - 1n, random.below(2n ** 47n)]);
      const cap = capacity < 1n ? 1n : capacity > 2n ** 47n - 1n ? 2n ** 47n - 1n : capacity;
      const { clever, plain, sum, sumOver } = await harness.bill!(packed(energies), prices, cap);
      const total = energies.reduce((a, b) => a + b, 0n);
      const product = energies.reduce((a, e, i) => a + e * prices[i]!, 0n);
      assert.deepEqual([...plain], [total, product, highest > cap]);
      assert.deepEqual([...clever], [...plain], `round ${round}`);
      assert.deepEqual([sum, sumOver], [total, highest > cap]);
    }
  });

  test("a week of the highest energies and prices overflows nothing", async () => {
    const energies = Array.from({ length: 2_016 }, () => MAX);
    const prices = energies.map(() => 2n ** 64n - 1n);
    const { clever, plain } = await harness.bill!(packed(energies), prices, 1n);
    assert.deepEqual([...clever], [2_016n * MAX, 2_016n * MAX * (2n ** 64n - 1n), true]);
    assert.deepEqual([...clever], [...plain]);
  });

  test("a clearing's prices are read back as they were, and as the table of differences", async () => {
    const random = new Random("prices");
    for (const lots of [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 288]) {
      for (const highest of [1n, 256n, 10n ** 14n, 2n ** 64n]) {
        const list = Array.from({ length: lots }, () => random.below(highest));
        const { back, table, plainTable } = await harness.keepPrices!.staticCall(list, { gasLimit: 16_000_000n });
        assert.deepEqual([...back], list);
        assert.deepEqual([...table], [...plainTable], `${lots} lots below ${highest}`);
      }
    }
  });

  test("a shelf gives back what was put last, however long or wide what lay there before", async () => {
    const random = new Random("shelf");
    for (const lots of [1, 5, 6, 288, 3, 577, 12, 31, 33]) {
      for (const highest of [1n, 255n, 256n, 10n ** 6n, MAX]) {
        const energies = Array.from({ length: lots }, () => random.below(highest + 1n));
        assert.deepEqual(
          [...(await harness.keepEnergies!.staticCall(packed(energies), { gasLimit: 16_000_000n }))],
          energies,
        );
        if (lots < 300) await (await harness.keepEnergies!(packed(energies), { gasLimit: 16_000_000n })).wait();
      }
    }
  });
});
