import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clearLot, Money } from "@bijuli/protocol";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, World } from "./support/feeder.ts";

describe("a clearing of one lot", () => {
  let world: World;
  before(async () => {
    world = await World.create();
  });
  after(() => world.close());

  test("through the Operator: prices, money and tokens are SPEC's", async () => {
    const feeder = await world.feeder({ consumers: 2 });
    feeder.measure(FIRST_LOT, [1_000_000n], 900_000n, [400_000n, 300_000n]);
    const opening = await feeder.open(FIRST_LOT);
    const gas = [opening.gasUsed];
    for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
      const receipt = await feeder.fulfil(opening, stage, feeder.records(stage, FIRST_LOT, 1));
      gas.push(receipt.gasUsed);
      assert.deepEqual(
        world.events(receipt, "ReadingRefused").map((e) => e.args.toArray()),
        [],
      );
      assert.deepEqual(
        world.events(receipt, "Deferred").map((e) => e.args.toArray()),
        [],
      );
    }
    console.log("gas", gas);
    const expected = clearLot({
      plants: [{ energy: 1_000_000n, pricePerKWh: feeder.prices[0]! }],
      received: 900_000n,
      used: [400_000n, 300_000n],
      terms: { ...feeder.terms, penaltyWaived: false },
    });
    assert.equal(await world.market.pricePerKWh!(feeder.id, FIRST_LOT), expected.pricePerKWh);
    assert.equal(await world.token.totalSupply!(), 0n);
    const paid = new Money().add(1_000_000n, feeder.prices[0]!);
    const charged = [400_000n, 300_000n].map((e) => new Money().add(e, expected.pricePerKWh));
    assert.equal(await feeder.balance(feeder.plants[0]!), paid);
    assert.equal(await feeder.balance(feeder.consumers[0]!), ETHER - charged[0]!);
    assert.equal(await feeder.balance(feeder.consumers[1]!), ETHER - charged[1]!);
    assert.equal(await feeder.balance(feeder.distributor), ETHER - paid + charged[0]! + charged[1]!);
    const clearing = await world.market.clearingOf!(feeder.id, FIRST_LOT);
    assert.equal(clearing.stage, 3n);
    assert.equal(clearing.available, expected.available);
    assert.equal(clearing.used, 700_000n);
  });
});
