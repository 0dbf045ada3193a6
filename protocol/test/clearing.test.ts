import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { type ClearingTerms, clearLot, formatKWh, Money } from "@bijuli/protocol";

const vectors = JSON.parse(readFileSync(new URL("./vectors/clearing.json", import.meta.url), "utf8"));

const termsOf = (json: ClearingTerms & { maxPricePerKWh: string }): ClearingTerms => ({
  ...json,
  maxPricePerKWh: BigInt(json.maxPricePerKWh),
});
const texts = (record: object) =>
  Object.fromEntries(Object.entries(record).map(([k, v]) => [k, typeof v === "bigint" ? v.toString() : v]));

describe("a lot clears as its vector says", () => {
  for (const { name, plants, received, used, terms, expect } of vectors.lots) {
    it(name, () => {
      const cleared = clearLot({
        plants: plants.map((plant: Record<string, string>) => ({
          energy: BigInt(plant.energy!),
          pricePerKWh: BigInt(plant.pricePerKWh!),
        })),
        received: BigInt(received),
        used: used.map(BigInt),
        terms: termsOf(terms),
      });
      assert.deepEqual(texts(cleared), expect);
    });
  }
});

describe("money adds up however lots are batched", () => {
  for (const { name, terms, plantPrices, lots, expectTotal } of vectors.sequences) {
    it(name, () => {
      const paid: Money[] = plantPrices.map(() => new Money());
      const charged: Money[] = lots[0].used.map(() => new Money());
      for (const lot of lots) {
        const plants = lot.plants.map((energy: string, i: number) => ({
          energy: BigInt(energy),
          pricePerKWh: BigInt(plantPrices[i]),
        }));
        const used: bigint[] = lot.used.map(BigInt);
        const { pricePerKWh } = clearLot({ plants, received: BigInt(lot.received), used, terms: termsOf(terms) });
        assert.equal(pricePerKWh.toString(), lot.expect.pricePerKWh);
        assert.deepEqual(
          paid.map((money, i) => money.add(plants[i].energy, plants[i].pricePerKWh).toString()),
          lot.expect.paid,
        );
        assert.deepEqual(
          charged.map((money, i) => money.add(used[i]!, pricePerKWh).toString()),
          lot.expect.charged,
        );
      }
      assert.deepEqual(
        { paid: paid.map((money) => money.total.toString()), charged: charged.map((money) => money.total.toString()) },
        expectTotal,
      );
    });
  }
});

describe("properties of the lot arithmetic", () => {
  let state = 1n;
  const random = (below: bigint) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & (2n ** 64n - 1n);
    return (state >> 11n) % below;
  };
  it("the price never rises with more loss, and energy adds up (20,000 random lots)", () => {
    for (let i = 0; i < 20_000; i++) {
      const sent = random(10n ** (1n + random(12n))) + 1n;
      const terms: ClearingTerms = {
        idealLossBps: Number(random(3000n)),
        serviceBps: Number(random(3000n)),
        penaltyBps: Number(random(30_000n)),
        toleranceBps: Number(random(300n)),
        maxPricePerKWh: random(4n) === 0n ? random(10n ** 14n) : 0n,
        penaltyWaived: false,
      };
      const plants = [{ energy: sent, pricePerKWh: random(10n ** 14n) }];
      const [less, more] = [random(sent + 1n), random(sent + 1n)].sort((a, b) => (a < b ? 1 : -1)) as [bigint, bigint];
      const used = [random(sent + 1n)];
      const a = clearLot({ plants, received: less, used, terms });
      const b = clearLot({ plants, received: more, used, terms });
      assert.ok(b.pricePerKWh <= a.pricePerKWh, "more loss, higher price");
      assert.equal(a.sent, a.lost + a.available);
      assert.equal(a.available, a.delivered + a.unaccounted);
      assert.equal(used[0], a.delivered + a.overdrawn);
    }
  });
});

it("Units read as kWh", () => {
  assert.equal(formatKWh(1_234_567n), "0.1234567");
  assert.equal(formatKWh(-10_000_000n), "-1.0000000");
});
