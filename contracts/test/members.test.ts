import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Money } from "@bijuli/protocol";
import type { Contract } from "ethers";
import {
  ANY_PRICE,
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  type Member,
  PLANT,
  type TestFeeder,
  World,
} from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

describe("members come and go, by lots", () => {
  let world: World;
  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    world = await World.create();
    for (const name of ["handover", "ended", "plants", "limits", "silent", "gas"]) {
      feeders.set(
        name,
        await world.feeder({
          name,
          plants: [30n * 10n ** 12n, 20n * 10n ** 12n],
          consumers: 3,
          terms: { reserve: ETHER / 4n, tokensPerConsumer: name !== "handover" },
        }),
      );
    }
  });
  after(() => world.close());

  const as = (member: Member) => world.market.connect(member.owner) as Contract;
  const now = async () => BigInt(await world.chain.helpers.time.latest()) / 300n;

  async function supply(f: TestFeeder, lot: bigint, n: number): Promise<void> {
    await f.open(lot);
    await f.submit(PLANT, lot, f.records(PLANT, lot, n));
    await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, n));
  }

  async function newcomer(f: TestFeeder, serial: string, role: number, limit: bigint): Promise<Member> {
    const meter = world.meter(serial, 0n, (await now()) + 1n);
    await world.register(meter);
    const owner = world.owners[11]!;
    return { meter, owner, account: await world.join(f.id, meter, role, owner, limit, role === 0 ? 0n : ETHER) };
  }

  test("a new distributor takes over at a lot; a late consumer still pays each of them for its own lots", async () => {
    const { market } = world;
    const f = feeders.get("handover")!;
    const next = await newcomer(f, "second distributor", DISTRIBUTOR, ANY_PRICE);
    const from = (await now()) + 3n;
    const seats = f.plants.map(({ account }, i) => ({ account, pricePerKWh: f.prices[i] }));
    await world.send(market.setCharter!(f.id, from, f.terms, next.account, seats));
    const n = Number(from - FIRST_LOT);
    for (let lot = FIRST_LOT; lot <= from; lot++) {
      f.measure(lot, [1_000_000n, 1_000_000n], 1_900_000n, [500_000n, 600_000n, 700_000n]);
      next.meter.energies.set(lot, 1_800_000n);
    }
    next.meter.energies.delete(from - 1n);
    await supply(f, from - 1n, n);
    await f.submit(CONSUMERS, from - 1n, f.records(CONSUMERS, from - 1n, n, 0, 2));
    await f.open(from);
    await f.submit(PLANT, from, f.records(PLANT, from, 1));
    await f.submit(DISTRIBUTOR, from, next.meter.record(from, 1));
    const [before, after] = [await f.balance(f.distributor), await f.balance(next)];
    // the third comes late, over both
    const receipt = await f.submit(CONSUMERS, from, f.records(CONSUMERS, from, n + 1, 2, 1), 2);
    const earlier = new Money();
    for (let lot = FIRST_LOT; lot < from; lot++) earlier.add(700_000n, await market.pricePerKWh!(f.id, lot));
    const total: bigint = world.events(receipt, "ConsumerCleared")[0]!.args.charged;
    assert.equal((await f.balance(f.distributor)) - before, earlier.total);
    assert.equal((await f.balance(next)) - after, total - earlier.total);
    await f.submit(CONSUMERS, from, f.records(CONSUMERS, from, 1, 0, 2));
    assert.equal(await world.token.totalSupply!(), 0n);
    // the old one is out and cleared to its end: nothing of it is kept
    assert.equal(await market.withdrawable!(f.distributor.account), await f.balance(f.distributor));
    assert.ok((await market.withdrawable!(next.account)) < (await f.balance(next)));
  });

  test("a plant leaves by its own will, and its meter may come back with another account", async () => {
    const { market } = world;
    const f = feeders.get("plants")!;
    const gone = f.plants[0]!;
    const again = await world.join(f.id, gone.meter, PLANT, world.owners[12]!, 10n ** 13n);
    const soon = (await now()) + 1n;
    const seat = (account: bigint, pricePerKWh: bigint) => ({ account, pricePerKWh });
    const keep = [seat(f.plants[0]!.account, f.prices[0]!), seat(f.plants[1]!.account, f.prices[1]!)];
    await refused(
      market.setCharter!(f.id, soon, f.terms, f.distributor.account, [...keep, seat(again, 10n ** 13n)]),
      "MeterTaken",
    );
    await refused(
      market.setCharter!(f.id, soon, f.terms, f.distributor.account, [keep[0]!, keep[0]!]),
      "AlreadyListed",
    );
    const left = world.events(await world.send(as(gone).leave!(gone.account)), "Left")[0]!.args.fromLot as bigint;
    await refused(
      market.setCharter!(f.id, left, f.terms, f.distributor.account, [keep[1]!, seat(again, 10n ** 13n - 1n)]),
      "PriceTooLow",
    );
    await world.send(
      market.setCharter!(f.id, left, f.terms, f.distributor.account, [keep[1]!, seat(again, 10n ** 13n)]),
    );
    await refused(market.setCharter!(f.id, left + 1n, f.terms, f.distributor.account, [keep[0]!, keep[1]!]), "HasLeft");
    const n = Number(left - FIRST_LOT);
    for (let lot = FIRST_LOT; lot <= left; lot++) f.measure(lot, [1_000n, 2_000n], 2_800n, [10n, 20n, 30n]);
    await supply(f, left - 1n, n);
    await f.submit(CONSUMERS, left - 1n, f.records(CONSUMERS, left - 1n, n));
    // its register goes on where it stands: the first reading of the new account says where
    await f.open(left);
    const swapped = [f.plants[1]!, f.plants[0]!].map(({ meter }) => meter.record(left, 1));
    const receipt = await f.submit(PLANT, left, `0x${swapped.map((hex) => hex.slice(2)).join("")}`);
    assert.equal(world.events(receipt, "PlantCleared").length, 2);
    await f.submit(DISTRIBUTOR, left, f.records(DISTRIBUTOR, left, 1));
    await f.submit(CONSUMERS, left, f.records(CONSUMERS, left, 1));
    const paid = new Money();
    paid.add(1_000n, 10n ** 13n);
    assert.equal(await market.balanceOf!(again), paid.total);
    assert.equal(await market.seatOf!(gone.meter.meterId), again);
  });

  test("when the distributor leaves, the feeder ends: what began is cleared, everybody can go", async () => {
    const { market } = world;
    const f = feeders.get("ended")!;
    const end = world.events(await world.send(as(f.distributor).leave!(f.distributor.account)), "Left")[0]!.args
      .fromLot as bigint;
    await refused(f.charter(end + 1n), "FeederEnded");
    for (let lot = FIRST_LOT; lot <= end; lot++) f.measure(lot, [1_000n, 2_000n], 2_800n, [10n, 20n, 30n]);
    const n = Number(end - FIRST_LOT);
    await world.after(end + 2n);
    await refused(market.openLots!(f.id, end), "LotBeyondCharter");
    await supply(f, end - 1n, n);
    await f.submit(CONSUMERS, end - 1n, f.records(CONSUMERS, end - 1n, n, 0, 2));
    await refused(market.openLots!(f.id, end), "FeederEnded", f.id, end);
    const [one, , late] = f.consumers;
    await world.send(as(one!).leave!(one!.account));
    await world.send(as(one!).withdraw!(one!.account, one!.owner.address, await f.balance(one!)));
    // one that never delivered its last lots keeps the reserve until its feeder could have gone on without it
    await world.send(as(late!).leave!(late!.account));
    await refused(as(late!).withdraw!(late!.account, late!.owner.address, await f.balance(late!)), "ReserveKept");
    await world.after(end, 7_500n);
    await world.send(as(late!).withdraw!(late!.account, late!.owner.address, await f.balance(late!)));
    await world.send(world.market.close!(f.id, end - 1n));
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("the lowest price limit of a list binds the feeder while its owner is in it, and no longer", async () => {
    const { market } = world;
    const f = feeders.get("limits")!;
    const careful = await newcomer(f, "careful", CONSUMERS, 40n * 10n ** 12n);
    const from = (await now()) + 1n;
    const seats = f.plants.map(({ account }, i) => ({ account, pricePerKWh: f.prices[i] }));
    const cap = (maxPricePerKWh: bigint, at = from) =>
      market.setCharter!(f.id, at, { ...f.terms, maxPricePerKWh }, f.distributor.account, seats);
    await world.send(cap(40n * 10n ** 12n));
    await world.send(market.listConsumers!(f.id, from, [careful.account]));
    await refused(cap(41n * 10n ** 12n), "PriceTooHigh");
    await refused(market.delistConsumers!(f.id, from, [f.distributor.account]), "NotListed");
    await world.send(market.delistConsumers!(f.id, from, [careful.account]));
    await world.send(cap(41n * 10n ** 12n));
    await refused(market.delistConsumers!(f.id, from, [careful.account]), "NotListed", careful.account);
    await refused(market.listConsumers!(f.id, from, [careful.account]), "HasLeft", careful.account);
    assert.equal(await market.lotsPerClearing!(f.id), 1n);
  });

  test("plants and distributor, too, are done wholly or deferred, whatever the gas", async () => {
    const f = feeders.get("gas")!;
    f.measure(FIRST_LOT, [1_000_000n, 2_000_000n], 2_800_000n, [10n, 20n, 30n]);
    await f.open(FIRST_LOT);
    for (const stage of [PLANT, DISTRIBUTOR]) {
      const records = f.records(stage, FIRST_LOT, 1);
      const seen = new Set<string>();
      for (let gasLimit = 120_000n; gasLimit < 900_000n; gasLimit += 40_000n) {
        const before = (await world.market.clearingOf!(f.id, FIRST_LOT)).stage;
        if (before !== BigInt(stage)) break;
        try {
          const receipt = await f.submit(stage, FIRST_LOT, records, 0, { gasLimit });
          const reasons = world.events(receipt, "Deferred").map(({ args }) => args.reason);
          const after = (await world.market.clearingOf!(f.id, FIRST_LOT)).stage;
          assert.equal(after === before, reasons.includes(2n));
          seen.add(`${reasons}`);
        } catch (error) {
          assert.match(String(error), /out of gas|ran out/i);
        }
      }
      assert.deepEqual([...seen], ["2", ""], `stage ${stage}`);
    }
    await f.submit(CONSUMERS, FIRST_LOT, f.records(CONSUMERS, FIRST_LOT, 1));
  });

  test("a debt to several that is paid down to almost nothing and grows again stays exact", async () => {
    const { market } = world;
    const f = feeders.get("silent")!;
    const owner = f.distributor;
    await world.send(
      as(owner).withdraw!(owner.account, owner.owner.address, await market.withdrawable!(owner.account)),
    );
    const owed = f.prices.map(() => new Money());
    let lot = FIRST_LOT;
    for (let round = 0; round < 6; round++, lot++) {
      const energies = [100_000_000_007n + BigInt(round), 3n * 10n ** 11n + BigInt(round)];
      f.measure(lot, energies, 10n, [1n, 1n, 1n]);
      energies.forEach((energy, i) => owed[i]!.add(energy, f.prices[i]!));
      await f.clear(lot, 1);
      const { owed: debt } = await market.arrearsOf!(owner.account);
      // all but one wei: the index shrinks by 2^-50 and more each time
      assert.ok(debt > 10n ** 15n);
      await world.send(as(owner).deposit!(owner.account, { value: debt - 1n }));
      for (const plant of f.plants) await world.send(market.collect!(owner.account, plant.account));
      const claims = await Promise.all(f.plants.map((plant) => market.claimOf!(owner.account, plant.account)));
      assert.ok(claims.every(({ collectable }) => collectable === 0n));
    }
    await world.send(as(owner).deposit!(owner.account, { value: ETHER }));
    for (const plant of f.plants) await world.send(market.collect!(owner.account, plant.account));
    assert.deepEqual(
      await Promise.all(f.plants.map((plant) => f.balance(plant))),
      owed.map((money) => money.total),
    );
    assert.deepEqual([...(await market.arrearsOf!(owner.account))], [0n, 0n]);
  });
});
