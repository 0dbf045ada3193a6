import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ChainLog, type LatePart, Ledger, type LotStatement } from "@bijuli/dashboard/ledger";
import { encodeEnergies, type Hex, MISSING_RECORD } from "@bijuli/protocol";
import { concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  LOT_SECONDS,
  PLANT,
  type TestFeeder,
  World,
} from "../contracts/test/support/feeder.ts";
import { Random } from "../contracts/test/support/random.ts";

/**
 * An indexer that sees nothing but logs and the transactions they came with, beside the chain's own state, after a run
 * in which everything happens: estimates, corrections, silent consumers, arrears, capacity, several operators' answers.
 */
describe("the ledger, from events and their transactions alone", () => {
  let world: World;
  const feeders: TestFeeder[] = [];
  before(async () => {
    world = await World.create();
    const plants = [30n * 10n ** 12n, 44_000_000_000_001n];
    feeders.push(await world.feeder({ name: "rich", plants, consumers: 4, capacity: 3_000_000n }));
    feeders.push(
      await world.feeder({
        name: "poor",
        plants,
        consumers: 3,
        deposit: 10n ** 12n,
        terms: { tokensPerConsumer: false },
      }),
    );
    feeders.push(
      await world.feeder({ name: "batched", plants, consumers: 3, deposit: 10n ** 13n, terms: { lotsPerClearing: 6 } }),
    );
  });
  after(() => world.close());

  async function logs(): Promise<ChainLog[]> {
    const { provider } = world.chain.ethers;
    const found = await provider.getLogs({ fromBlock: 0, address: [world.book.market, world.book.registry] });
    return found.map((log) => ({
      address: log.address as Hex,
      topics: log.topics as Hex[],
      data: log.data as Hex,
      transactionHash: log.transactionHash as Hex,
      input: async () => (await provider.getTransaction(log.transactionHash))!.data as Hex,
    }));
  }

  async function run(f: TestFeeder, random: Random): Promise<void> {
    const step = f.terms.lotsPerClearing;
    let behind = 0;
    for (let k = 0; k < 4; k++) {
      const lot = FIRST_LOT + BigInt((k + 1) * step - 1);
      for (let at = lot - BigInt(step - 1); at <= lot; at++) {
        const plants = f.plants.map(() => random.below(3_500_000n));
        const sent = plants[0]! + plants[1]!;
        f.measure(
          at,
          plants,
          (sent * 92n) / 100n,
          f.consumers.map(() => random.below(sent / 3n + 1n)),
        );
      }
      const opening = await f.open(lot);
      const reach = step * (behind + 1);
      if (k === 1) {
        // a plant is silent and estimated; the other one is delivered by its oracle
        await f.submit(PLANT, lot, f.records(PLANT, lot, step, 0, 1));
        await world.after(lot, 3_600n);
        // the consumer that is behind comes too late for its first clearing
        await world.send(world.market.close!(f.id, FIRST_LOT + BigInt(step - 1)));
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
      // one consumer stays behind, another is missing in the answer
      const count = f.consumers.length;
      const answer = f.consumers.map(({ meter }, i) =>
        i === count - 1 ? (k === 3 ? meter.record(lot, 4 * step) : MISSING_RECORD) : meter.record(lot, step),
      );
      await f.fulfil(opening, CONSUMERS, concat(answer) as Hex);
      const member = random.pick([f.distributor, ...f.consumers]);
      await world.send(world.market.deposit!(member.account, { value: random.below(10n ** 14n) + 1n }));
      await world.send(world.market.collect!(f.distributor.account, f.plants[0]!.account));
      if (k === 1)
        await world
          .send(
            world.market.connect(f.plants[0]!.owner).getFunction("withdraw")(
              f.plants[0]!.account,
              f.plants[0]!.owner.address,
              1_000n,
            ),
          )
          .catch(() => {});
    }
  }

  test("rebuilds all lots, prices, bills, balances and arrears", async () => {
    const random = new Random("ledger");
    for (const feeder of feeders) await run(feeder, random);
    const late: LatePart[] = [];
    const ledger = new Ledger({ lotSeconds: LOT_SECONDS, onLate: (part) => late.push(part) });
    const statements: LotStatement[] = [];
    // in small portions, as a follower gets them
    const all = await logs();
    for (let at = 0; at < all.length; at += 7) statements.push(...(await ledger.apply(all.slice(at, at + 7))));
    assert.equal(statements.length, 4 + 4 + 24);

    for (const { feeder, lot, cleared } of statements) {
      assert.equal(cleared.pricePerKWh, await world.market.pricePerKWh!(feeder, lot), `lot ${lot}`);
    }
    // who came too late for a closed clearing stands in no statement of it, and is told of when it is charged
    const missing = statements.flatMap(({ feeder, lot, consumers }) =>
      consumers.flatMap(({ meterId, part }) => (part ? [] : [`${feeder} ${lot} ${meterId}`])),
    );
    assert.equal(missing.length, 1 + 1 + 6);
    assert.deepEqual(
      late.map(({ feeder, lot, part }) => `${feeder} ${lot} ${part.meterId}`),
      missing,
    );
    let held = 0n;
    let arrears = 0n;
    for (const feeder of feeders) {
      for (const { account, meter } of [...feeder.plants, feeder.distributor, ...feeder.consumers]) {
        const book = ledger.accounts;
        assert.equal(book.balanceOf(Number(account)), await world.market.balanceOf!(account), meter.serial);
        const { owed, pot } = await world.market.arrearsOf!(account);
        assert.deepEqual(book.arrearsOf(Number(account)), { owed, pot }, meter.serial);
        held += book.balanceOf(Number(account)) + pot;
        arrears += owed;
      }
      const [first] = feeder.consumers;
      const bill = statements
        .filter((statement) => statement.feeder === feeder.id)
        .reduce((wei, statement) => wei + (statement.consumers[0]!.part?.money ?? 0n), 0n);
      assert.ok(bill > 0n, `a bill for ${first!.meter.serial}`);
    }
    assert.ok(arrears > 0n, "the run leaves arrears");
    assert.equal(held, ledger.accounts.in - ledger.accounts.out);
    assert.equal(held, await world.chain.ethers.provider.getBalance(world.book.market));
    assert.equal(await world.token.totalSupply!(), 0n);
  });
});
