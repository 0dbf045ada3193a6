import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { type ClearedLot, type ClearingTerms, clearLot, type LotInput, Money } from "@bijuli/protocol";
import { concat, getBytes, toBeHex } from "ethers";
import { build, type EmptyChain, startEmptyChain } from "./support/solidity.ts";

const DEEP = process.env.BIJULI_DEEP === "1";
/** Random lots that both languages clear; a seed makes a run repeatable. */
const LOTS = DEEP ? 1_000_000 : 20_000;
const SEED = Number(process.env.BIJULI_SEED ?? 20_260_101);
const LOTS_A_CALL = 500;

const vectors = JSON.parse(readFileSync(new URL("../../protocol/test/vectors/clearing.json", import.meta.url), "utf8"));

/** ClearingMath on a chain, asked for many lots at once. */
class Harness {
  readonly #chain: EmptyChain;
  readonly #address: string;
  readonly #clear: string;
  readonly #bill: string;

  constructor(chain: EmptyChain, address: string, selectors: { clear: string; bill: string }) {
    this.#chain = chain;
    this.#address = address;
    this.#clear = selectors.clear;
    this.#bill = selectors.bill;
  }

  static async deploy(chain: EmptyChain): Promise<Harness> {
    const built = build("test/harnesses/ClearingMathHarness.sol");
    const contract = await chain.deploy(built.ClearingMathHarness!);
    return new Harness(chain, await contract.getAddress(), {
      clear: contract.interface.getFunction("clear")!.selector,
      bill: contract.interface.getFunction("bill")!.selector,
    });
  }

  /** @returns a word a lot: actualLoss, excessLoss, factor, pricePerKWh in 64 bits each */
  clear(lots: readonly LotInput[]): Promise<Buffer> {
    return this.#call(this.#clear, lots.length, Buffer.concat(lots.map(packed)));
  }

  /** @returns the wei that each of one account's sums Σ energy · price adds */
  async bill(products: readonly bigint[]): Promise<bigint[]> {
    const words = await this.#call(this.#bill, products.length, getBytes(concat(products.map((p) => toBeHex(p, 32)))));
    return products.map((_, i) => BigInt(`0x${words.toString("hex", 32 * i, 32 * i + 32)}`));
  }

  async #call(selector: string, length: number, words: Uint8Array): Promise<Buffer> {
    const data = concat([selector, toBeHex(32, 32), toBeHex(length, 32), words]);
    const result: string = await this.#chain.ethers.provider.send("eth_call", [{ to: this.#address, data }, "latest"]);
    return Buffer.from(result.slice(2 + 128), "hex");
  }
}

/** A lot as the harness takes it. */
function packed({ plants, received, terms }: LotInput): Buffer {
  let sent = 0n;
  let value = 0n;
  for (const plant of plants) {
    sent += plant.energy;
    value += plant.energy * plant.pricePerKWh;
  }
  const words = Buffer.alloc(64);
  words.writeBigUInt64BE(value >> 64n, 8);
  words.writeBigUInt64BE(BigInt.asUintN(64, value), 16);
  words.writeBigUInt64BE(sent, 24);
  words.writeUInt8(terms.penaltyWaived ? 1 : 0, 32 + 5);
  words.writeBigUInt64BE(received, 32 + 6);
  words.writeBigUInt64BE(terms.maxPricePerKWh, 32 + 14);
  words.writeUInt16BE(terms.toleranceBps, 32 + 22);
  words.writeUInt32BE(terms.penaltyBps, 32 + 24);
  words.writeUInt16BE(terms.serviceBps, 32 + 28);
  words.writeUInt16BE(terms.idealLossBps, 32 + 30);
  return words;
}

const fields = ["actualLoss", "excessLoss", "factor", "pricePerKWh"] as const;
const resultOf = (words: Buffer, lot: number): Record<string, string> =>
  Object.fromEntries(fields.map((name, i) => [name, words.readBigUInt64BE(32 * lot + 8 * i).toString()]));

const termsOf = (json: ClearingTerms & { maxPricePerKWh: string }): ClearingTerms => ({
  ...json,
  maxPricePerKWh: BigInt(json.maxPricePerKWh),
});
const show = (value: object): string =>
  JSON.stringify(value, (_, item) => (typeof item === "bigint" ? item.toString() : item));

/** Lots at and around every bound that the market allows, and ordinary ones; the same for the same seed. */
class LotGenerator {
  #state: Uint32Array;

  constructor(seed: number) {
    this.#state = Uint32Array.of(seed, seed ^ 0x9e3779b9, 0x243f6a88, 1);
    for (let i = 0; i < 16; i++) this.#word();
  }

