import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeEnergies, type Hex, lotEnd, lotOf, MISSING_RECORD } from "@bijuli/protocol";
import {
  AbiCoder,
  type Contract,
  Interface,
  type InterfaceAbi,
  id,
  keccak256,
  toUtf8Bytes,
  ZeroAddress,
  ZeroHash,
} from "ethers";
import { EnergyMarketAbi, EnergyTokenAbi, LotReadingClientAbi, MeterRegistryAbi } from "../abi/index.ts";
import {
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  LOT_SECONDS,
  PLANT,
  SPEC_ID,
  type TestFeeder,
  World,
} from "./support/feeder.ts";
import { refused } from "./support/refused.ts";

/** [what is wrong, the call, the custom error, its first arguments]; an error of two words or more is a revert string. */
type Case = [string, () => Promise<unknown>, string, ...unknown[]];

const MAX_64 = 2n ** 64n - 1n;
const MAX_40 = 2n ** 40n - 1n;
const UNKNOWN = id("no such feeder") as Hex;
const LAST = FIRST_LOT + 1n; // the clearing of two lots that stays open
const ABI = AbiCoder.defaultAbiCoder();

let world: World;
let f: TestFeeder;
let bare: Hex; // a feeder without a charter
let ended: TestFeeder; // a feeder without a distributor
let poor: TestFeeder; // a feeder without LINK, nothing of it opened
let lot: bigint; // the one that the chain's clock is in
let stranger: { address: string };
let owner: Contract; // the market, called by the consumer's owner
let nobody: Contract; // the market, called by a stranger
let left: bigint; // an account that left
let loose: bigint; // an account that is not listed
let suspended: Hex;

before(async () => {
  world = await World.create();
  f = await world.feeder({ name: "asked", consumers: 2, terms: { lotsPerClearing: 2, reserve: 1_000n } });
  ended = await world.feeder({ name: "ended" });
  poor = await world.feeder({ name: "poor", link: 0n });
  await world.send(world.market.createFeeder!("paused"));
  await world.send(world.market.pauseOpenings!(id("paused"), true));
  await world.send(world.market.createFeeder!("bare"));
  bare = id("bare") as Hex;
  stranger = world.owners[15]!;
  nobody = world.market.connect(world.owners[15]!) as Contract;
  owner = world.market.connect(f.consumers[0]!.owner) as Contract;
  const meter = world.meter("suspended");
  await world.register(meter);
  suspended = meter.meterId;
  await world.send(world.registry.suspend!(suspended, FIRST_LOT + 1n));
  loose = await world.join(f.id, world.meter("unregistered"), CONSUMERS, world.owners[14]!, 1_000n);
  f.measure(FIRST_LOT, [5_000_000n], 4_500_000n, [1_000_000n, 1_000_000n]);
  await f.open(LAST);
  await world.after(LAST + 2n);
  left = f.consumers[1]!.account;
  await world.send((world.market.connect(f.consumers[1]!.owner) as Contract).leave!(left));
  const ending = world.market.connect(ended.distributor.owner) as Contract;
  const end: bigint = world.events(await world.send(ending.leave!(ended.distributor.account)), "Left")[0]!.args.fromLot;
  await ended.open(end - 1n);
  lot = lotOf(BigInt(await world.chain.helpers.time.latest()), LOT_SECONDS);
});
after(() => world.close());

/** All that the market, the registry and the token say of what is there. */
async function state(): Promise<string> {
  const { market, registry, token, link } = world;
  const members = [...f.plants, f.distributor, ...f.consumers, ended.distributor];
  const seen: unknown[] = [
    await token.totalSupply!(),
    await link.balanceOf!(world.book.market),
    await world.chain.ethers.provider.getBalance(world.book.market),
    await market.clearingOf!(f.id, LAST),
    await market.nextOpening!(f.id),
    await market.feederOf!(bare),
  ];
  for (const feeder of [f, ended, poor]) seen.push(await market.feederOf!(feeder.id));
  for (const { account, meter } of members) {
    seen.push(await market.balanceOf!(account), await market.accountOf!(account), await market.cursorOf!(account));
    seen.push(await market.arrearsOf!(account), await market.seatOf!(meter.meterId));
    seen.push(await registry.signerAt!(meter.meterId, lot + 20n), await registry.capacityAt!(meter.meterId, lot + 20n));
  }
  seen.push(await registry.signerAt!(suspended, lot + 20n));
  return keccak256(toUtf8Bytes(JSON.stringify(seen, (_, value) => (typeof value === "bigint" ? `${value}` : value))));
}

