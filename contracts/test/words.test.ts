import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Contract, ZeroHash } from "ethers";
import { Random } from "./support/random.ts";
import { build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

/** Of any size: a number of the generator has 64 bits. */
const below = (random: Random, end: bigint): bigint => {
  let number = 0n;
  for (let i = 0; i < 5; i++) number = (number << 64n) | random.next();
  return number % end;
};

const ROUNDS = process.env.BIJULI_DEEP ? 5_000 : 100;

describe("what is packed tightly, and its plain twin", () => {
  let chain: EmptyChain;
  let head: Contract;
  let request: Contract;
  before(async () => {
    chain = await startEmptyChain();
    const deployed = async (name: string) =>
      (await chain.deploy(build(`test/harnesses/${name}.sol`)[name]!)) as Contract;
    head = await deployed("ClearingHeadHarness");
    request = await deployed("ReadingRequestHarness");
  });
  after(() => chain.close());

  test("a clearing's word keeps every field apart from the others, up to its bound", async () => {
    const random = new Random("heads");
    for (let round = 0; round < ROUNDS; round++) {
      // all at their bounds first, then anything
      const field = (end: bigint) => (round < 2 || random.chance(0.2) ? end - 1n : below(random, end));
      const lots = round % 2 === 0 ? 1n : 2n + field(2_015n);
      const fields = {
        lots,
        charter: field(2n ** 22n),
        stage: field(4n),
        openedAfter: field(2n ** 26n),
        estimated: random.chance(0.5),
        requested: field(64n + 1n + 4_096n + 1n),
        corrected: field(lots + 1n),
        available: field(64n * (2n ** 48n - 1n) * lots + 1n),
        price: field(2n ** 64n),
        used: field(4_096n * (2n ** 47n - 1n) * lots + 1n),
        consumersDone: field(4_097n),
      };
      const first = [below(random, fields.used + 1n), below(random, fields.consumersDone + 1n)];
      const back = await head.pack!(Object.values(fields), ...first);
      assert.deepEqual(back.toObject(), fields);
    }
  });

  test("an opening after more than two years counts as one after two years", async () => {
    const fields = [1n, 0n, 0n, 2n ** 40n, false, 0n, 0n, 0n, 0n, 0n, 0n];
    assert.equal((await head.pack!(fields, 0, 0)).openedAfter, 2n ** 26n - 1n);
  });

  test("a request's CBOR, made in one buffer, is that made piece by piece", async () => {
    const random = new Random("requests");
    const edges = [0n, 1n, 23n, 24n, 255n, 256n, 65_535n, 65_536n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 64n - 1n];
    for (let round = 0; round < Math.max(ROUNDS / 2, edges.length); round++) {
      const number = () => edges[round] ?? (random.chance(0.3) ? random.pick(edges) : below(random, 2n ** 64n));
      const word = () =>
        `0x${below(random, 2n ** 256n)
          .toString(16)
          .padStart(64, "0")}`;
      const meters = Array.from({ length: random.pick([0, 1, 2, 7, 8, 180]) }, word);
      const stage = random.pick(["plant", "distributor", "consumers", "", "twenty-three characters"]);
      const group = random.chance(0.1) ? ZeroHash : word();
      const { clever, plain, after_ } = await request.encode!(group, number(), number(), stage, meters);
      assert.equal(clever, plain);
      assert.equal(after_, group, "it claims the memory that it takes");
    }
    const { clever, plain } = await request.idOf!(below(random, 2n ** 256n));
    assert.equal(clever, plain);
  });
});
