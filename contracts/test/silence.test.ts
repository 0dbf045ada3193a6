import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clearLot, encodeEnergies, Money } from "@bijuli/protocol";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, type TestFeeder, World } from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

describe("silence", () => {
  let world: World;
  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    world = await World.create();
    for (const name of ["plant", "distributor", "deficit", "two"]) {
      feeders.set(name, await world.feeder({ name, plants: [30n * 10n ** 12n, 20n * 10n ** 12n] }));
    }
  });
  after(() => world.close());

  async function submitAll(f: TestFeeder, lot: bigint, stages: readonly number[], n = 1): Promise<void> {
    for (const stage of stages) await f.submit(stage, lot, f.records(stage, lot, n));
  }

  test("a plant is estimated, later reads otherwise, and the difference is in its first open lot", async () => {
    const { market } = world;
    const f = feeders.get("plant")!;
    const [one, two, three] = [FIRST_LOT, FIRST_LOT + 1n, FIRST_LOT + 2n];
    f.measure(one, [1_000_000n, 500_000n], 1_400_000n, [1_300_000n]);
    f.measure(two, [2_000_000n, 500_000n], 2_300_000n, [1_000_000n]);
    await f.open(one);
    await f.submit(PLANT, one, f.records(PLANT, one, 1, 1, 1), 1);
    const guess = encodeEnergies([900_000n]);
    await refused(market.estimate!(f.id, one, PLANT, 0, guess), "TooEarly");
    await world.after(one, 3_600n);
    await refused(market.estimate!(f.id, one, PLANT, 1, guess), "AlreadyCleared");
    await refused(market.estimate!(f.id, one, PLANT, 2, guess), "PageOutOfRange");
    await refused(market.estimate!(f.id, one, PLANT, 0, "0x0000"), "BadEstimate");
    await refused(market.estimate!(f.id, one, PLANT, 0, encodeEnergies([10n ** 12n + 1n])), "EstimateAboveCapacity");
    await refused(market.estimate!(f.id, one, DISTRIBUTOR, 0, guess), "WrongStage");
    await refused(
      market.connect(world.owners[0]!).getFunction("estimate")(f.id, one, PLANT, 0, guess),
      "AccessManagedUnauthorized",
    );
    await world.send(market.estimate!(f.id, one, PLANT, 0, guess));
    await submitAll(f, one, [DISTRIBUTOR, CONSUMERS]);
    const waived = clearLot({
      plants: [
        { energy: 900_000n, pricePerKWh: f.prices[0]! },
        { energy: 500_000n, pricePerKWh: f.prices[1]! },
      ],
      received: 1_400_000n,
      used: [1_300_000n],
      terms: { ...f.terms, penaltyWaived: true },
    });
    assert.equal(await market.pricePerKWh!(f.id, one), waived.pricePerKWh);
    assert.equal((await market.clearingOf!(f.id, one)).estimated, true);

    // the next request reaches back to its cursor, and its reading brings the 100,000 that were missing
    const opening = await f.open(two);
    const asked = opening.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
    assert.ok(asked[0]!.args.data.includes("646c6f747302"), "the plants are asked for two lots");
    await submitAll(f, two, [PLANT], 2);
    await submitAll(f, two, [DISTRIBUTOR, CONSUMERS]);
    const corrected = clearLot({
      plants: [
        { energy: 2_100_000n, pricePerKWh: f.prices[0]! },
        { energy: 500_000n, pricePerKWh: f.prices[1]! },
      ],
      received: 2_300_000n,
      used: [1_000_000n],
      terms: { ...f.terms, penaltyWaived: true },
    });
    assert.equal(await market.pricePerKWh!(f.id, two), corrected.pricePerKWh);
    // in the end it is paid for what it measured
    const paid = new Money();
    paid.add(3_000_000n, f.prices[0]!);
    assert.equal(await f.balance(f.plants[0]!), paid.total);
    f.measure(three, [1_000n, 1_000n], 1_500n, [1_000n]);
    const after = await f.open(three);
    const next = after.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
    assert.ok(next[0]!.args.data.includes("646c6f747301"), "nobody is behind any more");
    await submitAll(f, three, [PLANT, DISTRIBUTOR, CONSUMERS]);
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("an estimate that was too high leaves a deficit that is carried until it is used up", async () => {
    const { market } = world;
    const f = feeders.get("deficit")!;
    const lot = (i: number) => FIRST_LOT + BigInt(i);
    const energies = [100_000n, 200_000n, 300_000n, 400_000n];
    energies.forEach((energy, i) => f.measure(lot(i), [energy, 0n], 90_000n, [80_000n]));
    await f.open(lot(0));
    await world.after(lot(0), 3_600n);
    await f.submit(PLANT, lot(0), f.records(PLANT, lot(0), 1, 1, 1), 1);
    await world.send(market.estimate!(f.id, lot(0), PLANT, 0, encodeEnergies([700_000n])));
    await submitAll(f, lot(0), [DISTRIBUTOR, CONSUMERS]);
    const cleared: bigint[] = [];
    for (const i of [1, 2, 3]) {
      await f.open(lot(i));
      const receipt = await f.submit(PLANT, lot(i), f.records(PLANT, lot(i), i === 1 ? 2 : 1));
      const energy: bigint = world.events(receipt, "PlantCleared")[0]!.args.energy;
      cleared.push(energy);
      await submitAll(f, lot(i), [DISTRIBUTOR, CONSUMERS]);
    }
    // 100 − 700 = −600 to carry: 200 and 300 are eaten up, and 100 of the 400
    assert.deepEqual(cleared, [0n, 0n, 300_000n]);
    assert.equal((await market.cursorOf!(f.plants[0]!.account)).carried, 0n);
    const paid = new Money();
    paid.add(1_000_000n, f.prices[0]!);
    assert.equal(await f.balance(f.plants[0]!), paid.total);
  });

  test("after a longer time anyone goes on without a plant, then without the distributor", async () => {
    const { market } = world;
    const f = feeders.get("two")!;
    const lot = FIRST_LOT + 1n;
    for (const at of [FIRST_LOT, lot]) f.measure(at, [1_000_003n, 500_001n], 1_400_000n, [1_200_000n]);
    await f.open(lot);
    await refused(market.abandon!(f.id, lot, PLANT), "TooEarly");
    await refused(market.abandon!(f.id, lot, CONSUMERS), "WrongStage");
    await world.after(lot, 7_200n);
    await f.submit(PLANT, lot, f.records(PLANT, lot, 2, 1, 1), 1);
    const someone = world.owners[9]!;
    await world.send(market.connect(someone).getFunction("abandon")(f.id, lot, PLANT));
    const receipt = await world.send(market.connect(someone).getFunction("abandon")(f.id, lot, DISTRIBUTOR));
    const { sent, received } = world.events(receipt, "DistributorCleared")[0]!.args;
    assert.equal(sent, 1_000_002n);
    assert.equal(received, 2n * ((500_001n * 9_060n) / 10_000n));
    await submitAll(f, lot, [CONSUMERS], 2);
    assert.equal((await market.clearingOf!(f.id, lot)).stage, 3n);
    // both come back: what they measured meanwhile is in the first open lot
    const next = lot + 1n;
    f.measure(next, [10n, 10n], 15n, [5n]);
    await f.open(next);
    await submitAll(f, next, [PLANT], 3);
    const last = await f.submit(DISTRIBUTOR, next, f.records(DISTRIBUTOR, next, 3));
    assert.equal(world.events(last, "DistributorCleared")[0]!.args.sent, 20n + 2_000_006n);
    assert.equal(world.events(last, "DistributorCleared")[0]!.args.received, 15n + 2_800_000n - received);
    await submitAll(f, next, [CONSUMERS]);
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("a distributor's estimate prices the lot without penalty", async () => {
    const { market } = world;
    const f = feeders.get("distributor")!;
    f.measure(FIRST_LOT, [1_000_000n, 0n], 500_000n, [400_000n]);
    await f.open(FIRST_LOT);
    await submitAll(f, FIRST_LOT, [PLANT]);
    await world.after(FIRST_LOT, 3_600n);
    await world.send(market.estimate!(f.id, FIRST_LOT, DISTRIBUTOR, 0, encodeEnergies([450_000n])));
    const full = clearLot({
      plants: [{ energy: 1_000_000n, pricePerKWh: f.prices[0]! }],
      received: 450_000n,
      used: [],
      terms: { ...f.terms, penaltyWaived: true },
    });
    assert.equal(await market.pricePerKWh!(f.id, FIRST_LOT), full.pricePerKWh);
    await submitAll(f, FIRST_LOT, [CONSUMERS]);
    const charged = new Money();
    charged.add(400_000n, full.pricePerKWh);
    assert.equal(await f.balance(f.consumers[0]!), ETHER - charged.total);
    assert.equal((await market.cursorOf!(f.distributor.account)).carried, -450_000n);
  });
});