const unauthorized = (call: () => Promise<unknown>): Case => [
  "a stranger",
  call,
  "AccessManagedUnauthorized",
  stranger.address,
];

function market(): Record<string, Case[]> {
  const m = world.market;
  const terms = f.terms;
  const seats = [{ account: f.plants[0]!.account, pricePerKWh: f.prices[0]! }];
  const from = lot + 1n;
  const charter = (change: object, plants: unknown = seats, distributor = f.distributor.account, at = from) =>
    m.setCharter!(f.id, at, { ...terms, ...change }, distributor, plants);
  const consumer = f.consumers[0]!.account;
  const high = (term: string, value: bigint | number, most: bigint | number): Case => [
    `${term} ${value}`,
    () => charter({ [term]: value }),
    "TermTooHigh",
    term,
    value,
    most,
  ];
  const energies = encodeEnergies([1n, 1n]);
  const far = lot + 1n + 8_928n;
  return {
    openLots: [
      ["unknown feeder", () => m.openLots!(UNKNOWN, lot), "UnknownFeeder", UNKNOWN],
      ["a feeder without a charter", () => m.openLots!(bare, lot), "NotChartered", bare],
      ["a feeder that has ended", () => m.openLots!(ended.id, lot), "FeederEnded", ended.id],
      ["opened before", () => m.openLots!(f.id, LAST - 1n), "NothingToOpen", f.id, LAST - 1n],
      ["lot 0", () => m.openLots!(f.id, 0), "NothingToOpen", f.id, 0],
      ["the lot that runs", () => m.openLots!(poor.id, lot), "LotNotOver", lot, lotEnd(lot, LOT_SECONDS)],
      ["a lot of the future", () => m.openLots!(poor.id, lot + 9n), "LotNotOver", lot + 9n],
      ["beyond a change of terms", () => m.openLots!(f.id, lot + 1n), "LotBeyondCharter", lot + 1n],
      ["the highest lot", () => m.openLots!(f.id, MAX_64), "LotBeyondCharter", MAX_64],
      ["too few lots", () => m.openLots!(f.id, LAST + 1n), "TooFewLots", 1, 2],
      ["too many lots", () => m.openLots!(poor.id, FIRST_LOT + 2_016n), "TooManyLots", 2_017, 2_016],
      ["paused", () => m.openLots!(id("paused"), lot), "OpeningsArePaused", id("paused")],
      ["LINK too low", () => m.openLots!(poor.id, lot - 1n), "LinkTooLow", poor.id, 0, (3n * ETHER) / 10n],
    ],
    performUpkeep: [
      ["too short", () => m.performUpkeep!(f.id), "BadData", 32, 64],
      ["garbage", () => m.performUpkeep!(`0x${"ff".repeat(65)}`), "BadData", 65, 64],
      [
        "a lot beyond 64 bits",
        () => m.performUpkeep!(ABI.encode(["bytes32", "uint256"], [f.id, MAX_64 + 1n])),
        "LotOutOfRange",
        MAX_64 + 1n,
      ],
      [
        "unknown feeder",
        () => m.performUpkeep!(ABI.encode(["bytes32", "uint64"], [UNKNOWN, lot])),
        "UnknownFeeder",
        UNKNOWN,
      ],
      [
        "opened before",
        () => m.performUpkeep!(ABI.encode(["bytes32", "uint64"], [f.id, LAST - 1n])),
        "NothingToOpen",
        f.id,
        LAST - 1n,
      ],
    ],
    requestStage: [
      ["unknown feeder", () => m.requestStage!(UNKNOWN, LAST, PLANT, 0), "UnknownFeeder", UNKNOWN],
      ["unknown stage", () => m.requestStage!(f.id, LAST, 3, 0), "UnknownStage", 3],
      ["unknown clearing", () => m.requestStage!(f.id, LAST + 1n, PLANT, 0), "UnknownClearing", f.id, LAST + 1n],
      ["beyond 40 bits", () => m.requestStage!(f.id, MAX_40 + 1n + LAST, PLANT, 0), "UnknownClearing", f.id],
      ["no such page", () => m.requestStage!(f.id, LAST, PLANT, 1), "PageOutOfRange", 1, 1],
      ["no such consumer", () => m.requestStage!(f.id, LAST, CONSUMERS, 65_535), "PageOutOfRange", 65_535, 2],
      ["inside a page", () => m.requestStage!(f.id, LAST, CONSUMERS, 1), "PageMisaligned", 1],
    ],
    fulfill: [
      [
        "unknown request",
        () => m.fulfill!(id("none"), "0x"),
        "NotTheOperatorAsked",
        id("none"),
        world.regulator.address,
      ],
      ["request 0", () => m.fulfill!(ZeroHash, MISSING_RECORD), "NotTheOperatorAsked", ZeroHash],
    ],
    submit: [
      ["unknown feeder", () => m.submit!(UNKNOWN, LAST, PLANT, 0, "0x"), "UnknownFeeder", UNKNOWN],
      ["unknown stage", () => m.submit!(f.id, LAST, 255, 0, "0x"), "UnknownStage", 255],
      ["unknown clearing", () => m.submit!(f.id, LAST - 1n, PLANT, 0, "0x"), "UnknownClearing", f.id, LAST - 1n],
      ["a lot of the future", () => m.submit!(f.id, lot + 1n, PLANT, 0, "0x"), "UnknownClearing", f.id, lot + 1n],
      ["the highest lot", () => m.submit!(f.id, MAX_64, CONSUMERS, 0, "0x"), "UnknownClearing", f.id, MAX_64],
    ],
    close: [
      ["unknown feeder", () => m.close!(UNKNOWN, LAST), "UnknownFeeder", UNKNOWN],
      ["unknown clearing", () => m.close!(f.id, 0), "UnknownClearing", f.id, 0],
      ["not cleared yet", () => m.close!(f.id, LAST), "WrongStage", f.id, LAST, 0],
    ],
    estimate: [
      unauthorized(() => nobody.estimate!(f.id, LAST, PLANT, 0, energies)),
      ["unknown feeder", () => m.estimate!(UNKNOWN, LAST, PLANT, 0, energies), "UnknownFeeder", UNKNOWN],
      ["unknown clearing", () => m.estimate!(f.id, lot, PLANT, 0, energies), "UnknownClearing", f.id, lot],
      ["unknown stage", () => m.estimate!(f.id, LAST, 3, 0, energies), "UnknownStage", 3],
      ["another stage", () => m.estimate!(f.id, LAST, DISTRIBUTOR, 0, energies), "WrongStage", f.id, LAST, 0],
      ["a consumer", () => m.estimate!(f.id, LAST, CONSUMERS, 0, energies), "WrongStage", f.id, LAST, 0],
      ["no such plant", () => m.estimate!(f.id, LAST, PLANT, 1, energies), "PageOutOfRange", 1, 1],
      [
        "too early",
        () => m.estimate!(f.id, LAST, PLANT, 0, energies),
        "TooEarly",
        LAST,
        lotEnd(LAST, LOT_SECONDS) + 3_600n,
      ],
    ],
    abandon: [
      ["unknown feeder", () => m.abandon!(UNKNOWN, LAST, PLANT), "UnknownFeeder", UNKNOWN],
      ["unknown clearing", () => m.abandon!(f.id, 1, PLANT), "UnknownClearing", f.id, 1],
      ["unknown stage", () => m.abandon!(f.id, LAST, 3), "UnknownStage", 3],
      ["another stage", () => m.abandon!(f.id, LAST, DISTRIBUTOR), "WrongStage", f.id, LAST, 0],
      ["the consumers' stage", () => m.abandon!(f.id, LAST, CONSUMERS), "WrongStage", f.id, LAST, 0],
      ["too early", () => m.abandon!(f.id, LAST, PLANT), "TooEarly", LAST, lotEnd(LAST, LOT_SECONDS) + 7_200n],
    ],
    cancelRequest: [
      ["unknown request", () => m.cancelRequest!(id("none"), 0, 0), "UnknownRequest", id("none")],
      ["request 0", () => m.cancelRequest!(ZeroHash, MAX_64, MAX_64), "UnknownRequest", ZeroHash],
    ],
    onTokenTransfer: [
      ["another token", () => m.onTokenTransfer!(f.id.slice(0, 42), 1, f.id), "NotToken", world.regulator.address],
      ["unknown feeder", () => world.link.transferAndCall!(world.book.market, 1, UNKNOWN), "UnknownFeeder", UNKNOWN],
      ["no feeder", () => world.link.transferAndCall!(world.book.market, 1, "0x"), "BadData", 0, 32],
      ["half a feeder", () => world.link.transferAndCall!(world.book.market, 1, `0x${"11".repeat(16)}`), "BadData", 16],
    ],
    join: [
      ["unknown feeder", () => m.join!(UNKNOWN, id("meter"), CONSUMERS, 0), "UnknownFeeder", UNKNOWN],
      ["unknown role", () => m.join!(f.id, id("meter"), 3, 0), "UnknownRole", 3],
      ["meter 0", () => m.join!(f.id, ZeroHash, CONSUMERS, MAX_64), "UnknownMeter", ZeroHash],
    ],
    joinFor: [
      [
        "unknown role",
        () => m.joinFor!(stranger.address, f.id, id("meter"), 3, 1, 1, 2n ** 256n - 1n, "0x"),
        "UnknownRole",
        3,
      ],
      [
        "too late",
        () => m.joinFor!(stranger.address, f.id, id("meter"), CONSUMERS, 1, 1, 1, "0x"),
        "ConsentExpired",
        1,
      ],
      [
        "no signature",
        () => m.joinFor!(stranger.address, f.id, id("meter"), CONSUMERS, 1, 1, 2n ** 256n - 1n, "0x"),
        "BadConsent",
        stranger.address,
      ],
      [
        "65 bytes that nobody signed",
        () => m.joinFor!(stranger.address, f.id, id("meter"), CONSUMERS, 1, 1, 2n ** 256n - 1n, `0x${"11".repeat(65)}`),
        "BadConsent",
        stranger.address,
      ],
      [
        "owner 0",
        () => m.joinFor!(ZeroAddress, f.id, id("meter"), CONSUMERS, 1, 1, 2n ** 256n - 1n, `0x${"00".repeat(65)}`),
        "BadConsent",
        ZeroAddress,
      ],
    ],
    leave: [
      ["account 0", () => m.leave!(0), "NotOwner", 0, world.regulator.address],
      ["another's account", () => nobody.leave!(consumer), "NotOwner", consumer, stranger.address],
      ["not listed", () => (m.connect(world.owners[14]!) as Contract).leave!(loose), "NotListed", loose],
      ["twice", () => (m.connect(f.consumers[1]!.owner) as Contract).leave!(left), "HasLeft", left],
    ],
    deposit: [
      ["account 0", () => m.deposit!(0, { value: 1 }), "UnknownAccount", 0],
      ["the highest account", () => m.deposit!(2n ** 32n - 1n, { value: 1 }), "UnknownAccount", 2n ** 32n - 1n],
      ["nothing", () => m.deposit!(consumer), "ZeroAmount"],
    ],
    withdraw: [
      ["account 0", () => m.withdraw!(0, stranger.address, 1), "UnknownAccount", 0],
      [
        "another's account",
        () => nobody.withdraw!(consumer, stranger.address, 1),
        "NotOwner",
        consumer,
        stranger.address,
      ],
      ["to 0", () => owner.withdraw!(consumer, ZeroAddress, 1), "ZeroAddress"],
      ["nothing", () => owner.withdraw!(consumer, stranger.address, 0), "ZeroAmount"],
      [
        "the reserve",
        () => owner.withdraw!(consumer, stranger.address, ETHER),
        "ReserveKept",
        consumer,
        ETHER - 1_000n,
        ETHER,
      ],
      [
        "more than there is",
        () => owner.withdraw!(consumer, stranger.address, 2n ** 256n - 1n),
        "BalanceTooLow",
        consumer,
        ETHER,
        2n ** 256n - 1n,
      ],
      ["to the market", () => owner.withdraw!(consumer, world.book.market, 1), "EtherNotTaken", world.book.market, 1],
    ],
    collect: [
      ["debtor 0", () => m.collect!(0, consumer), "UnknownAccount", 0],
      ["unknown creditor", () => m.collect!(consumer, 2n ** 32n - 1n), "UnknownAccount", 2n ** 32n - 1n],
    ],
    createFeeder: [
      unauthorized(() => nobody.createFeeder!("another")),
      ["no name", () => m.createFeeder!(""), "EmptyName"],
      ["twice", () => m.createFeeder!("asked"), "FeederExists", f.id],
    ],
    setCharter: [
      unauthorized(() => nobody.setCharter!(f.id, from, terms, f.distributor.account, seats)),
      [
        "unknown feeder",
        () => m.setCharter!(UNKNOWN, from, terms, f.distributor.account, seats),
        "UnknownFeeder",
        UNKNOWN,
      ],
      ["a lot that has begun", () => charter({}, seats, f.distributor.account, lot), "LotBegun", lot, from],
      ["lot 0", () => charter({}, seats, f.distributor.account, 0n), "LotBegun", 0, from],
      ["too far ahead", () => charter({}, seats, f.distributor.account, far + 1n), "TooFarAhead", far + 1n, far],
      ["the highest lot", () => charter({}, seats, f.distributor.account, MAX_64), "TooFarAhead", MAX_64, far],
      [
        "after the feeder's end",
        () => m.setCharter!(ended.id, from, terms, ended.distributor.account, []),
        "FeederEnded",
        ended.id,
      ],
      ["no distributor", () => m.setCharter!(bare, from, terms, 0, []), "NotChartered", bare],
      high("idealLossBps", 10_001, 10_000),
      high("serviceBps", 65_535, 10_000),
      high("penaltyBps", 1_000_001, 1_000_000),
      high("toleranceBps", 10_001, 10_000),
      high("graceSeconds", 366 * 86_400 + 1, 366 * 86_400),
      high("estimateSeconds", 2 ** 32 - 1, 366 * 86_400),
      high("abandonSeconds", 2 ** 32 - 1, 366 * 86_400),
      high("openDelay", 30 * 86_400 + 1, 30 * 86_400),
      high("repeatSeconds", 30 * 86_400 + 1, 30 * 86_400),
      high("freeRepeats", 17, 16),
      high("lotsPerClearing", 2_017, 2_016),
      ["no lots in a clearing", () => charter({ lotsPerClearing: 0 }), "TermTooLow", "lotsPerClearing", 0, 1],
      ["repeats at once", () => charter({ repeatSeconds: 0 }), "TermTooLow", "repeatSeconds", 0, 1],
      [
        "abandoned before estimated",
        () => charter({ abandonSeconds: 3_599 }),
        "TermTooLow",
        "abandonSeconds",
        3_599,
        3_600,
      ],
      ["a price of 2^62", () => charter({}, [{ ...seats[0], pricePerKWh: 2n ** 62n }]), "TermTooHigh", "pricePerKWh"],
      ["a plant twice", () => charter({}, [seats[0], seats[0]]), "AlreadyListed", seats[0]!.account],
      ["65 plants", () => charter({}, Array(65).fill(seats[0])), "TooManyMembers", 65, 64],
      ["an unknown plant", () => charter({}, [{ account: 9_999, pricePerKWh: 1 }]), "UnknownAccount", 9_999],
      ["a consumer as plant", () => charter({}, [{ account: loose, pricePerKWh: 1 }]), "WrongRole", loose, CONSUMERS],
      ["a plant as distributor", () => charter({}, seats, seats[0]!.account), "WrongRole", seats[0]!.account, PLANT],
      [
        "another feeder's distributor",
        () => charter({}, seats, ended.distributor.account),
        "WrongFeeder",
        ended.distributor.account,
        f.id,
      ],
    ],
    listConsumers: [
      unauthorized(() => nobody.listConsumers!(f.id, from, [loose])),
      ["unknown feeder", () => m.listConsumers!(UNKNOWN, from, [loose]), "UnknownFeeder", UNKNOWN],
      ["a feeder without a charter", () => m.listConsumers!(bare, from, [loose]), "NotChartered", bare],
      ["a lot that has begun", () => m.listConsumers!(f.id, lot, [loose]), "LotBegun", lot, from],
      ["nobody", () => m.listConsumers!(f.id, from, []), "ZeroAmount"],
      ["unknown account", () => m.listConsumers!(f.id, from, [9_999]), "UnknownAccount", 9_999],
      ["account 0", () => m.listConsumers!(f.id, from, [0]), "UnknownAccount", 0],
      ["listed already", () => m.listConsumers!(f.id, from, [consumer]), "AlreadyListed", consumer],
      ["one that left", () => m.listConsumers!(f.id, from, [left]), "HasLeft", left],
      ["a plant", () => m.listConsumers!(f.id, from, [seats[0]!.account]), "WrongRole", seats[0]!.account, PLANT],
      ["another feeder's", () => m.listConsumers!(f.id, from, [ended.consumers[0]!.account]), "WrongFeeder"],
      ["a meter that is not registered", () => m.listConsumers!(f.id, from, [loose]), "UnknownMeter"],
    ],
    delistConsumers: [
      unauthorized(() => nobody.delistConsumers!(f.id, from, [consumer])),
      ["unknown feeder", () => m.delistConsumers!(UNKNOWN, from, [consumer]), "UnknownFeeder", UNKNOWN],
      ["a feeder without a charter", () => m.delistConsumers!(bare, from, [consumer]), "NotChartered", bare],
      ["a lot that has begun", () => m.delistConsumers!(f.id, lot, [consumer]), "LotBegun", lot, from],
      ["nobody", () => m.delistConsumers!(f.id, from, []), "ZeroAmount"],
      ["not listed", () => m.delistConsumers!(f.id, from, [loose]), "NotListed", loose],
      ["the same twice", () => m.delistConsumers!(f.id, from, [consumer, consumer]), "NotListed", consumer],
    ],
    replaceMeter: [
      unauthorized(() => nobody.replaceMeter!(consumer, suspended, from)),
      ["account 0", () => m.replaceMeter!(0, suspended, from), "UnknownAccount", 0],
      ["not listed", () => m.replaceMeter!(loose, suspended, from), "NotListed", loose],
      ["one that left", () => m.replaceMeter!(left, suspended, from), "HasLeft", left],
      ["a lot that has begun", () => m.replaceMeter!(consumer, suspended, lot), "LotBegun", lot, from],
      ["too far ahead", () => m.replaceMeter!(consumer, suspended, far + 1n), "TooFarAhead", far + 1n, far],
      ["unknown meter", () => m.replaceMeter!(consumer, id("none"), from), "UnknownMeter", id("none")],
      [
        "another's meter",
        () => m.replaceMeter!(consumer, f.plants[0]!.meter.meterId, from),
        "MeterTaken",
        f.plants[0]!.meter.meterId,
        f.plants[0]!.account,
      ],
    ],
    setOperators: [
      unauthorized(() => nobody.setOperators!(f.id, [])),
      ["unknown feeder", () => m.setOperators!(UNKNOWN, []), "UnknownFeeder", UNKNOWN],
      [
        "nine",
        () => m.setOperators!(f.id, Array(9).fill({ operator: world.book.operator, specId: SPEC_ID, payment: 1 })),
        "TooManyOperators",
        9,
        8,
      ],
      [
        "one that is no contract",
        () => m.setOperators!(f.id, [{ operator: stranger.address, specId: SPEC_ID, payment: 1 }]),
        "ZeroAddress",
      ],
    ],
    pauseOpenings: [
      unauthorized(() => nobody.pauseOpenings!(f.id, true)),
      ["unknown feeder", () => m.pauseOpenings!(UNKNOWN, true), "UnknownFeeder", UNKNOWN],
    ],
    withdrawLink: [
      unauthorized(() => nobody.withdrawLink!(f.id, stranger.address, 1)),
      ["unknown feeder", () => m.withdrawLink!(UNKNOWN, stranger.address, 1), "UnknownFeeder", UNKNOWN],
      ["more than there is", () => m.withdrawLink!(bare, stranger.address, 1), "LinkTooLow", bare, 0, 1],
    ],
    setAuthority: [
      [
        "not the authority",
        () => m.setAuthority!(stranger.address),
        "AccessManagedUnauthorized",
        world.regulator.address,
      ],
    ],
  };
}

