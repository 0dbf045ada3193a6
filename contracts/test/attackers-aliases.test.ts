import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { FIRST_LOT, PLANT, type TestFeeder, World } from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

/** The market keeps clearings under (feeder's number, 40 bits of lot). */
const LOT_BITS = 40n;

describe("a lot number beyond 40 bits names no other feeder's clearing", () => {
  let world: World;
  let attacker: TestFeeder;
  let victim: TestFeeder;
  let alias: bigint;
  before(async () => {
    world = await World.create();
    attacker = await world.feeder({ name: "feeder 1, without plants", plants: [] });
    await world.feeder({ name: "feeder 2" });
    victim = await world.feeder({ name: "feeder 3" });
    victim.measure(FIRST_LOT, [1_000_000n], 900_000n, [400_000n]);
    await attacker.open(FIRST_LOT);
    await victim.open(FIRST_LOT);
    alias = (3n << LOT_BITS) | FIRST_LOT;
  });
  after(() => world.close());

  test("AliasSubmitter skips no other feeder's plants: refused, and the victim's clearing stays where it is", async () => {
    await refused(attacker.submit(PLANT, alias, "0x"), "UnknownClearing", attacker.id, alias);
    assert.equal((await world.market.clearingOf!(victim.id, FIRST_LOT)).stage, 0n);
  });

  test("AliasRequester has no request sent for another feeder's clearing, and no LINK spent", async () => {
    await world.after(FIRST_LOT, 1_000n);
    const { link } = await world.market.feederOf!(attacker.id);
    await refused(
      world.send(world.market.requestStage!(attacker.id, alias, 1, 0, { gasLimit: 2_000_000n })),
      "UnknownClearing",
      attacker.id,
      alias,
    );
    assert.equal((await world.market.feederOf!(attacker.id)).link, link);
  });

  test("views of a lot beyond 40 bits know no clearing", async () => {
    await refused(world.market.clearingOf!(attacker.id, alias), "UnknownClearing", attacker.id, alias);
    await refused(world.market.membersOf!(attacker.id, alias, PLANT), "UnknownClearing", attacker.id, alias);
    await refused(world.market.pricePerKWh!(attacker.id, alias), "UnknownClearing", attacker.id, alias);
  });
});
