import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clearLot, Money } from "@bijuli/protocol";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, type TestFeeder, World } from "./support/feeder.ts";
import { Random } from "./support/random.ts";

const LOTS = 12;
const PLANTS = [33_000_000_000_000n, 41_234_567_890_123n];
const CONSUMER_COUNT = 5;

/** What every lot of the run measured. */
interface Measured {
  plants: bigint[];
  received: bigint;
  used: bigint[];
}

function measureRun(random: Random): Measured[] {
  return Array.from({ length: LOTS }, () => {
    const plants = PLANTS.map(() => (random.chance(0.1) ? 0n : random.below(10n ** 9n)));
    const sent = plants.reduce((a, b) => a + b, 0n);
    const received = random.chance(0.1) ? sent + random.below(1000n) : (sent * (8000n + random.below(2000n))) / 10_000n;
    const used = Array.from({ length: CONSUMER_COUNT }, () => random.below(received / BigInt(CONSUMER_COUNT) + 2n));
    if (random.chance(0.1)) used[0] = received + 5n;
    return { plants, received, used };
  });
}

/** The money of every account after the run, from SPEC's arithmetic alone. */
function expected(run: Measured[], feeder: TestFeeder) {
  const plants = PLANTS.map(() => new Money());
  const consumers = Array.from({ length: CONSUMER_COUNT }, () => new Money());
  const prices = run.map(({ plants: energies, received, used }) => {
    const lot = clearLot({
      plants: energies.map((energy, i) => ({ energy, pricePerKWh: PLANTS[i]! })),
      received,
      used,
      terms: { ...feeder.terms, penaltyWaived: false },
    });
    energies.forEach((energy, i) => plants[i]!.add(energy, PLANTS[i]!));
    used.forEach((energy, i) => consumers[i]!.add(energy, lot.pricePerKWh));
    return lot.pricePerKWh;
  });
  return { prices, plants: plants.map((m) => m.total), consumers: consumers.map((m) => m.total) };
}

describe("the end state does not depend on how lots are batched, paged, ordered or delivered", () => {
  let world: World;
  before(async () => {
    world = await World.create();
  });
  after(() => world.close());

  const run = measureRun(new Random("batches"));

  async function fresh(name: string, perConsumer: boolean): Promise<TestFeeder> {
    const feeder = await world.feeder({
      name,
      plants: PLANTS,
      consumers: CONSUMER_COUNT,
      terms: { tokensPerConsumer: perConsumer },
    });
    run.forEach(({ plants, received, used }, i) => feeder.measure(FIRST_LOT + BigInt(i), plants, received, used));
    return feeder;
  }

  async function check(feeder: TestFeeder): Promise<void> {
    const { prices, plants, consumers } = expected(run, feeder);
    const { market } = world;
    const onChain = await Promise.all(prices.map((_, i) => market.pricePerKWh!(feeder.id, FIRST_LOT + BigInt(i))));
    assert.deepEqual(onChain, prices);
    assert.deepEqual(await Promise.all(feeder.plants.map((p) => feeder.balance(p))), plants);
    assert.deepEqual(
      await Promise.all(feeder.consumers.map((c) => feeder.balance(c))),
      consumers.map((charged) => ETHER - charged),
    );
    const sum = (xs: bigint[]) => xs.reduce((a, b) => a + b, 0n);
    assert.equal(await feeder.balance(feeder.distributor), ETHER - sum(plants) + sum(consumers));
    assert.equal(await world.token.totalSupply!(), 0n);
  }

  // the chain's clock only moves on, so all feeders are set up before the first lot begins
  const ways = new Map<string, (feeder: TestFeeder) => Promise<void>>([
    [
      "a lot at a time",
      async (feeder) => {
        for (let i = 0; i < LOTS; i++) await feeder.clear(FIRST_LOT + BigInt(i), 1);
      },
    ],
    ["all at once", async (feeder) => void (await feeder.clear(FIRST_LOT + BigInt(LOTS - 1), LOTS))],
    [
      "in clearings of 5, 4 and 3 lots, consumers one by one and backwards",
      async (feeder) => {
        let lot = FIRST_LOT - 1n;
        for (const n of [5, 4, 3]) {
          lot += BigInt(n);
          await feeder.open(lot);
          await feeder.submit(PLANT, lot, feeder.records(PLANT, lot, n, 1, 1), 1);
          await feeder.submit(PLANT, lot, feeder.records(PLANT, lot, n, 0, 1), 0);
          await feeder.submit(DISTRIBUTOR, lot, feeder.records(DISTRIBUTOR, lot, n));
          for (let i = CONSUMER_COUNT - 1; i >= 0; i--) {
            await feeder.submit(CONSUMERS, lot, feeder.records(CONSUMERS, lot, n, i, 1), i);
          }
        }
      },
    ],
    [
      "with consumers that are silent and catch up over several clearings",
      async (feeder) => {
        for (let i = 0; i < LOTS; i += 2) {
          const lot = FIRST_LOT + BigInt(i + 1);
          await feeder.open(lot);
          await feeder.submit(PLANT, lot, feeder.records(PLANT, lot, 2));
          await feeder.submit(DISTRIBUTOR, lot, feeder.records(DISTRIBUTOR, lot, 2));
          await feeder.submit(CONSUMERS, lot, feeder.records(CONSUMERS, lot, 2, 0, 2));
          if (i === 6) await feeder.submit(CONSUMERS, lot, feeder.records(CONSUMERS, lot, 8, 2, 1), 2);
        }
        const lot = FIRST_LOT + BigInt(LOTS - 1);
        await feeder.submit(CONSUMERS, lot, feeder.records(CONSUMERS, lot, LOTS, 2, 3), 2);
      },
    ],
    [
      "after everything was delivered out of turn, twice",
      async (feeder) => {
        const lots = [FIRST_LOT + 3n, FIRST_LOT + 11n];
        for (const lot of lots) await feeder.open(lot);
        const n = [4, 8];
        for (const k of [1, 0]) {
          for (const stage of [CONSUMERS, DISTRIBUTOR]) {
            const receipt = await feeder.submit(stage, lots[k]!, feeder.records(stage, lots[k]!, n[k]!));
            assert.equal(world.events(receipt, "Deferred")[0]!.args.reason, 1n);
          }
        }
        for (const k of [0, 1]) {
          for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
            await feeder.submit(stage, lots[k]!, feeder.records(stage, lots[k]!, n[k]!));
            await feeder.submit(stage, lots[k]!, feeder.records(stage, lots[k]!, n[k]!));
          }
        }
      },
    ],
  ]);

  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    for (const [i, way] of [...ways.keys()].entries()) {
      feeders.set(`${way}, tokens per consumer`, await fresh(`way ${i} +`, true));
      feeders.set(`${way}, one burn a page`, await fresh(`way ${i} -`, false));
    }
  });

  for (const [way, clear] of ways) {
    for (const tokens of ["tokens per consumer", "one burn a page"]) {
      test(`${way}, ${tokens}`, async () => {
        const feeder = feeders.get(`${way}, ${tokens}`)!;
        await clear(feeder);
        await check(feeder);
      });
    }
  }
});
