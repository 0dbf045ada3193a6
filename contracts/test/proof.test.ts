import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { FunctionFragment } from "ethers";
import { prove, theorems } from "../proof/prove.ts";
import { type Built, build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

const DEEP = process.env.BIJULI_DEEP === "1";
const library = readFileSync(new URL("../src/libraries/ClearingMath.sol", import.meta.url), "utf8");

describe("the SMTChecker proves the lot arithmetic", () => {
  // Half a minute of work on an idle machine in all; the roundings and the composition take two thirds of it.
  const quick = ["Ranges", "Sums", "Monotone"];
  for (const contract of Object.keys(theorems)) {
    it(contract, { skip: !DEEP && !quick.includes(contract) && "deep" }, (t) => {
      const { asserts, operations, libraryOperations, unproved } = prove(contract);
      assert.deepEqual(unproved, []);
      t.diagnostic(`${asserts} assertions, ${operations} operations`);
      // Every +, −, ·, / and % of the library's: a new one has to be counted here, so that none is left out unseen.
      if (contract === "Ranges") assert.equal(libraryOperations, 20);
    });
  }
});

/**
 * A proof from assumptions that contradict each other proves everything. So each theorem is also run, as it stands, on a
 * chain with ordinary numbers and with the greatest ones: its assumptions hold there, and what it asserts too.
 */
describe("the theorems' assumptions can be met", () => {
  const ordinary = [940n, 500n, 10_000n, 50n, 5n * 10n ** 13n];
  const greatest = [10_000n, 10_000n, 1_000_000n, 10_000n, 2n ** 64n - 1n];
  const free = [940n, 500n, 10_000n, 50n, 0n];
  const energy = 2n ** 48n - 1n;
  const sent = 64n * energy;
  const value = sent * (2n ** 62n - 1n);
  const wad = 10n ** 18n;
  const examples: Record<string, Record<string, unknown[][]>> = {
    Ranges: {
      price: [
        [1_000_000n, 33n * 10n ** 18n, 800_000n, ordinary, false],
        [sent, value, 0n, greatest, false],
        [0n, 0n, 5n, ordinary, true],
      ],
      money: [
        [12_345_678_901n, 5n],
        [2016n * energy * (2n ** 64n - 1n), 10n ** 7n - 1n],
      ],
    },
    Sums: {
      onePlantMore: [
        [1n, 1000n, 33_000n, 2000n, 40n],
        [63n, 63n * energy, 63n * energy * (2n ** 62n - 1n), energy, 2n ** 62n - 1n],
      ],
      sentIsLostAndAvailable: [
        [sent, 7n],
        [5n, 5n],
      ],
    },
    Rounding: {
      lossUp: [
        [3n, 2n],
        [sent, 0n],
        [sent, sent + 1n],
      ],
      excessExact: [
        [wad / 5n, ordinary, false],
        [wad, greatest, false],
        [wad, ordinary, true],
      ],
      factorUp: [
        [wad / 10n, ordinary],
        [wad / 3n, ordinary],
        [wad, greatest],
      ],
      moneyDown: [[2n ** 128n - 1n, 10n ** 7n - 1n]],
      moneyBatches: [
        [15_000_003n, 24_999_999n, 9_999_999n],
        [2n ** 128n - 1n, 2n ** 128n - 1n, 1n],
      ],
    },
    Monotone: {
      loss: [
        [100n, 80n, 90n],
        [sent, 0n, 2n ** 256n - 1n],
      ],
      factor: [
        [0n, wad, ordinary, false],
        [wad / 5n, wad / 4n, ordinary, false],
        [wad, wad, greatest, true],
      ],
      quotient: [
        [3n, 100n, wad / 3n, wad],
        [sent, value, 0n, 3n * wad],
      ],
      cap: [[1n, 3n, 2n]],
    },
    Composition: {
      uncapped: [[1_000_000n, 33n * 10n ** 18n, 800_000n, free, false]],
      capped: [
        [1_000_000n, 33n * 10n ** 18n, 800_000n, ordinary, false],
        [sent, value, 1n, greatest, false],
      ],
    },
  };

  let chain: EmptyChain;
  let built: Record<string, Built>;
  before(async () => {
    chain = await startEmptyChain();
    built = build("proof/ClearingMathProof.sol");
  });
  after(() => chain.close());

  for (const contract of Object.keys(theorems)) {
    it(contract, async () => {
      const deployed = await chain.deploy(built[contract]!);
      for (const fragment of deployed.interface.fragments) {
        if (!FunctionFragment.isFragment(fragment)) continue;
        const { name } = fragment;
        const calls = examples[contract]?.[name];
        assert.ok(calls, `no example for ${contract}.${name}`);
        for (const example of calls) await deployed.getFunction(name).staticCall(...example);
      }
    });
  }
});

/** The library spoilt in one place: the proof has to fail there, or it says nothing about that place. */
describe("a spoilt library is not proved", { skip: !DEEP && "deep" }, () => {
  const mutants: [name: string, contract: string, from: string, to: string][] = [
    ["the loss rounded down", "Rounding", "* WAD + sent - 1) / sent", "* WAD) / sent"],
    ["a gain that wraps", "Ranges", "if (received >= sent) return 0;", "if (received == sent) return 0;"],
    [
      "a penalty that integer division eats",
      "Rounding",
      "(excess * tariff.penaltyBps) / BPS",
      "(excess / WAD) * tariff.penaltyBps",
    ],
    ["a penalty that pays", "Monotone", "0 : full - penalty", "0 : full + penalty"],
    ["a factor that is not clamped", "Ranges", "penalty >= full ? 0 : full - penalty", "full - penalty"],
    ["no cap", "Ranges", "price = tariff.maxPricePerKWh;", "price = price;"],
    ["a waiver that is forgotten", "Rounding", "waived || lossWad <= allowed", "lossWad <= allowed"],
    ["a remainder that is dropped", "Rounding", "product + remainder", "product"],
    [
      "a price without a penalty",
      "Composition",
      "excessWad(lossWadUp(sent, received), tariff, waived)",
      "excessWad(0, tariff, waived)",
    ],
  ];
  for (const [name, contract, from, to] of mutants) {
    it(`${name}: ${contract}`, () => {
      assert.ok(library.includes(from), `the library no longer says ${from}`);
      const { unproved } = prove(contract, library.replace(from, to));
      assert.match(unproved.join("\n"), /BMC: (Assertion violation|Underflow|Overflow)/);
    });
  }
});
