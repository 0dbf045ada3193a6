import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeEnergies, type Hex } from "@bijuli/protocol";
import { AbiCoder, type Contract, id } from "ethers";
import {
  ANY_PRICE,
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  PLANT,
  SPEC_ID,
  type TestFeeder,
  World,
} from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

const NOBODY = id("nobody") as Hex;
const SOON = FIRST_LOT + 3n;

describe("what the market refuses, with the value it does not like", () => {
  let world: World;
  let f: TestFeeder;
  before(async () => {
    world = await World.create();
    f = await world.feeder({ name: "f", consumers: 2, plants: [30n * 10n ** 12n, 20n * 10n ** 12n] });
  });
  after(() => world.close());

  const seats = () => f.plants.map(({ account }, i) => ({ account, pricePerKWh: f.prices[i]! }));
  const charter = (terms: object = {}, plants: object[] = seats(), distributor = f.distributor.account) =>
    world.market.setCharter!(f.id, SOON, { ...f.terms, ...terms }, distributor, plants);

  test("feeders and charters", async () => {
    const { market } = world;
    await refused(market.createFeeder!(""), "EmptyName");
    await refused(market.createFeeder!("f"), "FeederExists", f.id);
    await refused(market.setCharter!(NOBODY, SOON, f.terms, 1, []), "UnknownFeeder", NOBODY);
    const caps: [string, number | bigint, number | bigint][] = [
      ["idealLossBps", 10_001, 10_000],
      ["serviceBps", 10_001, 10_000],
      ["penaltyBps", 1_000_001, 1_000_000],
      ["toleranceBps", 10_001, 10_000],
      ["graceSeconds", 367 * 86_400, 366 * 86_400],
      ["estimateSeconds", 367 * 86_400, 366 * 86_400],
      ["abandonSeconds", 367 * 86_400, 366 * 86_400],
      ["openDelay", 31 * 86_400, 30 * 86_400],
      ["repeatSeconds", 31 * 86_400, 30 * 86_400],
      ["freeRepeats", 17, 16],
      ["lotsPerClearing", 2_017, 2_016],
    ];
    for (const [term, value, most] of caps) await refused(charter({ [term]: value }), "TermTooHigh", term, value, most);
    await refused(charter({ lotsPerClearing: 0 }), "TermTooLow", "lotsPerClearing", 0, 1);
    await refused(charter({ repeatSeconds: 0 }), "TermTooLow", "repeatSeconds", 0, 1);
    await refused(charter({ estimateSeconds: 9, abandonSeconds: 8 }), "TermTooLow", "abandonSeconds", 8, 9);
    const [one] = seats();
    await refused(charter({}, [{ ...one, pricePerKWh: 2n ** 62n }]), "TermTooHigh", "pricePerKWh", 2n ** 62n);
    await refused(charter({}, Array(65).fill(one)), "TooManyMembers", 65, 64);
    await refused(charter({}, [one!], 0n), "PriceTooHigh");
    await refused(charter({}, [{ account: f.consumers[0]!.account, pricePerKWh: 1n }]), "WrongRole");
    await refused(charter({}, [{ account: 9_999, pricePerKWh: 1n }]), "UnknownAccount", 9_999);
    await world.send(market.createFeeder!("bare"));
    const bare = id("bare");
    await refused(market.setCharter!(bare, SOON, f.terms, 0, []), "NotChartered", bare);
    await refused(market.listConsumers!(bare, SOON, [1]), "NotChartered", bare);
    await refused(market.delistConsumers!(bare, SOON, [1]), "NotChartered", bare);
    await refused(market.listConsumers!(f.id, SOON, []), "ZeroAmount");
    await refused(market.delistConsumers!(f.id, SOON, []), "ZeroAmount");
    await refused(market.openLots!(bare, FIRST_LOT), "NotChartered", bare);
    await refused(market.nextOpening!(bare), "NotChartered", bare);
    await refused(market.lotsPerClearing!(bare), "NotChartered", bare);
    await refused(market.nextOpening!(NOBODY), "UnknownFeeder", NOBODY);
    assert.deepEqual(
      [...(await market.checkUpkeep!(AbiCoder.defaultAbiCoder().encode(["bytes32"], [bare])))].at(0),
      false,
    );
    const seat = { operator: world.owners[0]!.address, specId: SPEC_ID, payment: 1n };
    await refused(market.setOperators!(f.id, [seat]), "ZeroAddress");
    await refused(
      market.setOperators!(f.id, Array(9).fill({ ...seat, operator: world.book.operator })),
      "TooManyOperators",
      9,
      8,
    );
    for (const restricted of [
      ["createFeeder", "x"],
      ["setCharter", f.id, SOON, f.terms, 1, []],
      ["listConsumers", f.id, SOON, [1]],
      ["delistConsumers", f.id, SOON, [1]],
      ["setOperators", f.id, []],
      ["pauseOpenings", f.id, true],
      ["withdrawLink", f.id, world.book.link, 1],
      ["estimate", f.id, FIRST_LOT, PLANT, 0, "0x"],
    ] as const) {
      const [name, ...args] = restricted;
      const call = market.connect(world.owners[1]!).getFunction(name)(...args);
      await refused(
        call,
        name === "estimate" ? "AccessManagedUnauthorized" : "AccessManagedUnauthorized",
        world.owners[1]!.address,
      );
    }
  });

  test("accounts", async () => {
    const { market } = world;
    await refused(market.join!(NOBODY, NOBODY, 0, 0), "UnknownFeeder", NOBODY);
    await refused(market.join!(f.id, `0x${"00".repeat(32)}`, 0, 0), "UnknownMeter");
    await refused(market.deposit!(9_999, { value: 1n }), "UnknownAccount", 9_999);
    await refused(market.deposit!(f.distributor.account), "ZeroAmount");
    await refused(market.balanceOf!(9_999), "UnknownAccount");
    await refused(market.collect!(9_999, 1), "UnknownAccount", 9_999);
    await refused(market.collect!(1, 9_999), "UnknownAccount", 9_999);
    await world.chain.helpers.setBalance(world.regulator.address, 2n ** 97n);
    await refused(
      market.deposit!(f.distributor.account, { value: 2n ** 96n }),
      "BalanceTooHigh",
      f.distributor.account,
    );
    const stranger = await world.join(f.id, world.meter("unregistered"), CONSUMERS, world.owners[2]!, ANY_PRICE);
    await refused(market.listConsumers!(f.id, SOON, [stranger]), "UnknownMeter");
    const owner = market.connect(world.owners[2]!) as Contract;
    await refused(owner.leave!(stranger), "NotListed", stranger);
    const seen = await market.accountOf!(f.distributor.account);
    assert.deepEqual([seen.feeder, seen.role, seen.firstLot, seen.endLot], [f.id, 1n, FIRST_LOT, 0n]);
    assert.equal(await market.nextLotOf!(NOBODY), 0n);
  });

  test("openings, requests and deliveries", async () => {
    const { market } = world;
    const lot = FIRST_LOT;
    f.measure(lot, [10n, 20n], 25n, [1n, 2n]);
    f.measure(lot + 1n, [10n, 20n], 25n, [1n, 2n]);
    await refused(market.submit!(f.id, lot, PLANT, 0, "0x"), "UnknownClearing", f.id, lot);
    await refused(market.submit!(NOBODY, lot, PLANT, 0, "0x"), "UnknownFeeder", NOBODY);
    await refused(market.close!(f.id, lot), "UnknownClearing");
    await refused(market.clearingOf!(f.id, lot), "UnknownClearing");
    await refused(market.membersOf!(NOBODY, lot, PLANT), "UnknownFeeder");
    await refused(market.openLots!(f.id, lot + 3_000n), "TooManyLots", 3_001n, 2_016n);
    await f.open(lot);
    await f.open(lot + 1n);
    await refused(market.pricePerKWh!(f.id, lot), "WrongStage", f.id, lot, 0n);
    await refused(market.close!(f.id, lot), "WrongStage", f.id, lot, 0n);
    await refused(market.estimate!(f.id, lot + 1n, PLANT, 0, encodeEnergies([1n])), "NotInTurn", f.id, lot + 1n);
    await refused(market.requestStage!(f.id, lot, CONSUMERS, 1), "PageMisaligned", 1n);
    const next = await f.submit(PLANT, lot + 1n, f.records(PLANT, lot + 1n, 1));
    assert.equal(world.events(next, "Deferred")[0]!.args.reason, 1n);
    for (const stage of [PLANT, DISTRIBUTOR]) {
      // nothing at all, then a record cut short: the stage stays open, and says so
      for (const records of ["0x", `0x0001${"00".repeat(20)}`] as Hex[]) {
        const receipt = await f.submit(stage, lot, records);
        assert.equal(world.events(receipt, "Deferred")[0]!.args.reason, 3n);
      }
      await f.submit(stage, lot, f.records(stage, lot, 1));
    }
    const [plants] = await market.membersOf!(f.id, lot, PLANT);
    const [distributor] = await market.membersOf!(f.id, lot, DISTRIBUTOR);
    assert.deepEqual(
      [...plants, ...distributor],
      [...f.plants, f.distributor].map(({ meter }) => meter.meterId),
    );
    await refused(market.close!(f.id, lot), "TooEarly", lot);
    await world.chain.helpers.time.increase(121);
    await refused(market.requestStage!(f.id, lot, DISTRIBUTOR, 0), "NothingToRequest");
    await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1, 0, 1));
    // the consumers' page is not done while one of them is missing
    const again = await world.send(market.requestStage!(f.id, lot, CONSUMERS, 0));
    assert.equal(world.events(again, "StageRequested")[0]!.args.count, 2n);
    await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1, 1, 1), 1);
    await world.chain.helpers.time.increase(121);
    await refused(market.requestStage!(f.id, lot, CONSUMERS, 0), "NothingToRequest");
    await world.send(market.setOperators!(f.id, []));
    await world.chain.helpers.time.increase(121);
    await refused(market.requestStage!(f.id, lot + 1n, PLANT, 0), "NoOperator", f.id);
    await refused(market.fulfill!(NOBODY, "0x"), "NotTheOperatorAsked", NOBODY);
    assert.ok((await market.balanceOf!(f.consumers[0]!.account)) < ETHER);
  });

  test("with too little gas for all it has to catch up, a late consumer waits and keeps nobody else", async () => {
    const g = f;
    const lot = FIRST_LOT + 1n;
    await g.submit(PLANT, lot, g.records(PLANT, lot, 1));
    await g.submit(DISTRIBUTOR, lot, g.records(DISTRIBUTOR, lot, 1));
    const last = lot + 60n;
    for (let at = lot + 1n; at <= last; at++) g.measure(at, [10n, 20n], 25n, [1n, 2n]);
    await g.open(last);
    await g.submit(PLANT, last, g.records(PLANT, last, 60));
    await g.submit(DISTRIBUTOR, last, g.records(DISTRIBUTOR, last, 60));
    const late = await g.submit(CONSUMERS, last, g.records(CONSUMERS, last, 61), 0, { gasLimit: 420_000n });
    assert.equal(world.events(late, "Deferred").at(-1)?.args.reason, 2n);
    assert.equal(world.events(late, "ConsumerCleared").length, 0);
    const done = await g.submit(CONSUMERS, last, g.records(CONSUMERS, last, 61));
    assert.equal(world.events(done, "ConsumerCleared").length, 2);
    assert.equal(world.events(done, "ClearingClosed").length, 2);
    assert.equal(await world.token.totalSupply!(), 0n);
  });
});
