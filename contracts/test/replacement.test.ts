import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeEnergies, type Hex, Money } from "@bijuli/protocol";
import { concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  LOT_SECONDS,
  type Member,
  PLANT,
  type TestFeeder,
  World,
} from "./support/feeder.ts";
import type { TestMeter } from "./support/meter.ts";
import { refused } from "./support/refused.ts";

const TOO_SHORT = 3n;
const WRONG_REGISTER = 4n;

describe("a meter in the place of another", () => {
  let world: World;
  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    world = await World.create();
    for (const name of ["consumer", "broken", "plant", "late plant", "distributor", "twice"]) {
      feeders.set(name, await world.feeder({ name, consumers: 2 }));
    }
  });
  after(() => world.close());

  const now = async () => BigInt(await world.chain.helpers.time.latest()) / BigInt(LOT_SECONDS);
  /** Sealed in the lot that runs, so that its opening is of the lot before `now + 1`. */
  async function fresh(serial: string, start: bigint): Promise<{ meter: TestMeter; from: bigint }> {
    const from = (await now()) + 1n;
    const meter = world.meter(serial, start, from);
    await world.register(meter);
    return { meter, from };
  }
  const replace = (member: Member, meter: TestMeter, from: bigint) =>
    world.send(world.market.replaceMeter!(member.account, meter.meterId, from));
  const cursor = async ({ account }: Member) => {
    const { cursor, register, carried, fresh } = await world.market.cursorOf!(account);
    return { cursor, register, carried, fresh };
  };
  async function clearTo(f: TestFeeder, lot: bigint): Promise<void> {
    for (let at = (await world.market.feederOf!(f.id)).openedLot + 1n; at <= lot; at++) {
      f.measure(at, [1_000_000n], 900_000n, [300_000n, 400_000n]);
      await f.clear(at, 1);
    }
  }
  const supply = async (f: TestFeeder, lot: bigint, plant: Hex, distributor: Hex) => {
    await f.submit(PLANT, lot, plant);
    return f.submit(DISTRIBUTOR, lot, distributor);
  };

  test("a consumer's: same place, same account, and every Unit of both is charged once", async () => {
    const f = feeders.get("consumer")!;
    const member = f.consumers[0]!;
    const old = member.meter;
    await clearTo(f, FIRST_LOT);
    const { meter, from } = await fresh("new for a consumer", 5_000n);
    const receipt = await replace(member, meter, from);
    assert.deepEqual(
      [...world.events(receipt, "MeterReplaced")[0]!.args],
      [member.account, old.meterId, meter.meterId, from],
    );
    assert.equal(world.events(receipt, "Chartered")[0]!.args.consumers, 2n);
    assert.equal((await world.market.accountOf!(member.account)).meterId, meter.meterId);
    await clearTo(f, from - 1n); // the old one reads its last lots
    assert.equal((await cursor(member)).cursor, from - 1n);

    member.meter = meter;
    f.measure(from, [1_000_000n], 900_000n, [250_000n, 400_000n]);
    await f.open(from);
    const [ids, accounts] = await world.market.membersOf!(f.id, from, CONSUMERS);
    assert.deepEqual([ids[0], accounts[0]], [meter.meterId, member.account]);
    await supply(f, from, f.records(PLANT, from, 1), f.records(DISTRIBUTOR, from, 1));
    const wrong = meter.dishonestRecord(from, [250_000n], 255_001n);
    const second = f.consumers[1]!.meter.record(from, 1);
    const tried = await f.submit(CONSUMERS, from, concat([wrong, second]) as Hex);
    assert.equal(world.events(tried, "ReadingRefused")[0]!.args.reason, WRONG_REGISTER);
    await f.submit(CONSUMERS, from, f.records(CONSUMERS, from, 1));
    assert.deepEqual(await cursor(member), { cursor: from, register: 255_000n, carried: 0n, fresh: false });
    const money = new Money();
    for (let lot = FIRST_LOT; lot <= from; lot++) {
      money.add(lot < from ? 300_000n : 250_000n, await world.market.pricePerKWh!(f.id, lot));
    }
    assert.equal(await f.balance(member), ETHER - money.total);
    assert.equal((await world.market.clearingOf!(f.id, from)).stage, 3n);
    assert.equal(await world.market.nextLotOf!(meter.meterId), from + 1n);
  });

  test("a consumer's that broke: its last lots are waited for until `abandonSeconds`, and given up then", async () => {
    const f = feeders.get("broken")!;
    const member = f.consumers[0]!;
    await clearTo(f, await now());
    const { meter, from } = await fresh("new for a broken one", 70n);
    await replace(member, meter, from);
    // the lot before is never read
    f.measure(from - 1n, [1_000_000n], 900_000n, [300_000n, 400_000n]);
    await f.open(from - 1n);
    await supply(f, from - 1n, f.records(PLANT, from - 1n, 1), f.records(DISTRIBUTOR, from - 1n, 1));
    await f.submit(CONSUMERS, from - 1n, concat(["0x0000", f.consumers[1]!.meter.record(from - 1n, 1)]) as Hex);
    const { cursor: at } = await cursor(member);
    assert.ok(at < from - 1n);

    const old = member.meter;
    member.meter = meter;
    f.measure(from, [1_000_000n], 900_000n, [200_000n, 400_000n]);
    await f.open(from);
    await supply(f, from, f.records(PLANT, from, 1), f.records(DISTRIBUTOR, from, 1));
    const early = await f.submit(CONSUMERS, from, f.records(CONSUMERS, from, 1));
    assert.equal(world.events(early, "ReadingRefused")[0]!.args.reason, TOO_SHORT);
    assert.equal((await cursor(member)).cursor, at);
    await world.after(from - 1n, 7_200n);
    const before = await f.balance(member);
    await f.submit(CONSUMERS, from, f.records(CONSUMERS, from, 1));
    assert.deepEqual(await cursor(member), { cursor: from, register: 200_070n, carried: 0n, fresh: false });
    const price: bigint = await world.market.pricePerKWh!(f.id, from);
    const charged = before - (await f.balance(member));
    assert.ok(charged - (200_000n * price) / 10n ** 7n <= 1n, "only the new meter's lot");
    const late = await f.submit(CONSUMERS, from - 1n, old.record(from - 1n, 1));
    assert.equal(world.events(late, "ReadingRefused")[0]!.args.reason, 7n, "the old one comes too late");
  });

  test("a plant's that broke: the estimate for its last lots stands, and nothing of it is carried on", async () => {
    const f = feeders.get("plant")!;
    const member = f.plants[0]!;
    await clearTo(f, await now());
    const { meter, from } = await fresh("new for a plant", 0n);
    await replace(member, meter, from);
    f.measure(from - 1n, [1_000_000n], 700_000n, [300_000n, 400_000n]);
    await f.open(from - 1n);
    await world.after(from - 1n, 3_600n);
    await world.send(world.market.estimate!(f.id, from - 1n, PLANT, 0, encodeEnergies([800_000n])));
    assert.equal((await cursor(member)).carried, -800_000n);
    await f.submit(DISTRIBUTOR, from - 1n, f.records(DISTRIBUTOR, from - 1n, 1));

    member.meter = meter;
    f.measure(from, [500_000n], 450_000n, [200_000n, 200_000n]);
    await f.open(from);
    const receipt = await supply(f, from, f.records(PLANT, from, 1), f.records(DISTRIBUTOR, from, 1));
    assert.equal(world.events(receipt, "DistributorCleared")[0]!.args.sent, 500_000n);
    assert.deepEqual(await cursor(member), { cursor: from, register: 500_000n, carried: 0n, fresh: false });
    // nobody is behind any more: the next request asks for one lot
    const opening = await f.open(from + 1n);
    const asked = opening.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
    assert.ok(asked[0]!.args.data.includes("646c6f747301"), "one lot");
  });

  test("a plant's whose new meter is silent too: what is estimated for that one is set off against its reading", async () => {
    const f = feeders.get("late plant")!;
    const member = f.plants[0]!;
    await clearTo(f, await now());
    const { meter, from } = await fresh("new and late", 0n);
    await replace(member, meter, from);
    for (const [lot, guess] of [
      [from - 1n, 800_000n],
      [from, 600_000n],
    ] as const) {
      f.measure(lot, [0n], 500_000n, [200_000n, 200_000n]);
      await f.open(lot);
      await world.after(lot, 3_600n);
      await world.send(world.market.estimate!(f.id, lot, PLANT, 0, encodeEnergies([guess])));
      await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
    }
    assert.deepEqual(await cursor(member), { cursor: from - 1n, register: 0n, carried: -600_000n, fresh: false });
    member.meter = meter;
    meter.energies.set(from, 650_000n);
    f.measure(from + 1n, [500_000n], 500_000n, [200_000n, 200_000n]);
    await f.open(from + 1n);
    const receipt = await f.submit(PLANT, from + 1n, f.records(PLANT, from + 1n, 2));
    assert.equal(world.events(receipt, "PlantCleared")[0]!.args.energy, 550_000n);
    assert.equal((await cursor(member)).carried, 0n);
  });

  test("a distributor's, announced ahead of its opening reading: its first reading says the register", async () => {
    const f = feeders.get("distributor")!;
    const member = f.distributor;
    await clearTo(f, await now());
    const { meter, from: soon } = await fresh("new for a distributor", 44n);
    const from = soon + 2n;
    await replace(member, meter, from);
    await clearTo(f, from - 1n);
    member.meter = meter;
    meter.energies.set(soon, 7n); // before its time: counts for nobody
    f.measure(from, [1_000_000n], 900_000n, [300_000n, 400_000n]);
    await f.clear(from, 1);
    assert.deepEqual(await cursor(member), { cursor: from, register: 900_051n, carried: 0n, fresh: false });
    assert.equal((await world.market.clearingOf!(f.id, from)).stage, 3n);
  });

  test("one that is announced can be put right for the same lot; the old meter is free from then on", async () => {
    const f = feeders.get("twice")!;
    const member = f.consumers[0]!;
    await clearTo(f, await now());
    const { meter: wrong, from } = await fresh("the wrong one", 0n);
    const right = world.meter("the right one", 0n, from);
    await world.register(right);
    await replace(member, wrong, from);
    await refused(
      world.market.replaceMeter!(member.account, right.meterId, from + 1n),
      "ReplacementPending",
      member.account,
      from,
    );
    await replace(member, right, from);
    const [ids] = await world.market.membersOf!(f.id, from - 2n, CONSUMERS);
    assert.equal(ids[0], member.meter.meterId);
    const owner = world.owners[11]!;
    const joined = await world.join(f.id, member.meter, CONSUMERS, owner, 2n ** 64n - 1n);
    await refused(
      world.market.listConsumers!(f.id, from, [await world.join(f.id, right, CONSUMERS, owner, 2n ** 64n - 1n)]),
      "MeterTaken",
      right.meterId,
      member.account,
    );
    await world.send(world.market.listConsumers!(f.id, from, [joined]));
  });
});
