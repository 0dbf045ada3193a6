import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { encodeEnergies } from "@bijuli/protocol";
import {
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  PLANT,
  TERMS,
  type Terms,
  type TestFeeder,
  World,
} from "./support/feeder.ts";

/** Terms as the vectors write them. */
interface VectorTerms {
  idealLossBps: number;
  serviceBps: number;
  penaltyBps: number;
  toleranceBps: number;
  maxPricePerKWh: string;
  penaltyWaived: boolean;
}

interface VectorLot {
  name: string;
  plants: { energy: string; pricePerKWh: string }[];
  received: string;
  used: string[];
  terms: VectorTerms;
  expect: Record<string, string>;
}

interface Sequence {
  name: string;
  terms: VectorTerms;
  plantPrices: string[];
  lots: { plants: string[]; received: string; used: string[]; expect: { pricePerKWh: string } }[];
  expectTotal: { paid: string[]; charged: string[] };
}

const vectors: { lots: VectorLot[]; sequences: Sequence[] } = JSON.parse(
  readFileSync(new URL("../../protocol/test/vectors/clearing.json", import.meta.url), "utf8"),
);

const TOKEN_PER_UNIT = 10n ** 11n;
/** What the market says of a lot; the loss, its excess and the factor are inside it: `clearing-math.test.ts` holds those. */
const FIELDS = ["sent", "lost", "available", "gain", "pricePerKWh", "delivered", "unaccounted", "overdrawn"] as const;

const termsOf = ({ penaltyWaived, maxPricePerKWh, ...terms }: VectorTerms): Partial<Terms> => ({
  ...TERMS,
  ...terms,
  maxPricePerKWh: BigInt(maxPricePerKWh),
});

describe("the market clears every vector as it says", () => {
  let world: World;
  before(async () => {
    world = await World.create();
  });
  after(() => world.close());

  const plan = (name: string, plants: number, consumers: number) =>
    world.feeder({
      name: name.slice(0, 40),
      plants: Array(plants).fill(1n),
      consumers,
      capacity: 2n ** 47n - 1n,
      deposit: 100n * ETHER,
    });

  async function clear(f: TestFeeder, lot: bigint, vector: VectorLot): Promise<Record<string, string>> {
    const { plants, received, used, terms } = vector;
    f.measure(
      lot,
      plants.map(({ energy }) => BigInt(energy)),
      BigInt(received),
      used.map(BigInt),
    );
    await f.open(lot);
    if (terms.penaltyWaived) {
      await world.after(lot, BigInt(TERMS.estimateSeconds));
      for (const [i, { energy }] of plants.entries()) {
        await world.send(world.market.estimate!(f.id, lot, PLANT, i, encodeEnergies([BigInt(energy)])));
      }
    } else {
      await f.submit(PLANT, lot, f.records(PLANT, lot, 1));
    }
    const priced = await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
    const { args } = world.events(priced, "DistributorCleared")[0]!;
    const burned = world.events(priced, "Burned").reduce((sum, event) => sum + event.args.amount, 0n);
    await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1));
    const clearing = await world.market.clearingOf!(f.id, lot);
    assert.equal(clearing.stage, 3n);
    const said = {
      sent: args.sent,
      lost: burned / TOKEN_PER_UNIT,
      available: clearing.available,
      gain: args.received - args.available,
      pricePerKWh: await world.market.pricePerKWh!(f.id, lot),
      delivered: clearing.delivered,
      unaccounted: clearing.unaccounted,
      overdrawn: clearing.overdrawn,
    };
    return Object.fromEntries(FIELDS.map((field) => [field, said[field].toString()]));
  }

  // Feeders of the same shape clear one vector a lot, each under its own terms; an estimate is set off against later lots.
  const shape = ({ plants, used, terms }: VectorLot) =>
    `${plants.length} plants, ${used.length} consumers${terms.penaltyWaived ? ", waived" : ""}`;
  for (const name of new Set(vectors.lots.map(shape))) {
    test(`lots: ${name}`, async () => {
      const lots = vectors.lots.filter((lot) => shape(lot) === name);
      const f = await plan(name, lots[0]!.plants.length, lots[0]!.used.length);
      const first = (await world.market.feederOf!(f.id)).openedLot + 1n;
      for (const [i, { terms, plants }] of lots.entries()) {
        const prices = plants.map(({ pricePerKWh }) => BigInt(pricePerKWh));
        await f.charter(first + BigInt(i), { terms: termsOf(terms), prices });
      }
      const before = await world.chain.helpers.takeSnapshot();
      for (const [i, vector] of lots.entries()) {
        const expected = Object.fromEntries(FIELDS.map((field) => [field, vector.expect[field]]));
        assert.deepEqual(await clear(f, first + BigInt(i), vector), expected, vector.name);
      }
      await before.restore(); // the next feeder's lots have not begun either
    });
  }

  for (const { name, terms, plantPrices, lots, expectTotal } of vectors.sequences) {
    test(name, async () => {
      const f = await plan(name, plantPrices.length, lots[0]!.used.length);
      await f.charter(FIRST_LOT, { terms: termsOf(terms), prices: plantPrices.map(BigInt) });
      const before = await world.chain.helpers.takeSnapshot();
      const last = FIRST_LOT + BigInt(lots.length) - 1n;
      for (const [i, { plants, received, used }] of lots.entries()) {
        f.measure(FIRST_LOT + BigInt(i), plants.map(BigInt), BigInt(received), used.map(BigInt));
      }
      const events = (await f.clear(last, lots.length)).flatMap((receipt) => world.events(receipt));
      const sums = (event: string, member: { meter: { meterId: string } }[], value: "paid" | "charged") =>
        member.map(({ meter }) =>
          events
            .filter(({ name: said, args }) => said === event && args.meterId === meter.meterId)
            .reduce((sum, { args }) => sum + args[value], 0n)
            .toString(),
        );
      assert.deepEqual(sums("PlantPaid", f.plants, "paid"), expectTotal.paid);
      assert.deepEqual(sums("ConsumerCleared", f.consumers, "charged"), expectTotal.charged);
      for (const [i, { expect }] of lots.entries()) {
        assert.equal(await world.market.pricePerKWh!(f.id, FIRST_LOT + BigInt(i)), BigInt(expect.pricePerKWh));
      }
      await before.restore();
    });
  }
});
