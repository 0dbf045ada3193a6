import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Hex, loadSettings } from "@bijuli/protocol";
import pino from "pino";
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
} from "../../contracts/test/support/feeder.ts";
import { chargedLots, collectBill, type Rpc, verifyBill } from "../src/evidence/index.ts";
import { checkLot } from "../src/page/verify.ts";
import { Follower } from "../src/server/follower.ts";
import { Projection } from "../src/server/projection.ts";
import { Queries } from "../src/server/queries.ts";
import { Rpc as RpcClient } from "../src/server/rpc.ts";
import { dashboardSettings } from "../src/server/settings.ts";
import type { StatusJson } from "../src/server/shapes.ts";
import { Store } from "../src/server/store.ts";
import { serveRpc } from "./support/rpc-server.ts";

const UNIT = 1_000_000n;

/*
 * A feeder whose members come and go: a consumer moves out, and another brings the same meter before the last lots of the
 * first are cleared; one comes whose meter was registered long before; one gets two new meters; a meter's capacity is set
 * anew; the distributor changes.
 */
describe("members who come and go", () => {
  let world: World;
  let feeder: TestFeeder;
  let node: Awaited<ReturnType<typeof serveRpc>>;
  let rpc: Rpc;
  let store: Store;
  let queries: Queries;
  let old: Member;
  let next: Member;
  let late: Member;
  let first: Member;
  const LAST = FIRST_LOT + 5n;
  const LEFT = FIRST_LOT + 3n;

  before(async () => {
    world = await World.create();
    rpc = (method, params) => world.chain.ethers.provider.send(method, [...params]);
    node = await serveRpc(rpc);
    feeder = await world.feeder({
      name: "valley",
      plants: [30n * 10n ** 12n],
      consumers: 3,
      terms: { reserve: ETHER },
      deposit: ETHER,
    });
    old = feeder.consumers[0]!;
    first = feeder.distributor;
    const meter = world.meter("valley, registered early");
    await world.register(meter);
    const [, , owner, other] = world.owners.slice(-4);
    late = { meter, owner: owner!, account: await world.join(feeder.id, meter, CONSUMERS, owner!, ANY_PRICE, ETHER) };
    for (let lot = FIRST_LOT; lot <= LAST; lot++) {
      feeder.distributor.meter.energies.set(lot, 9n * UNIT);
      feeder.plants[0]!.meter.energies.set(lot, 10n * UNIT);
      for (const one of [old.meter, feeder.consumers[1]!.meter, meter]) one.energies.set(lot, 2n * UNIT);
    }
    await feeder.clear(FIRST_LOT, 1);
    const often = feeder.consumers[2]!;
    const replace = async (serial: string, from: bigint) => {
      const other = world.meter(serial, 1_000n, from);
      for (let lot = from; lot <= LAST; lot++) other.energies.set(lot, UNIT);
      await world.register(other);
      await world.send(world.market.replaceMeter!(often.account, other.meterId, from));
      return other;
    };
    const replaced = await replace("valley, second meter", LEFT - 1n);
    await feeder.open(FIRST_LOT + 1n);
    await feeder.open(LEFT - 1n);
    // All that changes is announced while earlier lots are open: they are cleared afterwards.
    const left = await world.send((world.market.connect(old.owner) as typeof world.market).leave!(old.account));
    assert.equal(world.events(left, "Left")[0]!.args.fromLot, LEFT + 1n);
    const account = await world.join(feeder.id, old.meter, CONSUMERS, other!, ANY_PRICE, ETHER);
    next = { meter: old.meter, owner: other!, account };
    await world.send(world.market.listConsumers!(feeder.id, LEFT + 1n, [next.account, late.account]));
    await world.send(world.registry.setCapacity!(feeder.consumers[1]!.meter.meterId, UNIT, LEFT + 1n));
    const distributor = world.meter("valley, another distributor", 0n, FIRST_LOT);
    for (let lot = FIRST_LOT; lot <= LAST; lot++) distributor.energies.set(lot, 9n * UNIT);
    await world.register(distributor);
    const second = await world.join(feeder.id, distributor, DISTRIBUTOR, first.owner, ANY_PRICE, ETHER);
    await world.send(
      world.market.setCharter!(feeder.id, LAST, feeder.terms, second, [
        { account: feeder.plants[0]!.account, pricePerKWh: feeder.prices[0] },
      ]),
    );
    const clear = async (lot: bigint, consumers: Member[], supplier: Member) => {
      const records = (members: Member[]): Hex =>
        `0x${members.map(({ meter: one }) => one.record(lot, 1).slice(2)).join("")}`;
      await feeder.submit(PLANT, lot, records(feeder.plants));
      await feeder.submit(DISTRIBUTOR, lot, records([supplier]));
      await feeder.submit(CONSUMERS, lot, records(consumers));
    };
    const before = [...feeder.consumers];
    await clear(FIRST_LOT + 1n, before, first);
    often.meter = replaced;
    await clear(LEFT - 1n, before, first);
    await feeder.open(LEFT);
    await clear(LEFT, before, first);
    const third = await replace("valley, third meter", LAST);
    for (let lot = LEFT + 1n; lot <= LAST; lot++) {
      await feeder.open(lot);
      if (lot === LAST) often.meter = third;
      await clear(
        lot,
        [often, feeder.consumers[1]!, next, late],
        lot < LAST ? first : { ...first, meter: distributor },
      );
    }

    store = new Store(undefined);
    const projection = new Projection(store, { lotSeconds: 300, unaccountedBps: 300 });
    queries = new Queries(store, 300);
    const follower = new Follower({
      rpc: new RpcClient([node.url], 5_000),
      store,
      projection,
      chainId: BigInt(world.book.chainId),
      addresses: [world.book.market as Hex, world.book.registry as Hex],
      startBlock: 0,
      reorgDepth: 64,
      logRange: 2_000,
      pollMs: 1_000,
      log: pino({ level: "silent" }),
      onChange: () => {},
    });
    await follower.step();
  });
  after(async () => {
    store?.close();
    node?.close();
    await world?.close();
  });

  test("every lot holds in the browser: each meter once, with the capacity and the account of that lot", () => {
    const status = {
      chainId: String(world.book.chainId),
      registry: world.book.registry,
      lotSeconds: 300,
    } as StatusJson;
    for (let lot = FIRST_LOT; lot <= LAST; lot++) {
      const detail = queries.lot(feeder.id, lot)!;
      const check = checkLot(detail, status);
      assert.deepEqual(
        [...check.findings, ...check.parts.flatMap(({ findings }) => findings)].filter(({ holds }) => !holds),
        [],
        `lot ${lot}`,
      );
      const tenant = detail.parts.filter(({ meter }) => meter === old.meter.meterId);
      assert.deepEqual(
        tenant.map(({ account }) => account),
        [Number((lot <= LEFT ? old : next).account)],
      );
    }
    const capped = queries
      .lot(feeder.id, LAST)!
      .parts.find(({ meter }) => meter === feeder.consumers[1]!.meter.meterId);
    assert.deepEqual([capped?.capacity, capped?.energy], [`${UNIT}`, `${UNIT}`]);
    assert.equal(queries.feeder(feeder.id)!.newest?.consumersCharged !== "0", true);
  });

  test("each account's statement and days are its own, and add up to what it has", async () => {
    for (const { account } of queries.accounts(0, 100).items) {
      const shown = queries.account(account, undefined, 200)!;
      assert.equal(shown.balance, String(await world.market.balanceOf!(account)));
      const sum = shown.entries.reduce((total, { amount }) => total + BigInt(amount), 0n);
      assert.equal(sum.toString(), shown.balance, `account ${account}`);
    }
    const [gone, came] = [old, next].map(({ account }) => queries.account(Number(account), undefined, 200)!);
    assert.deepEqual([gone!.firstLot, gone!.newestLot], [`${FIRST_LOT}`, `${LEFT}`]);
    assert.deepEqual([came!.firstLot, came!.newestLot], [`${LEFT + 1n}`, `${LAST}`]);
    assert.equal(
      gone!.days.reduce((lots, day) => lots + day.lots, 0),
      4,
    );
    assert.equal(
      came!.days.reduce((lots, day) => lots + day.lots, 0),
      2,
    );
    const rows = queries.meters().filter(({ meter }) => meter === old.meter.meterId);
    assert.deepEqual(
      rows.map(({ account }) => account),
      [Number(next.account)],
      "a meter is listed once",
    );
  });

  test("a reserve that is not kept raises an alarm in its own feeder", () => {
    const low = queries.alarms({ feeder: feeder.id, kind: "reserve-low", severity: 1, before: undefined, limit: 200 });
    assert.ok(low.items.some(({ detail }) => detail.account === Number(old.account)));
  });

  test("bills of who left, who came, who has the third meter, and both distributors hold", async () => {
    const registry = world.book.registry.toLowerCase() as Hex;
    const second = Number(queries.lot(feeder.id, LAST)!.parts.find(({ role }) => role === "distributor")!.account);
    const expected: [number, bigint, bigint][] = [
      [Number(old.account), FIRST_LOT, LEFT],
      [Number(next.account), LEFT + 1n, LAST],
      [Number(late.account), LEFT + 1n, LAST],
      [Number(feeder.consumers[2]!.account), FIRST_LOT, LAST],
      [Number(first.account), FIRST_LOT, LAST - 1n],
      [second, LAST, LAST],
    ];
    for (const [account, from, to] of expected) {
      const charged = await chargedLots(rpc, registry, account);
      assert.deepEqual([charged.first, charged.last], [from, to], `account ${account}`);
      const { file } = await collectBill(rpc, { registry, account, from, to });
      const verdict = await verifyBill(JSON.parse(JSON.stringify(file)), { registry, blockHash: file.blockHash });
      assert.ok(verdict.holds, verdict.holds ? "" : `account ${account}: ${verdict.first}`);
    }
  });

  test("settings name an endpoint that is none without telling it", () => {
    assert.throws(
      () => loadSettings(dashboardSettings, { RPC_URL: "rpc.example/SECRET", MARKET_ADDRESS: world.book.market }),
      (error: Error) => /RPC_URL/.test(error.message) && !/SECRET/.test(error.message),
    );
  });
});