function registry(): Record<string, Case[]> {
  const r = world.registry;
  const byStranger = r.connect(world.owners[15]!) as Contract;
  const none = id("no such meter") as Hex;
  const { meter } = f.consumers[0]!;
  const from = lot + 1n;
  const far = from + 8_928n;
  const signer = world.chain.ethers.computeAddress(meter.key);
  const fresh = world.meter("fresh", 0n, lot);
  const freshSigner = world.chain.ethers.computeAddress(fresh.key);
  const { reading, signature } = fresh.opening();
  const register = (change: object, by = signature, key: string = freshSigner, capacity = 10n) =>
    r.registerMeter!(key, capacity, { ...reading, ...change }, by);
  const say = (change: object = {}) => ({
    lot: FIRST_LOT,
    forward: 5n,
    reverse: 0n,
    quality: 0,
    energies: encodeEnergies([1n]),
    signature: `0x${"11".repeat(65)}`,
    ...change,
  });
  return {
    registerMeter: [
      [
        "a stranger",
        () => byStranger.registerMeter!(freshSigner, 10n, reading, signature),
        "AccessManagedUnauthorized",
        stranger.address,
      ],
      ["meter 0", () => register({ meterId: ZeroHash }), "ZeroMeterId"],
      ["twice", () => register({ meterId: meter.meterId }), "MeterAlreadyRegistered", meter.meterId],
      ["signer 0", () => register({}, signature, ZeroAddress), "ZeroSigner", fresh.meterId],
      ["capacity 0", () => register({}, signature, freshSigner, 0n), "CapacityOutOfRange", 0],
      ["capacity 2^47", () => register({}, signature, freshSigner, 2n ** 47n), "CapacityOutOfRange", 2n ** 47n],
      ["another lot length", () => register({ lotSeconds: 900 }), "WrongLotSeconds", 900, 300],
      ["a lot of the future", () => register({ lot: lot + 1n }), "LotNotOver", lot + 1n],
      ["no energies", () => register({ energies: "0x" }), "BadEnergies", 0],
      ["half an energy", () => register({ energies: "0x112233" }), "BadEnergies", 3],
      ["another signature", () => register({}, `0x${"22".repeat(65)}`), "BadSignature", fresh.meterId, freshSigner],
      ["another register", () => register({ forward: 1n }), "BadSignature", fresh.meterId],
    ],
    rotateSigner: [
      [
        "a stranger",
        () => byStranger.rotateSigner!(meter.meterId, signer, from),
        "AccessManagedUnauthorized",
        stranger.address,
      ],
      ["unknown meter", () => r.rotateSigner!(none, signer, from), "UnknownMeter", none],
      ["signer 0", () => r.rotateSigner!(meter.meterId, ZeroAddress, from), "ZeroSigner", meter.meterId],
      ["a lot that has begun", () => r.rotateSigner!(meter.meterId, signer, lot), "LotBegun", lot, from],
      ["too far ahead", () => r.rotateSigner!(meter.meterId, signer, far + 1n), "TooFarAhead", far + 1n, far],
      ["a suspended meter", () => r.rotateSigner!(suspended, signer, from), "MeterIsSuspended", suspended],
    ],
    setCapacity: [
      [
        "a stranger",
        () => byStranger.setCapacity!(meter.meterId, 1, from),
        "AccessManagedUnauthorized",
        stranger.address,
      ],
      ["unknown meter", () => r.setCapacity!(none, 1, from), "UnknownMeter", none],
      ["0", () => r.setCapacity!(meter.meterId, 0, from), "CapacityOutOfRange", 0],
      ["the highest", () => r.setCapacity!(meter.meterId, MAX_64, from), "CapacityOutOfRange", MAX_64],
      ["a lot that has begun", () => r.setCapacity!(meter.meterId, 1, 0), "LotBegun", 0, from],
    ],
    suspend: [
      ["a stranger", () => byStranger.suspend!(meter.meterId, from), "AccessManagedUnauthorized", stranger.address],
      ["unknown meter", () => r.suspend!(none, from), "UnknownMeter", none],
      ["twice", () => r.suspend!(suspended, from), "MeterIsSuspended", suspended],
      ["a lot that has begun", () => r.suspend!(meter.meterId, lot), "LotBegun", lot, from],
      ["the highest lot", () => r.suspend!(meter.meterId, MAX_64), "TooFarAhead", MAX_64, far],
    ],
    reinstate: [
      [
        "a stranger",
        () => byStranger.reinstate!(suspended, signer, from),
        "AccessManagedUnauthorized",
        stranger.address,
      ],
      ["unknown meter", () => r.reinstate!(none, signer, from), "UnknownMeter", none],
      ["signer 0", () => r.reinstate!(suspended, ZeroAddress, from), "ZeroSigner", suspended],
      ["not suspended", () => r.reinstate!(meter.meterId, signer, from), "MeterNotSuspended", meter.meterId],
      ["a lot that has begun", () => r.reinstate!(suspended, signer, lot), "LotBegun", lot, from],
    ],
    reportEquivocation: [
      ["unknown meter", () => r.reportEquivocation!(none, signer, say(), say()), "UnknownMeter", none],
      [
        "another's key",
        () => r.reportEquivocation!(meter.meterId, stranger.address, say(), say()),
        "SignerRetired",
        meter.meterId,
      ],
      ["key 0", () => r.reportEquivocation!(meter.meterId, ZeroAddress, say(), say()), "SignerRetired", meter.meterId],
      [
        "no energies",
        () => r.reportEquivocation!(meter.meterId, signer, say({ energies: "0x" }), say()),
        "BadEnergies",
        0,
      ],
      [
        "unsigned",
        () => r.reportEquivocation!(meter.meterId, signer, say(), say()),
        "BadSignature",
        meter.meterId,
        signer,
      ],
    ],
    setAuthority: [
      [
        "not the authority",
        () => r.setAuthority!(stranger.address),
        "AccessManagedUnauthorized",
        world.regulator.address,
      ],
    ],
  };
}

