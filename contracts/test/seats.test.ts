import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Contract, ContractTransactionReceipt } from "ethers";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, SPEC_ID, type TestFeeder, World } from "./support/feeder.ts";
import { deployFixture } from "./support/fixture.ts";
import { refused } from "./support/refused.ts";

const PAYMENT = ETHER / 10n;

describe("an operator that does not take requests stops nobody", () => {
  let world: World;
  let refusing: string;
  let burning: string;
  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    world = await World.create();
    for (const name of ["next", "nobody", "repeat", "payer", "poor"]) {
      feeders.set(name, await world.feeder({ name, link: 3n * ETHER }));
    }
    feeders.set("burning", await world.feeder({ name: "burning", consumers: 3 }));
    const of = async (name: string) => (await deployFixture(world.regulator, `attackers/${name}`)).getAddress();
    refusing = await of("RefusingOperator");
    burning = await of("BurningOperator");
  });
  after(() => world.close());

  const seat = (operator: string, payment = PAYMENT) => ({ operator, specId: SPEC_ID, payment });
  const seats = (f: TestFeeder, ...operators: ReturnType<typeof seat>[]) =>
    world.send(world.market.setOperators!(f.id, operators));
  const link = async (f: TestFeeder): Promise<bigint> => (await world.market.feederOf!(f.id)).link;
  const said = (receipt: ContractTransactionReceipt, name: string) =>
    world.events(receipt, name).map(({ args }) => args);
  const sent = (receipt: ContractTransactionReceipt) =>
    receipt.logs
      .flatMap((log) => world.operator.interface.parseLog(log) ?? [])
      .filter(({ name }) => name === "OracleRequest")
      .map(({ args }) => args);

  test("the next operator is asked in the same transaction, under the same id, at its own price", async () => {
    const f = feeders.get("next")!;
    await seats(f, seat(refusing, PAYMENT * 2n), seat(world.book.operator));
    f.measure(FIRST_LOT, [10n], 9n, [8n]);
    const receipt = await f.open(FIRST_LOT);
    const [first, ...others] = said(receipt, "RequestRefused");
    assert.deepEqual([first!.operator, first!.stage, others.length], [refusing, 0n, 0]);
    assert.deepEqual(
      said(receipt, "StageRequested").map(({ stage, operator }) => [stage, operator]),
      [
        [0n, refusing],
        [0n, world.book.operator],
        [1n, world.book.operator],
        [2n, world.book.operator],
      ],
    );
    assert.deepEqual(
      sent(receipt).map(({ requestId }) => requestId),
      said(receipt, "StageRequested")
        .slice(1)
        .map(({ requestId }) => requestId),
    );
    assert.equal(first!.requestId, sent(receipt)[0]!.requestId);
    assert.equal(await link(f), 3n * ETHER - 3n * PAYMENT);
    assert.equal(await world.link.balanceOf!(refusing), 0n);
    for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
      await f.fulfil(receipt, stage, f.records(stage, FIRST_LOT, 1));
    }
    assert.equal((await world.market.clearingOf!(f.id, FIRST_LOT)).stage, 3n);
  });

  test("where nobody takes them the lots open all the same, no LINK is spent, and each page can be repeated", async () => {
    const f = feeders.get("nobody")!;
    await seats(f, seat(refusing), seat(refusing));
    const receipt = await f.open(FIRST_LOT);
    assert.equal(said(receipt, "LotsOpened").length, 1);
    assert.equal(sent(receipt).length, 0);
    const none = "0x0000000000000000000000000000000000000000";
    assert.deepEqual(
      said(receipt, "RequestRefused").map(({ stage, operator }) => [stage, operator]),
      [
        [0n, refusing],
        [0n, refusing],
        [0n, none],
        [1n, none],
        [2n, none],
      ],
    );
    assert.equal(await link(f), 3n * ETHER);
    const { requestId } = said(receipt, "RequestRefused")[0]!;
    assert.equal((await world.market.pendingRequest!(requestId)).operator, none);
    await refused(world.market.requestStage!(f.id, FIRST_LOT, PLANT, 0), "RepeatTooEarly");
    await seats(f, seat(world.book.operator));
    await world.chain.helpers.time.increase(f.terms.repeatSeconds);
    for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
      assert.equal(sent(await world.send(world.market.requestStage!(f.id, FIRST_LOT, stage, 0))).length, 1);
    }
    assert.equal(await link(f), 3n * ETHER - 3n * PAYMENT);
  });

  test("a repeat goes on to the next that takes it; where nobody does, it costs nothing and is counted", async () => {
    const f = feeders.get("repeat")!;
    await f.open(FIRST_LOT);
    const before = await link(f);
    const repeat = async () => {
      await world.chain.helpers.time.increase(f.terms.repeatSeconds);
      return world.send(world.market.requestStage!(f.id, FIRST_LOT, PLANT, 0));
    };
    await seats(f, seat(world.book.operator), seat(refusing));
    assert.equal(sent(await repeat()).length, 1); // its turn was the refusing one's
    assert.equal(before - (await link(f)), PAYMENT);
    await seats(f, seat(refusing));
    assert.equal(sent(await repeat()).length, 0);
    assert.equal(before - (await link(f)), PAYMENT);
    await refused(world.market.requestStage!(f.id, FIRST_LOT, PLANT, 0), "RepeatTooEarly");
  });

  test("a repeat that its caller paid: refused or cancelled, the LINK goes back to that caller", async () => {
    const f = feeders.get("payer")!;
    const caller = world.owners[7]!;
    await world.send(world.link.transfer!(caller.address, ETHER));
    await world.send((world.link.connect(caller) as Contract).approve!(world.book.market, ETHER));
    await f.open(FIRST_LOT);
    const market = world.market.connect(caller) as Contract;
    const repeat = async () => {
      await world.chain.helpers.time.increase(f.terms.repeatSeconds);
      return world.send(market.requestStage!(f.id, FIRST_LOT, PLANT, 0));
    };
    for (let i = 0; i < f.terms.freeRepeats; i++) await repeat();
    const before = await link(f);
    await seats(f, seat(refusing));
    await repeat();
    assert.equal(await world.link.balanceOf!(caller.address), ETHER);
    await seats(f, seat(refusing), seat(world.book.operator));
    const [request] = sent(await repeat());
    assert.equal(await world.link.balanceOf!(caller.address), ETHER - PAYMENT);
    await world.chain.helpers.time.increase(301);
    const cancelled = await world.send(
      world.market.cancelRequest!(request!.requestId, request!.payment, request!.cancelExpiration),
    );
    assert.equal(await world.link.balanceOf!(caller.address), ETHER);
    assert.deepEqual([...said(cancelled, "LinkReturned")[0]!], [request!.requestId, caller.address, PAYMENT]);
    assert.equal(await link(f), before, "and the feeder has neither paid nor been paid");
  });

  test("the next one is passed over where the feeder's LINK does not suffice for it", async () => {
    const f = feeders.get("poor")!;
    await seats(f, seat(refusing), seat(world.book.operator, 4n * ETHER), seat(world.book.operator));
    const receipt = await f.open(FIRST_LOT);
    assert.equal(sent(receipt).length, 3);
    assert.equal(await link(f), 3n * ETHER - 3n * PAYMENT);
  });

  test("BurningOperator gains nothing: whatever the gas, an opening is whole or goes on later, and loses 1,000,000 gas at most", async (t) => {
    const f = feeders.get("burning")!;
    await seats(f, seat(burning), seat(world.book.operator));
    await world.after(FIRST_LOT);
    const before = await world.chain.helpers.takeSnapshot();
    let opened = 0;
    for (let gasLimit = 150_000n; gasLimit < 2_200_000n; gasLimit = (gasLimit * 21n) / 20n) {
      await before.restore();
      let requests = 0;
      let calls = 0;
      // whoever is not let in gives more
      for (let gas = gasLimit; requests < 3; calls++) {
        try {
          const receipt = await world.send(world.market.openLots!(f.id, FIRST_LOT, { gasLimit: gas }));
          const made = sent(receipt).length;
          assert.ok(made > 0, "what went through has asked somebody");
          requests += made;
        } catch (error) {
          assert.match(String(error), /TooLittleGas|out of gas|without a reason|reverted/);
          gas += 100_000n;
        }
        assert.ok(calls < 40);
      }
      opened++;
      assert.equal(await link(f), 1_000n * ETHER - 3n * PAYMENT);
      await refused(world.market.openLots!(f.id, FIRST_LOT), "NothingToOpen");
    }
    await before.restore();
    const receipt = await f.open(FIRST_LOT);
    t.diagnostic(`${opened} gas limits; with all gas at hand ${receipt.gasUsed}`);
    assert.ok(receipt.gasUsed < 1_450_000n);
    assert.equal(sent(receipt).length, 3);
  });
});