  /** sfc32 */
  #word(): number {
    const s = this.#state;
    const sum = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3]! += 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + sum;
    return sum;
  }

  #below(end: number): number {
    return Math.floor((this.#word() / 2 ** 32) * end);
  }

  /** Below 2^bits, of every order of magnitude, and often the least or the greatest. */
  #bits(bits: number): bigint {
    const greatest = (1n << BigInt(bits)) - 1n;
    const kind = this.#below(16);
    if (kind === 0) return 0n;
    if (kind === 1) return 1n;
    if (kind === 2) return greatest;
    if (kind === 3) return greatest - BigInt(this.#below(8));
    const random = (BigInt(this.#word()) << 32n) | BigInt(this.#word());
    return random >> BigInt(64 - 1 - this.#below(bits));
  }

  #bps(most: number): number {
    const kind = this.#below(8);
    if (kind === 0) return 0;
    if (kind === 1) return most;
    return this.#below(kind === 2 ? most + 1 : Math.min(most, 2_000) + 1);
  }

  #plants(): LotInput["plants"] {
    const kind = this.#below(64);
    if (kind === 0) return Array.from({ length: 64 }, () => ({ energy: 2n ** 48n - 1n, pricePerKWh: 2n ** 62n - 1n }));
    if (kind === 1) return [{ energy: 0n, pricePerKWh: this.#bits(62) }];
    const count = kind < 4 ? 64 : 1 + this.#below(3);
    return Array.from({ length: count }, () => ({ energy: this.#bits(48), pricePerKWh: this.#bits(62) }));
  }

  #received(sent: bigint, terms: ClearingTerms): bigint {
    const part = (numerator: number): bigint => (sent * BigInt(numerator)) / 10_000n;
    switch (this.#below(8)) {
      case 0:
        return 0n;
      case 1:
        return sent;
      case 2:
        return sent + this.#bits(48); // a meter error
      case 3:
        return this.#bits(64);
      case 4: {
        // where the penalty begins, give or take a unit
        const edge = part(Math.max(10_000 - terms.idealLossBps - terms.toleranceBps, 0)) + BigInt(this.#below(3) - 1);
        return edge < 0n ? 0n : edge;
      }
      default:
        return part(this.#below(10_001));
    }
  }

  next(): LotInput {
    const plants = this.#plants();
    const terms: ClearingTerms = {
      idealLossBps: this.#bps(10_000),
      serviceBps: this.#bps(10_000),
      penaltyBps: this.#below(2) === 0 ? this.#bps(1_000_000) : this.#below(60_000),
      toleranceBps: this.#bps(10_000),
      maxPricePerKWh: 0n,
      penaltyWaived: this.#below(8) === 0,
    };
    const received = this.#received(
      plants.reduce((sum, plant) => sum + plant.energy, 0n),
      terms,
    );
    const lot = { plants, received, used: [], terms };
    const kind = this.#below(8);
    if (kind < 2) terms.maxPricePerKWh = this.#bits(64);
    if (kind === 2) {
      // the very price, give or take a wei
      const cap = clearLot(lot).pricePerKWh + BigInt(this.#below(3) - 1);
      terms.maxPricePerKWh = cap < 0n ? 0n : cap;
    }
    return lot;
  }

  /** Σ energy · price of up to 2,016 lots at prices below 2^64 */
  product(): bigint {
    return this.#bits(48) * this.#bits(64) * BigInt(1 + this.#below(2016));
  }
}

describe("ClearingMath clears as clearing.ts does", () => {
  let chain: EmptyChain;
  let harness: Harness;
  before(async () => {
    chain = await startEmptyChain();
    harness = await Harness.deploy(chain);
  });
  after(() => chain.close());

  describe("every lot of the vectors", () => {
    let results: Buffer;
    before(async () => {
      results = await harness.clear(
        vectors.lots.map((lot: { plants: Record<string, string>[]; received: string; terms: never }) => ({
          plants: lot.plants.map((p) => ({ energy: BigInt(p.energy!), pricePerKWh: BigInt(p.pricePerKWh!) })),
          received: BigInt(lot.received),
          used: [],
          terms: termsOf(lot.terms),
        })),
      );
    });
    for (const [i, { name, expect }] of vectors.lots.entries()) {
      it(name, () => {
        assert.deepEqual(resultOf(results, i), Object.fromEntries(fields.map((field) => [field, expect[field]])));
      });
    }
  });

  describe("every sequence of the vectors", () => {
    for (const { name, terms, plantPrices, lots, expectTotal } of vectors.sequences) {
      it(name, async () => {
        const results = await harness.clear(
          lots.map((lot: { plants: string[]; received: string }) => ({
            plants: lot.plants.map((energy, p) => ({ energy: BigInt(energy), pricePerKWh: BigInt(plantPrices[p]) })),
            received: BigInt(lot.received),
            used: [],
            terms: termsOf(terms),
          })),
        );
        const prices: bigint[] = lots.map((lot: { expect: { pricePerKWh: string } }, i: number) => {
          assert.equal(resultOf(results, i).pricePerKWh, lot.expect.pricePerKWh, `lot ${i}`);
          return BigInt(lot.expect.pricePerKWh);
        });
        const sum = (values: bigint[]): bigint => values.reduce((a, b) => a + b, 0n);
        const check = async (products: bigint[], each: string[], total: string): Promise<void> => {
          assert.deepEqual((await harness.bill(products)).map(String), each);
          // in two batches, and in one
          const [head, tail] = [sum(products.slice(0, 3)), sum(products.slice(3))];
          assert.equal(sum(await harness.bill([head, tail])).toString(), total);
          assert.deepEqual(await harness.bill([head + tail]), [BigInt(total)]);
        };
        for (const [p, price] of plantPrices.entries()) {
          const products = lots.map((lot: { plants: string[] }) => BigInt(lot.plants[p]!) * BigInt(price));
          const paid = lots.map((lot: { expect: { paid: string[] } }) => lot.expect.paid[p]);
          await check(products, paid, expectTotal.paid[p]);
        }
        for (const c of lots[0].used.keys()) {
          const products = lots.map((lot: { used: string[] }, i: number) => BigInt(lot.used[c]!) * prices[i]!);
          const charged = lots.map((lot: { expect: { charged: string[] } }) => lot.expect.charged[c]);
          await check(products, charged, expectTotal.charged[c]);
        }
      });
    }
  });

  it(`${LOTS.toLocaleString("en")} random lots (seed ${SEED})`, async (t) => {
    const generator = new LotGenerator(SEED);
    const met = { nothingSent: 0, gain: 0, allLost: 0, waived: 0, clamped: 0, capped: 0, penalised: 0, widest: 0n };
    for (let done = 0; done < LOTS; done += LOTS_A_CALL) {
      const lots: LotInput[] = [];
      const expected = Buffer.alloc(32 * LOTS_A_CALL);
      for (let i = 0; i < LOTS_A_CALL; i++) {
        const lot = generator.next();
        const cleared: ClearedLot = clearLot(lot);
        for (const [f, name] of fields.entries()) expected.writeBigUInt64BE(cleared[name], 32 * i + 8 * f);
        lots.push(lot);
        if (cleared.sent === 0n) met.nothingSent++;
        else if (cleared.lost === cleared.sent) met.allLost++;
        if (cleared.gain > 0n) met.gain++;
        if (lot.terms.penaltyWaived) met.waived++;
        if (cleared.factorClamped) met.clamped++;
        if (cleared.priceCapped) met.capped++;
        if (cleared.excessLoss > 0n && cleared.factor > 0n) met.penalised++;
        if (cleared.pricePerKWh > met.widest) met.widest = cleared.pricePerKWh;
      }
      const results = await harness.clear(lots);
      if (results.equals(expected)) continue;
      const wrong = lots.findIndex(
        (_, i) => !results.subarray(32 * i, 32 * i + 32).equals(expected.subarray(32 * i, 32 * i + 32)),
      );
      assert.deepEqual(
        resultOf(results, wrong),
        resultOf(expected, wrong),
        `lot ${done + wrong}: ${show(lots[wrong]!)}`,
      );
      assert.fail(`${results.length / 32} results for ${LOTS_A_CALL} lots`);
    }
    t.diagnostic(show(met));
    for (const [kind, count] of Object.entries(met)) assert.ok(count > 0, `no lot with ${kind}`);
    assert.equal(met.widest, 3n * (2n ** 62n - 1n), "the greatest price there can be was reached");
  });

  it(`${LOTS.toLocaleString("en")} random sums of one account's money (seed ${SEED})`, async () => {
    const generator = new LotGenerator(SEED);
    // The harness starts each call without a remainder, so each call is an account of its own.
    for (let done = 0; done < LOTS; done += LOTS_A_CALL) {
      const money = new Money();
      const products = Array.from({ length: LOTS_A_CALL }, () => generator.product());
      const added = await harness.bill(products);
      for (const [i, product] of products.entries()) {
        assert.equal(added[i], money.add(product, 1n), `sum ${done + i} of ${product}`);
      }
    }
  });
});