/** OpenZeppelin's ERC777 says what is wrong in words; what is ours has errors of its own. */
function token(): Record<string, Case[]> {
  const t = world.token;
  const [a, b] = [world.regulator.address, stranger.address];
  return {
    mintAndSend: [["not the market", () => t.mintAndSend!(a, b, 10n ** 11n), "NotMarket", a]],
    sendAndBurn: [["not the market", () => t.sendAndBurn!(a, b, 10n ** 11n), "NotMarket", a]],
    operatorSend: [
      ["not an operator", () => t.operatorSend!(b, a, 1, "0x", "0x"), "ERC777: caller is not an operator for holder"],
    ],
    operatorBurn: [
      ["not an operator", () => t.operatorBurn!(b, 1, "0x", "0x"), "ERC777: caller is not an operator for holder"],
    ],
    send: [
      ["part of a Unit", () => t.send!(b, 1, "0x"), "NotAWholeUnit", 1],
      ["none to send", () => t.send!(b, 10n ** 11n, "0x"), "ERC777: transfer amount exceeds balance"],
      ["to 0", () => t.send!(ZeroAddress, 0, "0x"), "ERC777: transfer to the zero address"],
    ],
    transfer: [
      ["part of a Unit", () => t.transfer!(b, 10n ** 11n + 1n), "NotAWholeUnit", 10n ** 11n + 1n],
      ["none to send", () => t.transfer!(b, 10n ** 11n), "ERC777: transfer amount exceeds balance"],
    ],
    transferFrom: [["not allowed", () => t.transferFrom!(b, a, 10n ** 11n), "ERC777: insufficient allowance"]],
    burn: [["none to burn", () => t.burn!(10n ** 11n, "0x"), "ERC777: burn amount exceeds balance"]],
    burnFrom: [["not the market", () => t.burnFrom!(b, 10n ** 11n), "NotMarket", a]],
    approve: [["to 0", () => t.approve!(ZeroAddress, 1), "ERC777: approve to the zero address"]],
    authorizeOperator: [["oneself", () => t.authorizeOperator!(a), "ERC777: authorizing self as operator"]],
    revokeOperator: [["oneself", () => t.revokeOperator!(a), "ERC777: revoking self as operator"]],
  };
}

