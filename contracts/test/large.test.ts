import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clearLot, Money } from "@bijuli/protocol";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, type TestFeeder, World } from "./support/feeder.ts";
import { Random } from "./support/random.ts";
import { refused } from "./support/refused.ts";

const deep = process.env.BIJULI_DEEP === "1";
/** As many plants and consumers as SPEC asks for, with as many lots as their prices fit a transaction; or what takes seconds. */
const [PLANTS, CONSUMER_COUNT, LOTS] = deep ? [64, 1_024, 1_187] : [3, 4, 600];
/** EIP-7825: no transaction may have more. */
const MOST_GAS = 2n ** 24n;

describe(`${PLANTS} plants, ${CONSUMER_COUNT} consumers, an outage of ${LOTS} lots`, () => {
  let world: World;
  let f: TestFeeder;
  const last = FIRST_LOT + BigInt(LOTS) - 1n;
  const n = BigInt(LOTS);
  before(async () => {
    world = await World.create();
    f = await world.feeder({
      name: "large",
      plants: Array.from({ length: PLANTS }, (_, i) => 33_000_000_000_000n + 1_000_000_000n * BigInt(i)),
      consumers: CONSUMER_COUNT,
      terms: { tokensPerConsumer: false },
      deposit: 10n * ETHER,
      link: 1_000_000n * ETHER,
    });
  });
  after(() => world.close());

  test("one clearing drains it: every request goes out, every lot has its price, every account its money", async (t) => {
    const random = new Random("large");
    for (let i = 0n; i < n; i++) {
      const used = f.consumers.map(() => 100_000n + random.below(500_000n));
      const received = (used.reduce((a, b) => a + b, 0n) * 1_005n) / 1_000n;
      // of full length on the wire and on the shelf
      const plants = f.plants.map((_, p) => 2n ** 39n + BigInt(p) * i);
      f.measure(FIRST_LOT + i, plants, received, used);
    }
    await world.after(last + 1n);
    if (deep) await refused(world.market.openLots!(f.id, last + 1n), "TooManyLots", LOTS + 1, LOTS);
    const gas = { opening: 0n, plants: 0n, distributor: 0n, consumers: 0n };
    const transactions = { opening: 0, plants: 0, consumers: 0 };
    for (let asked = 0; asked < PLANTS + 1 + CONSUMER_COUNT; transactions.opening++) {
      const receipt = await world.send(world.market.openLots!(f.id, last, { gasLimit: MOST_GAS }));
      gas.opening += receipt.gasUsed;
      for (const { args } of world.events(receipt, "StageRequested")) asked += Number(args.count);
    }
    const stage = async (which: number, cleared: string, part: "plants" | "consumers") => {
      const members = f.members(which);
      for (let first = 0; first < members.length; transactions[part]++) {
        const page = f.records(which, last, LOTS, first, which === PLANT ? 7 : 32);
        const receipt = await f.submit(which, last, page, first, { gasLimit: MOST_GAS });
        const done = world.events(receipt, cleared).length;
        assert.ok(done > 0, "a page of any size is cleared as far as the gas goes");
        gas[part] += receipt.gasUsed;
        first += done;
      }
    };
    await stage(PLANT, "PlantCleared", "plants");
    const priced = await f.submit(DISTRIBUTOR, last, f.records(DISTRIBUTOR, last, LOTS), 0, { gasLimit: MOST_GAS });
    assert.equal(world.events(priced, "DistributorCleared").length, 1, "all lots are priced in one transaction");
    gas.distributor = priced.gasUsed;
    await stage(CONSUMERS, "ConsumerCleared", "consumers");
    t.diagnostic(
      JSON.stringify({ gas, transactions }, (_, value) => (typeof value === "bigint" ? Number(value) : value)),
    );

    assert.equal((await world.market.clearingOf!(f.id, last)).stage, 3n);
    assert.equal(await world.token.totalSupply!(), 0n);
    const prices = await Promise.all(
      Array.from({ length: LOTS }, async (_, i) => {
        if (i % 100 !== 0 && i !== LOTS - 1) return undefined;
        return (await world.market.pricePerKWh!(f.id, FIRST_LOT + BigInt(i))) as bigint;
      }),
    );
    const expected = Array.from({ length: LOTS }, (_, i) => {
      const lot = FIRST_LOT + BigInt(i);
      return clearLot({
        plants: f.plants.map(({ meter }, p) => ({ energy: meter.energy(lot), pricePerKWh: f.prices[p]! })),
        received: f.distributor.meter.energy(lot),
        used: [],
        terms: { ...f.terms, penaltyWaived: false },
      }).pricePerKWh;
    });
    prices.forEach((price, i) => {
      if (price !== undefined) assert.equal(price, expected[i], `lot ${i}`);
    });
    for (const member of [f.consumers[0]!, f.consumers.at(-1)!]) {
      const money = new Money();
      for (let i = 0; i < LOTS; i++) money.add(member.meter.energy(FIRST_LOT + BigInt(i)), expected[i]!);
      assert.equal(await f.balance(member), 10n * ETHER - money.total);
    }
  });
});
