import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeEnergies, type Hex, MISSING_RECORD } from "@bijuli/protocol";
import { concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  type Member,
  PLANT,
  type TestFeeder,
  World,
} from "../../contracts/test/support/feeder.ts";
import { Random } from "../../contracts/test/support/random.ts";
import { collectBill, type Rpc, verifyBill } from "../src/evidence/index.ts";

/*
 * Bills of every role out of a run in which everything happens: estimates, corrections, a consumer that is late, arrears
 * with several creditors, energy above capacity, several lots a clearing. Each must hold with nothing but the registry's
 * address and a block's hash.
 */
describe("bills of feeders to which everything happens", () => {
  let world: World;
  let rpc: Rpc;
  const feeders: TestFeeder[] = [];
  const plants = [30n * 10n ** 12n, 44_000_000_000_001n];

  before(async () => {
    world = await World.create();
    rpc = (method, params) => world.chain.ethers.provider.send(method, [...params]);
    feeders.push(await world.feeder({ name: "rich", plants, consumers: 3, capacity: 3_000_000n }));
    feeders.push(await world.feeder({ name: "poor", plants, consumers: 3, deposit: 10n ** 12n }));
    feeders.push(
      await world.feeder({ name: "batched", plants, consumers: 3, deposit: 10n ** 13n, terms: { lotsPerClearing: 6 } }),
    );
    const random = new Random("evidence");
    for (const feeder of feeders) await run(feeder, random);
  });
  after(() => world.close());

  async function run(f: TestFeeder, random: Random): Promise<void> {
    const step = f.terms.lotsPerClearing;
    let behind = 0;
    for (let k = 0; k < 4; k++) {
      const lot = FIRST_LOT + BigInt((k + 1) * step - 1);
      for (let at = lot - BigInt(step - 1); at <= lot; at++) {
        const sent = plants.map(() => random.below(3_500_000n));
        const used = f.consumers.map(() => random.below((sent[0]! + sent[1]!) / 3n + 1n));
        f.measure(at, sent, ((sent[0]! + sent[1]!) * 92n) / 100n, used);
      }
      const opening = await f.open(lot);
      const reach = step * (behind + 1);
      if (k === 1) {
        await f.submit(PLANT, lot, f.records(PLANT, lot, step, 0, 1));
        await world.after(lot, 3_600n);
        const guess = encodeEnergies(Array.from({ length: step }, () => random.below(2_000_000n)));
        await world.send(world.market.estimate!(f.id, lot, PLANT, 1, guess));
        behind = 1;
      } else {
        const records = concat([f.records(PLANT, lot, step, 0, 1), f.plants[1]!.meter.record(lot, reach)]) as Hex;
        await f.fulfil(opening, PLANT, records);
        behind = 0;
      }
      if (k === 2) {
        await world.after(lot, 7_200n);
        await world.send(world.market.abandon!(f.id, lot, DISTRIBUTOR));
      } else {
        await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, k === 3 ? 2 * step : step));
      }
      const last = f.consumers.length - 1;
      const answer = f.consumers.map(({ meter }, i) =>
        i === last ? (k === 3 ? meter.record(lot, 4 * step) : MISSING_RECORD) : meter.record(lot, step),
      );
      await f.fulfil(opening, CONSUMERS, concat(answer) as Hex);
      const member = random.pick([f.distributor, ...f.consumers]);
      await world.send(world.market.deposit!(member.account, { value: random.below(10n ** 14n) + 1n }));
      await world.send(world.market.collect!(f.distributor.account, f.plants[0]!.account));
    }
  }

  async function check(feeder: TestFeeder, member: Member, first: number, last: number): Promise<void> {
    const step = BigInt(feeder.terms.lotsPerClearing);
    const query = {
      registry: world.book.registry as Hex,
      account: Number(member.account),
      from: FIRST_LOT + BigInt(first) * step,
      to: FIRST_LOT + (BigInt(last) + 1n) * step - 1n,
    };
    const { file, bill } = await collectBill(rpc, query);
    const { blockHash } = file;
    const verdict = await verifyBill(JSON.parse(JSON.stringify(file)), { registry: query.registry, blockHash });
    assert.ok(verdict.holds, verdict.holds ? "" : verdict.first);
    assert.equal(bill.lots.length, (last - first + 1) * Number(step));
    for (const { consumers, plants: parts, sent } of bill.lots) {
      assert.equal(
        sent,
        parts.reduce((sum, { energy }) => sum + energy, 0n),
      );
      for (const { energy, origin } of consumers) {
        if (sent > 0n)
          assert.equal(
            energy,
            origin.reduce((sum, share) => sum + share.energy, 0n),
          );
      }
    }
  }

  for (const [f, name] of ["rich", "poor", "batched"].entries()) {
    test(`${name}: each consumer's, over all lots and over some`, async () => {
      const { consumers } = feeders[f]!;
      for (const consumer of consumers) await check(feeders[f]!, consumer, 0, 3);
      await check(feeders[f]!, consumers[0]!, 1, 2);
      await check(feeders[f]!, consumers[2]!, 1, 1);
    });
    test(`${name}: each plant's`, async () => {
      for (const plant of feeders[f]!.plants) await check(feeders[f]!, plant, 0, 3);
      await check(feeders[f]!, feeders[f]!.plants[1]!, 2, 3);
    });
    test(`${name}: the distributor's`, async () => {
      await check(feeders[f]!, feeders[f]!.distributor, 0, 3);
      await check(feeders[f]!, feeders[f]!.distributor, 1, 2);
    });
  }
});