async function check(cases: Case[]): Promise<void> {
  assert.ok(cases.length > 0);
  const before = await state();
  for (const [what, call, error, ...args] of cases) {
    try {
      if (error.includes(" ")) await assert.rejects(call, (thrown: Error) => thrown.message.includes(error), error);
      else await refused(call(), error, ...args);
    } catch (cause) {
      throw new Error(`${what}: ${(cause as Error).message}`, { cause });
    }
  }
  assert.equal(await state(), before, "what is refused changes nothing");
}

const parts: [string, InterfaceAbi, () => Record<string, Case[]>][] = [
  ["EnergyMarket", EnergyMarketAbi, market],
  ["MeterRegistry", MeterRegistryAbi, registry],
  ["EnergyToken", EnergyTokenAbi, token],
  ["LotReadingClient", LotReadingClientAbi, () => ({ fulfill: market().fulfill! })],
];

describe("bad input is refused with an error that names the value, and changes nothing", () => {
  for (const [name, abi, cases] of parts) {
    const functions = new Interface(abi).fragments
      .filter((fragment) => fragment.type === "function")
      .map((fragment) => fragment as unknown as { name: string; constant: boolean })
      .filter(({ constant }) => !constant);
    for (const { name: method } of functions) {
      test(`${name}.${method}`, async () => {
        const own = cases()[method];
        assert.ok(own, `${name}.${method} changes state and has no case here`);
        await check(own);
      });
    }
    test(`${name}: every case is of a function that there is`, () => {
      const known = new Set(functions.map((one) => one.name));
      assert.deepEqual(
        Object.keys(cases()).filter((method) => !known.has(method)),
        [],
      );
    });
  }

  test("records of any wrong length are refused one by one by an event: nothing reverts, nothing changes", async () => {
    const before = await state();
    for (const records of [
      "0x",
      "0x00",
      "0x0001",
      `0x0002${"00".repeat(82)}`,
      `0xffff${"ff".repeat(3_000)}`,
    ] as Hex[]) {
      const receipt = await f.submit(PLANT, LAST, records);
      assert.equal(world.events(receipt, "PlantCleared").length, 0);
      assert.equal(world.events(receipt, "Deferred").length, 1);
    }
    for (const first of [1, 2, 65_535]) await f.submit(PLANT, LAST, f.records(PLANT, LAST, 2), first);
    assert.equal(await state(), before);
  });

  test("estimates of the wrong length or above capacity, when it is time for them", async () => {
    const { meterId } = f.plants[0]!.meter;
    const capacity: bigint = await world.registry.capacityAt!(meterId, LAST);
    await world.after(LAST, 3_600n);
    const estimate = (energies: string) => world.market.estimate!(f.id, LAST, PLANT, 0, energies);
    await check([
      ["one lot of two", () => estimate(encodeEnergies([1n])), "BadEstimate", 6, 12],
      ["none", () => estimate("0x"), "BadEstimate", 0, 12],
      ["half a lot too much", () => estimate(`0x${"00".repeat(15)}`), "BadEstimate", 15, 12],
      [
        "a Unit above capacity",
        () => estimate(encodeEnergies([1n, capacity + 1n])),
        "EstimateAboveCapacity",
        meterId,
        capacity,
      ],
      ["the highest", () => estimate(`0x${"ff".repeat(12)}`), "EstimateAboveCapacity", meterId, capacity],
    ]);
  });
});
