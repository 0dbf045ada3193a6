import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Hex, MISSING_RECORD } from "@bijuli/protocol";
import { type ContractTransactionReceipt, concat, dataSlice, id, SigningKey } from "ethers";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, SPEC_ID, type TestFeeder, World } from "./support/feeder.ts";
import { deployFixture } from "./support/fixture.ts";

const REFUSAL = {
  missing: 1n,
  malformed: 2n,
  tooShort: 3n,
  wrongRegister: 4n,
  badSignature: 5n,
  suspended: 6n,
  alreadyCleared: 7n,
  badEnergies: 8n,
};
const DEFERRAL = { outOfTurn: 1n, outOfGas: 2n, readingMissing: 3n };

const PLANTS: Record<string, bigint[]> = {
  stuck: [10n ** 13n, 2n * 10n ** 13n],
  short: [10n ** 13n, 2n * 10n ** 13n, 3n * 10n ** 13n],
};

describe("delivery", () => {
  let world: World;
  const feeders = new Map<string, TestFeeder>();
  const names = ["refused", "stuck", "gas", "capacity", "late", "contract", "hostile", "overdrawn", "nobody", "short"];
  before(async () => {
    world = await World.create();
    for (const name of names) {
      feeders.set(
        name,
        await world.feeder({
          name,
          plants: PLANTS[name] ?? [33n * 10n ** 12n],
          consumers: name === "refused" ? 8 : name === "nobody" ? 0 : 4,
          terms: { tokensPerConsumer: name !== "gas" },
          capacity: name === "capacity" ? 1_000_000n : 10n ** 12n,
        }),
      );
    }
  });
  after(() => world.close());

  const feeder = (name: string) => feeders.get(name)!;
  const refusals = (receipt: ContractTransactionReceipt) =>
    world.events(receipt, "ReadingRefused").map(({ args }) => [args.meterId, args.reason]);
  const deferrals = (receipt: ContractTransactionReceipt) =>
    world.events(receipt, "Deferred").map(({ args }) => args.reason);
  async function toConsumers(f: TestFeeder, lot: bigint, n = 1): Promise<void> {
    await f.open(lot);
    await f.submit(PLANT, lot, f.records(PLANT, lot, n));
    await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, n));
  }

  test("an answer with fewer plants than asked clears them and ends in Deferred: the stage never stays open in silence", async () => {
    const f = feeder("short");
    const lot = FIRST_LOT;
    f.measure(lot, [1_000_000n, 2_000_000n, 3_000_000n], 5_000_000n, [1n, 1n, 1n, 1n]);
    const opening = await f.open(lot);
    const snapshot = await world.chain.helpers.takeSnapshot();
    for (const count of [0, 1, 2]) {
      await snapshot.restore();
      const receipt = await f.fulfil(opening, PLANT, count === 0 ? "0x" : f.records(PLANT, lot, 1, 0, count));
      assert.equal(world.events(receipt, "PlantCleared").length, count);
      assert.deepEqual(deferrals(receipt), [DEFERRAL.readingMissing]);
      const rest = await f.submit(PLANT, lot, f.records(PLANT, lot, 1));
      assert.equal(world.events(rest, "PlantCleared").length, 3 - count);
      assert.deepEqual(deferrals(rest), []);
      assert.equal((await world.market.clearingOf!(f.id, lot)).stage, 1n);
    }
    await snapshot.restore();
    const whole = await f.fulfil(opening, PLANT, f.records(PLANT, lot, 1));
    assert.deepEqual(deferrals(whole), []);
    for (const stage of [DISTRIBUTOR, CONSUMERS]) await f.submit(stage, lot, f.records(stage, lot, 1));
  });

  test("bad records are refused one by one, each with its reason, and stop no other", async () => {
    const f = feeder("refused");
    const lot = FIRST_LOT;
    f.measure(lot, [8_000_000n], 7_900_000n, Array(8).fill(900_000n));
    await toConsumers(f, lot);
    const meters = f.consumers.map(({ meter }) => meter);
    const forged = meters[2]!.reading(lot, 1);
    const stranger = new SigningKey(id("stranger"));
    const { encodeRecord } = await import("@bijuli/protocol");
    const records = concat([
      meters[0]!.record(lot, 1),
      MISSING_RECORD,
      encodeRecord(forged, meters[2]!.sign(forged, stranger)),
      meters[3]!.record(lot, 1, { forward: 1_900_000n }),
      meters[4]!.dishonestRecord(lot, [2n ** 40n], 5n),
      meters[5]!.record(lot - 1n, 1),
      meters[6]!.record(lot, 1),
      dataSlice(meters[7]!.record(lot, 1), 0, 60),
    ]) as Hex;
    const receipt = await f.submit(CONSUMERS, lot, records);
    const ids = meters.map((meter) => meter.meterId);
    assert.deepEqual(refusals(receipt), [
      [ids[1], REFUSAL.missing],
      [ids[2], REFUSAL.badSignature],
      [ids[3], REFUSAL.wrongRegister],
      [ids[4], REFUSAL.badEnergies],
      [ids[5], REFUSAL.badSignature],
      [ids[7], REFUSAL.malformed],
    ]);
    assert.deepEqual(
      world.events(receipt, "ConsumerCleared").map((e) => e.args.meterId),
      [ids[0], ids[6]],
    );
    // the rest once more, all at once: what is done is done
    const again = await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1));
    assert.deepEqual(refusals(again), [
      [ids[0], REFUSAL.alreadyCleared],
      [ids[6], REFUSAL.alreadyCleared],
    ]);
    assert.equal(world.events(again, "ClearingClosed").length, 1);
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("a reading that does not reach back to its cursor is refused, one that does catches up", async () => {
    const f = feeder("late");
    for (const [i, lot] of [FIRST_LOT, FIRST_LOT + 1n, FIRST_LOT + 2n].entries()) {
      f.measure(lot, [5_000_000n], 4_900_000n, [1_000_000n, 1_000_000n + BigInt(i), 1n, 0n]);
      await toConsumers(f, lot);
      await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1, 0, 1));
    }
    const lot = FIRST_LOT + 2n;
    const short = await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 2, 1, 1), 1);
    assert.deepEqual(refusals(short), [[f.consumers[1]!.meter.meterId, REFUSAL.tooShort]]);
    // grace is over: the first clearing is closed without them, and then they come
    await world.after(FIRST_LOT, 601n);
    const closing = await world.send(world.market.close!(f.id, FIRST_LOT));
    assert.equal(world.events(closing, "ClearingClosed")[0]!.args.unaccounted, 3_900_000n);
    const supply = await world.token.totalSupply!();
    const receipt = await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 3, 1, 3), 1);
    assert.equal(world.events(receipt, "ConsumerCleared")[0]!.args.energy, 3_000_003n);
    assert.equal(world.events(receipt, "ClearingClosed").length, 2);
    assert.ok(supply > 0n);
    assert.equal(await world.token.totalSupply!(), 0n);
    assert.equal((await world.market.clearingOf!(f.id, FIRST_LOT)).used, 2_000_001n);
  });

  test("a stage stays open while a plant's or the distributor's reading is missing or wrong", async () => {
    const f = feeder("stuck");
    const lot = FIRST_LOT;
    f.measure(lot, [1_000_000n, 2_000_000n], 2_900_000n, [0n, 0n, 0n, 0n]);
    await f.open(lot);
    const missing = await f.submit(PLANT, lot, concat([f.records(PLANT, lot, 1, 0, 1), MISSING_RECORD]) as Hex);
    assert.deepEqual(deferrals(missing), [DEFERRAL.readingMissing]);
    assert.deepEqual(deferrals(await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1))), [DEFERRAL.outOfTurn]);
    const both = await f.submit(PLANT, lot, f.records(PLANT, lot, 1));
    assert.equal(world.events(both, "PlantCleared").length, 1);
    const wrong = await f.submit(DISTRIBUTOR, lot, f.distributor.meter.record(lot, 1, { forward: 5_000_000n }));
    assert.deepEqual(deferrals(wrong), [DEFERRAL.readingMissing]);
    assert.deepEqual(refusals(wrong), [[f.distributor.meter.meterId, REFUSAL.wrongRegister]]);
    const right = await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
    assert.equal(world.events(right, "DistributorCleared")[0]!.args.sent, 3_000_000n);
    assert.deepEqual(deferrals(await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1))), []);
  });

  test("with any gas a page clears whole records or none, and what is left clears later", async () => {
    const f = feeder("gas");
    const lot = FIRST_LOT;
    f.measure(lot, [4_000_000n], 3_900_000n, [900_000n, 800_000n, 700_000n, 600_000n]);
    await toConsumers(f, lot);
    const done = async () => (await world.market.clearingOf!(f.id, lot)).consumersDone as bigint;
    const records = f.records(CONSUMERS, lot, 1);
    const seen = new Set<bigint>();
    for (let gasLimit = 150_000n; (await done()) < 4n; gasLimit += 15_000n) {
      const before = await done();
      try {
        const receipt = await f.submit(CONSUMERS, lot, records, 0, { gasLimit });
        const cleared = BigInt(world.events(receipt, "ConsumerCleared").length);
        assert.equal(await done(), before + cleared);
        assert.deepEqual(deferrals(receipt), (await done()) < 4n ? [DEFERRAL.outOfGas] : []);
        seen.add(cleared);
      } catch (error) {
        assert.match(String(error), /out of gas|ran out/i);
        assert.equal(await done(), before);
      }
      assert.ok(gasLimit < 1_000_000n);
    }
    assert.ok(seen.size > 1);
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("energy above what a meter can carry is cut and flagged", async () => {
    const f = feeder("capacity");
    const lot = FIRST_LOT;
    f.measure(lot, [1_000_001n], 900_000n, [1_500_000n, 100_000n, 0n, 1_000_000n]);
    const receipts = await f.clear(lot, 1);
    const cuts = receipts.flatMap((receipt) => world.events(receipt, "CapacityExceeded").map(({ args }) => args.cut));
    assert.deepEqual(cuts, [1n, 500_000n]);
    assert.equal(world.events(receipts[2]!, "DistributorCleared")[0]!.args.sent, 1_000_000n);
    assert.deepEqual(
      world.events(receipts[3]!, "ConsumerCleared").map((e) => e.args.energy),
      [1_000_000n, 100_000n, 0n, 1_000_000n],
    );
    // the register goes on from what the meter shows
    f.measure(lot + 1n, [500_000n], 400_000n, [5n, 5n, 5n, 5n]);
    const next = await f.clear(lot + 1n, 1);
    assert.deepEqual(refusals(next[3]!), []);
  });

  test("more used than available is charged as measured, and moves no token that does not exist", async () => {
    const f = feeder("overdrawn");
    f.measure(FIRST_LOT, [1_000_000n], 900_000n, [600_000n, 600_000n, 0n, 0n]);
    const receipts = await f.clear(FIRST_LOT, 1);
    const closed = world.events(receipts[3]!, "ClearingClosed")[0]!.args;
    assert.deepEqual([closed.delivered, closed.unaccounted, closed.overdrawn], [900_000n, 0n, 300_000n]);
    assert.equal(await world.token.totalSupply!(), 0n);
    f.measure(FIRST_LOT + 1n, [1_000_000n], 1_200_000n, [600_000n, 0n, 0n, 0n]);
    const gained = await f.clear(FIRST_LOT + 1n, 1);
    assert.equal(world.events(gained[2]!, "DistributorCleared")[0]!.args.available, 1_000_000n);
    assert.equal(await world.token.totalSupply!(), 0n);
  });

  test("a feeder without consumers closes with its distributor", async () => {
    const f = feeder("nobody");
    f.measure(FIRST_LOT, [1_000_000n], 900_000n, []);
    const receipts = await f.clear(FIRST_LOT, 1);
    assert.equal(world.events(receipts[2]!, "ClearingClosed")[0]!.args.unaccounted, 900_000n);
  });

  test("contract signers: honest ones count; burning gas, bombs of returned data and lies cost a bounded amount", async () => {
    const f = feeder("contract");
    const signer = await deployFixture(world.regulator, "attackers/HostileSigner");
    const member = f.consumers[1]!;
    const now = BigInt(await world.chain.helpers.time.latest()) / 300n;
    const fromLot = now + 1n;
    await world.send(world.registry.rotateSigner!(member.meter.meterId, await signer.getAddress(), fromLot));
    const n = Number(fromLot - FIRST_LOT + 1n);
    for (let lot = FIRST_LOT; lot <= fromLot; lot++) f.measure(lot, [4_000n], 3_900n, [900n, 800n, 700n, 600n]);
    await toConsumers(f, fromLot, n);
    const records = f.records(CONSUMERS, fromLot, n, 1, 1);
    const reading = member.meter.reading(fromLot, n);
    const { encodeEnergies } = await import("@bijuli/protocol");
    const digest = await world.registry.readingDigest!({ ...reading, energies: encodeEnergies(reading.energies) });
    await world.send(signer.sign!(digest));
    const costs: bigint[] = [];
    for (const mode of [1, 2, 3, 4, 5]) {
      await world.send(signer.setMode!(mode));
      const receipt = await f.submit(CONSUMERS, fromLot, records, 1);
      assert.deepEqual(refusals(receipt), [[member.meter.meterId, REFUSAL.badSignature]], `mode ${mode}`);
      costs.push(receipt.gasUsed);
    }
    assert.ok(
      costs.every((gas) => gas < 300_000n),
      `${costs}`,
    );
    await world.send(signer.setMode!(0));
    assert.deepEqual(refusals(await f.submit(CONSUMERS, fromLot, f.records(CONSUMERS, fromLot, n))), []);
  });

  test("a hostile operator that answers at once, replays, forges, sends garbage or too little gas changes nothing", async () => {
    const f = feeder("hostile");
    const hostile = await deployFixture(
      world.regulator,
      "attackers/HostileOperator",
      world.book.market,
      world.book.link,
    );
    const address = await hostile.getAddress();
    await world.send(world.market.setOperators!(f.id, [{ operator: address, specId: SPEC_ID, payment: ETHER / 10n }]));
    const lot = FIRST_LOT;
    for (const at of [lot, lot + 1n]) f.measure(at, [4_000_000n], 3_900_000n, [900_000n, 800_000n, 700_000n, 600_000n]);
    await world.send(hostile.planReopen!(f.id, lot));
    // calls back inside transferAndCall with the plant's true reading: everything is in place, so it clears
    await world.send(hostile.plan!(f.records(PLANT, lot, 1), true, 0n));
    const opening = await f.open(lot);
    assert.equal(world.events(opening, "LotsOpened").length, 1);
    assert.equal(world.events(opening, "PlantCleared").length, 1);
    assert.equal(await hostile.requestCount!(), 3n);
    assert.equal(await hostile.fulfilled!(), 3n);
    const funds = (await world.market.feederOf!(f.id)).link;
    // replays are not let in
    for (let i = 0n; i < 3n; i++) await world.send(hostile.fulfil!(await hostile.requests!(i)));
    assert.equal(await hostile.fulfilled!(), 3n);
    const supply = await world.token.totalSupply!();
    await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
    await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1));
    assert.equal(supply, 4_000_000n * 10n ** 11n);
    assert.equal(await world.token.totalSupply!(), 0n);
    assert.equal((await world.market.feederOf!(f.id)).link, funds);

    // garbage of every length, and callbacks with too little gas: nothing is half done
    await world.send(hostile.planReopen!(f.id, 0n));
    await world.send(hostile.plan!("0x", false, 0n));
    await f.open(lot + 1n);
    const garbage = [
      "0x",
      "0x00",
      "0xffff",
      `0x${"00".repeat(700)}`,
      `0x0001${"11".repeat(88)}`,
      `0x${"ff".repeat(20_000)}`,
    ];
    for (const [i, answer] of garbage.entries()) {
      await world.send(hostile.plan!(answer, false, i % 2 ? 60_000n : 0n));
      const requestId = await hostile.requests!(3n + BigInt(i % 3));
      await world.send(hostile.fulfil!(requestId, { gasLimit: 12_000_000n }));
    }
    await f.submit(PLANT, lot + 1n, f.records(PLANT, lot + 1n, 1));
    await f.submit(DISTRIBUTOR, lot + 1n, f.records(DISTRIBUTOR, lot + 1n, 1));
    await f.submit(CONSUMERS, lot + 1n, f.records(CONSUMERS, lot + 1n, 1));
    assert.equal((await world.market.clearingOf!(f.id, lot + 1n)).stage, 3n);

    // it keeps the LINK it was paid and no more: cancelling counts what arrives
    const linkBefore = (await world.market.feederOf!(f.id)).link;
    await world.send(hostile.planCancel!(f.id, true));
    f.measure(lot + 2n, [1n], 1n, [0n, 0n, 0n, 0n]);
    await world.send(hostile.plan!("0x", false, 0n));
    await f.open(lot + 2n);
    const last = await hostile.requests!((await hostile.requestCount!()) - 1n);
    await world.send(world.market.cancelRequest!(last, ETHER / 10n, 0n));
    assert.equal((await world.market.feederOf!(f.id)).link, linkBefore - (3n * ETHER) / 10n);
  });
});
