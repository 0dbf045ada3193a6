import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { AbiCoder, type ContractTransactionReceipt, getBytes, hexlify, keccak256 } from "ethers";
import { CONSUMERS, DISTRIBUTOR, ETHER, FIRST_LOT, PLANT, SPEC_ID, type TestFeeder, World } from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

/** Chainlink's CBOR, as far as the market writes it: text keys; bytes, text and unsigned numbers as values. */
function decodeCbor(hex: string): Record<string, unknown> {
  const bytes = getBytes(hex);
  let at = 0;
  const item = (): unknown => {
    const head = bytes[at++]!;
    const info = head & 31;
    const width = info < 24 ? 0 : 1 << (info - 24);
    let value = BigInt(info);
    if (width > 0) {
      value = BigInt(hexlify(bytes.slice(at, at + width)));
      assert.ok(value >= [24n, 2n ** 8n, 2n ** 16n, 2n ** 32n][info - 24]!, "shortest form");
      at += width;
    }
    if (head >> 5 === 0) return value;
    const part = bytes.slice(at, at + Number(value));
    at += Number(value);
    return head >> 5 === 2 ? hexlify(part) : new TextDecoder().decode(part);
  };
  const map: Record<string, unknown> = {};
  while (at < bytes.length) map[item() as string] = item();
  return map;
}

describe("openings and requests", () => {
  let world: World;
  const feeders = new Map<string, TestFeeder>();
  before(async () => {
    world = await World.create();
    feeders.set("plain", await world.feeder({ name: "plain", consumers: 2 }));
    feeders.set(
      "large",
      await world.feeder({ name: "large", consumers: 20, terms: { lotsPerClearing: 288, tokensPerConsumer: false } }),
    );
    feeders.set("broke", await world.feeder({ name: "broke", link: ETHER / 4n }));
    feeders.set("again", await world.feeder({ name: "again" }));
    feeders.set("alone", await world.feeder({ name: "alone", operators: false, link: 0n }));
    feeders.set("terms", await world.feeder({ name: "terms" }));
    feeders.set("lagging", await world.feeder({ name: "lagging", consumers: 3 }));
    feeders.set("upkeep", await world.feeder({ name: "upkeep", terms: { openDelay: 60 } }));
  });
  after(() => world.close());

  const asked = (receipt: ContractTransactionReceipt) =>
    receipt.logs
      .flatMap((log) => world.operator.interface.parseLog(log) ?? [])
      .filter((e) => e.name === "OracleRequest");
  const stages = (receipt: ContractTransactionReceipt) =>
    world.events(receipt, "StageRequested").map(({ args }) => args);
  const link = async (f: TestFeeder): Promise<bigint> => (await world.market.feederOf!(f.id)).link;

  test("one request a stage, in order, each with what an adapter needs, paid from the feeder's LINK", async () => {
    const f = feeders.get("plain")!;
    const before = await link(f);
    const receipt = await f.open(FIRST_LOT);
    assert.deepEqual(
      stages(receipt).map((a) => [a.stage, a.first, a.count]),
      [
        [0n, 0n, 1n],
        [1n, 0n, 1n],
        [2n, 0n, 2n],
      ],
    );
    const data = asked(receipt).map(({ args }) => decodeCbor(args.data));
    assert.deepEqual(data[2], {
      feeder: f.id,
      lot: FIRST_LOT,
      lots: 1n,
      stage: "consumers",
      meters: `0x${f.consumers.map(({ meter }) => meter.meterId.slice(2)).join("")}`,
    });
    assert.deepEqual(
      data.map(({ stage }) => stage),
      ["plant", "distributor", "consumers"],
    );
    assert.deepEqual(
      asked(receipt).map(({ args }) => args.requestId),
      stages(receipt).map((a) => a.requestId),
    );
    assert.equal(asked(receipt)[0]!.args.specId, SPEC_ID);
    assert.equal(before - (await link(f)), (3n * ETHER) / 10n);
    await refused(world.market.openLots!(f.id, FIRST_LOT), "NothingToOpen");
    await refused(world.market.openLots!(f.id, FIRST_LOT - 1n), "NothingToOpen");
  });

  test("pages hold what an answer of 32,768 bytes can, and what does not fit the gas follows", async () => {
    const f = feeders.get("large")!;
    const lot = FIRST_LOT + 287n;
    await refused(world.market.openLots!(f.id, lot), "LotNotOver", lot);
    await world.after(lot);
    await refused(world.market.openLots!(f.id, lot - 1n), "TooFewLots", 287n, 288n);
    const first = await world.send(world.market.openLots!(f.id, lot, { gasLimit: 700_000n }));
    const some = stages(first).length;
    assert.ok(some > 0 && some < 5);
    assert.equal(
      (await world.market.checkUpkeep!(AbiCoder.defaultAbiCoder().encode(["bytes32"], [f.id]))).needed,
      true,
    );
    const rest = await f.open(lot);
    const all = [...stages(first), ...stages(rest)].map((a) => [Number(a.stage), Number(a.first), Number(a.count)]);
    assert.deepEqual(all, [
      [PLANT, 0, 1],
      [DISTRIBUTOR, 0, 1],
      [CONSUMERS, 0, 8],
      [CONSUMERS, 8, 8],
      [CONSUMERS, 16, 4],
    ]);
    for (const [, , count] of all) assert.ok(2 * count! * (84 + 6 * 288) < 32_768 - 300);
    await refused(world.market.openLots!(f.id, lot), "NothingToOpen");
  });

  test("a consumer that is behind is asked for as many lots as it needs", async () => {
    const f = feeders.get("lagging")!;
    for (let i = 0n; i < 5n; i++) {
      const lot = FIRST_LOT + i;
      f.measure(lot, [1_000n], 900n, [1n, 2n, 3n]);
      const receipt = await f.open(lot);
      assert.equal(decodeCbor(asked(receipt)[2]!.args.data).lots, i + 1n);
      await f.submit(PLANT, lot, f.records(PLANT, lot, 1));
      await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
      await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 1, 0, 2));
    }
    const lot = FIRST_LOT + 4n;
    await f.submit(CONSUMERS, lot, f.records(CONSUMERS, lot, 5, 2, 1), 2);
    const receipt = await f.open(lot + 1n);
    assert.equal(decodeCbor(asked(receipt)[2]!.args.data).lots, 1n);
  });

  test("a feeder whose LINK does not suffice is not opened, and nothing changes", async () => {
    const f = feeders.get("broke")!;
    await world.after(FIRST_LOT);
    await refused(
      world.market.openLots!(f.id, FIRST_LOT, { gasLimit: 10_000_000n }),
      "LinkTooLow",
      f.id,
      ETHER / 4n,
      (3n * ETHER) / 10n,
    );
    assert.equal((await world.market.feederOf!(f.id)).openedLot, FIRST_LOT - 1n);
    await refused(world.market.onTokenTransfer!(world.regulator.address, 1n, f.id), "NotToken");
    await refused(world.market.withdrawLink!(f.id, world.regulator.address, ETHER), "LinkTooLow");
    await world.send(world.market.withdrawLink!(f.id, world.regulator.address, ETHER / 4n));
    assert.equal(await link(f), 0n);
  });

  test("a feeder without an oracle is opened without requests", async () => {
    const f = feeders.get("alone")!;
    f.measure(FIRST_LOT, [10n], 9n, [8n]);
    const receipts = await f.clear(FIRST_LOT, 1);
    assert.equal(asked(receipts[0]!).length, 0);
    assert.equal((await world.market.clearingOf!(f.id, FIRST_LOT)).stage, 3n);
  });

  test("a request not served in time is repeated with the next operator; beyond the free ones the caller pays", async () => {
    const { market, book } = world;
    const f = feeders.get("again")!;
    const second = { operator: book.operator, specId: `0x${"22".repeat(32)}`, payment: ETHER / 5n };
    await world.send(
      market.setOperators!(f.id, [{ operator: book.operator, specId: SPEC_ID, payment: ETHER / 10n }, second]),
    );
    f.measure(FIRST_LOT, [10n], 9n, [8n]);
    await refused(market.requestStage!(f.id, FIRST_LOT, PLANT, 0), "UnknownClearing");
    const opening = await f.open(FIRST_LOT);
    const repeat = (who = world.regulator) =>
      market.connect(who).getFunction("requestStage")(f.id, FIRST_LOT, PLANT, 0);
    await refused(repeat(), "RepeatTooEarly");
    await refused(market.requestStage!(f.id, FIRST_LOT, PLANT, 1), "PageOutOfRange", 1n, 1n);
    let before = await link(f);
    for (let i = 0; i < 3; i++) {
      await world.chain.helpers.time.increase(121);
      const receipt = await world.send(repeat());
      assert.equal(asked(receipt)[0]!.args.specId, i % 2 === 0 ? second.specId : SPEC_ID);
    }
    assert.equal(before - (await link(f)), ETHER / 2n);
    before = await link(f);
    await world.chain.helpers.time.increase(121);
    const caller = world.owners[8]!;
    await assert.rejects(repeat(caller));
    await world.send(world.link.transfer!(caller.address, ETHER));
    await world.send(world.link.connect(caller).getFunction("approve")(book.market, ETHER));
    await world.send(repeat(caller));
    assert.equal(await link(f), before);
    assert.equal(await world.link.balanceOf!(caller.address), ETHER - ETHER / 10n);

    // the first request expired: its LINK comes back, and its answer is not taken any more
    const request = asked(opening)[0]!.args;
    await world.chain.helpers.time.increase(301);
    await world.send(market.cancelRequest!(request.requestId, request.payment, request.cancelExpiration));
    assert.equal(await link(f), before + ETHER / 10n);
    await refused(
      market.cancelRequest!(request.requestId, request.payment, request.cancelExpiration),
      "UnknownRequest",
    );
    assert.equal(
      (await market.pendingRequest!(request.requestId)).operator,
      "0x0000000000000000000000000000000000000000",
    );
    await f.submit(PLANT, FIRST_LOT, f.records(PLANT, FIRST_LOT, 1));
    await world.chain.helpers.time.increase(121);
    await refused(repeat(), "NothingToRequest");
    await refused(market.fulfill!(asked(opening)[1]!.args.requestId, "0x"), "NotTheOperatorAsked");
  });

  test("Automation opens what is over, and only then", async () => {
    const { market } = world;
    const f = feeders.get("upkeep")!;
    const data = AbiCoder.defaultAbiCoder().encode(["bytes32"], [f.id]);
    const [lot, notBefore] = await market.nextOpening!(f.id);
    assert.deepEqual([lot, notBefore], [FIRST_LOT, (FIRST_LOT + 1n) * 300n + 60n]);
    const { needed, performData } = await market.checkUpkeep!(data);
    assert.equal(needed, BigInt(await world.chain.helpers.time.latest()) >= notBefore);
    await world.after(FIRST_LOT, 60n);
    const receipt = await world.send(market.performUpkeep!(performData, { gasLimit: 5_000_000n }));
    assert.equal(world.events(receipt, "LotsOpened")[0]!.args.lot, FIRST_LOT);
    await world.send(market.pauseOpenings!(f.id, true));
    assert.equal((await market.checkUpkeep!(data)).needed, false);
    await refused(market.openLots!(f.id, FIRST_LOT + 1n), "OpeningsArePaused");
  });

  test("terms change for lots not yet begun, and a clearing never spans two charters", async () => {
    const { market } = world;
    const f = feeders.get("terms")!;
    const now = BigInt(await world.chain.helpers.time.latest()) / 300n;
    await refused(market.setCharter!(f.id, now, f.terms, f.distributor.account, []), "LotBegun", now, now + 1n);
    await refused(market.setCharter!(f.id, now + 10_000n, f.terms, f.distributor.account, []), "TooFarAhead");
    await f.charter(now + 3n, { prices: [50n * 10n ** 12n] });
    await refused(f.charter(now + 2n), "OutOfOrder", now + 2n, now + 3n);
    const last = now + 5n;
    for (let lot = FIRST_LOT; lot <= last; lot++) f.measure(lot, [1_000_000n], 900_000n, [900_000n]);
    await world.after(last);
    await refused(market.openLots!(f.id, last), "LotBeyondCharter", last, now + 2n);
    await f.clear(now + 2n, Number(now + 3n - FIRST_LOT));
    await f.clear(last, 3);
    const [before, after] = [await market.pricePerKWh!(f.id, now + 2n), await market.pricePerKWh!(f.id, now + 3n)];
    assert.equal((before * 50n) / 33n / 10n ** 6n, after / 10n ** 6n);
    await refused(market.pricePerKWh!(f.id, last + 1n), "UnknownClearing");
  });

  test("a feeder's 4,194,304 charters end in an error of their own, and nothing breaks", async () => {
    const { provider } = world.chain.ethers;
    const { market } = world;
    const f = feeders.get("alone")!;
    const coder = AbiCoder.defaultAbiCoder();
    const mapped = (key: string | bigint, type: string, base: number) =>
      keccak256(coder.encode([type, "uint256"], [key, base]));
    const { openedLot } = await market.feederOf!(f.id);
    const read = async (slot: string) => BigInt(await provider.getStorage(world.book.market, slot));
    let base = 0;
    while (((await read(mapped(f.id, "bytes32", base))) & (2n ** 40n - 1n)) !== openedLot) base++;
    // as if it had been changed that often: the newest charter stands under the highest number
    const slot = mapped(f.id, "bytes32", base);
    const number = (await read(`0x${(BigInt(slot) + 1n).toString(16).padStart(64, "0")}`)) >> 160n;
    const most = 2n ** 22n;
    const count = ((await read(slot)) >> 104n) & 0xffffffn;
    const ref = (index: bigint) => mapped((number << 24n) | index, "uint256", base + 2);
    const put = (at: string, value: bigint) =>
      provider.send("hardhat_setStorageAt", [world.book.market, at, `0x${value.toString(16).padStart(64, "0")}`]);
    await put(ref(most - 1n), await read(ref(count - 1n)));
    await put(slot, ((await read(slot)) & ~(0xffffffn << 104n)) | (most << 104n));
    const from = BigInt(await world.chain.helpers.time.latest()) / 300n + 2n;
    const before = await read(slot);
    await refused(f.charter(from), "TooManyCharters", f.id, most);
    assert.equal(await read(slot), before);
  });
});
