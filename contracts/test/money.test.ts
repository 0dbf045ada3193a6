import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Money } from "@bijuli/protocol";
import { type Contract, Signature, TypedDataEncoder } from "ethers";
import { ANY_PRICE, CONSUMERS, ETHER, FIRST_LOT, type Member, type TestFeeder, World } from "./support/feeder.ts";
import { deployFixture } from "./support/fixture.ts";
import { refused } from "./support/refused.ts";

const sum = (values: bigint[]) => values.reduce((a, b) => a + b, 0n);

const CONSENT = {
  Consent: [
    { name: "owner", type: "address" },
    { name: "feeder", type: "bytes32" },
    { name: "meterId", type: "bytes32" },
    { name: "role", type: "uint8" },
    { name: "priceLimit", type: "uint64" },
    { name: "nonce", type: "uint256" },
    { name: "deadline", type: "uint256" },
  ],
};

describe("money", () => {
  let world: World;
  let poor: TestFeeder;
  let shared: TestFeeder;
  let reserved: TestFeeder;
  let leaving: TestFeeder;
  before(async () => {
    world = await World.create();
    poor = await world.feeder({ name: "poor", deposit: 0n });
    shared = await world.feeder({
      name: "shared",
      deposit: 0n,
      plants: [30n * 10n ** 12n, 10n * 10n ** 12n, 20n * 10n ** 12n],
    });
    reserved = await world.feeder({ name: "reserved", terms: { reserve: ETHER / 2n } });
    leaving = await world.feeder({ name: "leaving", consumers: 3, terms: { reserve: ETHER / 2n } });
  });
  after(() => world.close());

  const as = (member: Member) => world.market.connect(member.owner) as Contract;
  const arrears = async (member: Member): Promise<bigint> => (await world.market.arrearsOf!(member.account)).owed;
  const deposit = (member: Member, value: bigint) => world.send(as(member).deposit!(member.account, { value }));

  /** All ether the market holds belongs to somebody. */
  async function ether(): Promise<{ held: bigint; owned: bigint }> {
    let owned = 0n;
    for (const feeder of [poor, shared, reserved, leaving]) {
      for (const member of [...feeder.plants, feeder.distributor, ...feeder.consumers]) {
        owned += await feeder.balance(member);
        owned += (await world.market.arrearsOf!(member.account)).pot;
      }
    }
    return { held: await world.chain.ethers.provider.getBalance(world.book.market), owned };
  }

  test("what nobody can pay becomes arrears, and no lot waits for it", async () => {
    poor.measure(FIRST_LOT, [2_000_000n], 1_900_000n, [1_500_000n]);
    await poor.clear(FIRST_LOT, 1);
    const due = new Money().add(2_000_000n, poor.prices[0]!);
    const price = await world.market.pricePerKWh!(poor.id, FIRST_LOT);
    const charged = new Money().add(1_500_000n, price);
    assert.equal(await arrears(poor.distributor), due);
    assert.equal(await arrears(poor.consumers[0]!), charged);
    assert.equal((await world.market.clearingOf!(poor.id, FIRST_LOT)).stage, 3n);

    // a consumer's payment goes through the distributor to the plant, at once
    await deposit(poor.consumers[0]!, 1_000n);
    assert.equal(await arrears(poor.consumers[0]!), charged - 1_000n);
    assert.equal(await arrears(poor.distributor), due - 1_000n);
    assert.equal(await poor.balance(poor.plants[0]!), 1_000n);
    await deposit(poor.consumers[0]!, ETHER);
    assert.equal(await arrears(poor.consumers[0]!), 0n);
    assert.equal(await poor.balance(poor.consumers[0]!), ETHER - charged + 1_000n);
    assert.equal(await poor.balance(poor.plants[0]!), charged);
    await deposit(poor.distributor, ETHER);
    assert.equal(await poor.balance(poor.plants[0]!), due);
    assert.deepEqual((await ether()).held, (await ether()).owned);
  });

  test("arrears to several plants are paid pro rata, to the wei when they are paid in full", async () => {
    const lots = [FIRST_LOT, FIRST_LOT + 1n];
    const energies = [
      [1_000_003n, 2_000_001n, 0n],
      [500_007n, 3n, 4_000_000n],
    ];
    const owed = shared.prices.map(() => new Money());
    for (const [i, lot] of lots.entries()) {
      shared.measure(lot, energies[i]!, 1_000_000n, [0n]);
      await shared.clear(lot, 1);
      energies[i]!.forEach((energy, p) => owed[p]!.add(energy, shared.prices[p]!));
    }
    const total = sum(owed.map((m) => m.total));
    assert.equal(await arrears(shared.distributor), total);
    const collect = async () => {
      for (const plant of shared.plants) {
        await world.send(world.market.collect!(shared.distributor.account, plant.account));
      }
      return Promise.all(shared.plants.map((plant) => shared.balance(plant)));
    };
    let paid = 0n;
    for (const part of [total / 3n, 1n, total / 7n, 12_345n]) {
      await deposit(shared.distributor, part);
      paid += part;
      const got = await collect();
      assert.ok(sum(got) <= paid && sum(got) >= paid - 12n, "all but a few wei are handed on");
      got.forEach((wei, p) => {
        const fair = (owed[p]!.total * paid) / total;
        assert.ok(wei <= fair + 1n && wei + 12n >= fair, `plant ${p} has ${wei} of ${fair}`);
      });
    }
    await deposit(shared.distributor, ETHER);
    assert.deepEqual(
      await collect(),
      owed.map((m) => m.total),
    );
    assert.equal(await shared.balance(shared.distributor), paid + ETHER - total);
    assert.equal((await world.market.arrearsOf!(shared.distributor.account)).pot, 0n);
  });

  test("what is above the reserve can be withdrawn at any time, paused or not, by the owner alone", async () => {
    const consumer = reserved.consumers[0]!;
    await world.send(world.market.pauseOpenings!(reserved.id, true));
    const to = "0x00000000000000000000000000000000000000aa";
    await refused(
      as(consumer).withdraw!(consumer.account, to, ETHER / 2n + 1n),
      "ReserveKept",
      consumer.account,
      ETHER / 2n,
      ETHER / 2n + 1n,
    );
    await refused(as(consumer).withdraw!(consumer.account, to, ETHER + 1n), "BalanceTooLow");
    await refused(as(reserved.plants[0]!).withdraw!(consumer.account, to, 1n), "NotOwner");
    await refused(
      as(consumer).withdraw!(consumer.account, "0x0000000000000000000000000000000000000000", 1n),
      "ZeroAddress",
    );
    await refused(as(consumer).withdraw!(consumer.account, to, 0n), "ZeroAmount");
    await world.send(as(consumer).withdraw!(consumer.account, to, ETHER / 2n));
    assert.equal(await world.chain.ethers.provider.getBalance(to), ETHER / 2n);
    await world.send(world.market.pauseOpenings!(reserved.id, false));
    reserved.measure(FIRST_LOT, [1_000_000n], 950_000n, [900_000n]);
    const receipts = await reserved.clear(FIRST_LOT, 1);
    const low = world.events(receipts[3]!, "ReserveLow");
    assert.equal(low.length, 1);
    assert.equal(low[0]!.args.account, consumer.account);
  });

  test("a member leaves by its own will; its reserve is free once it is cleared to its end", async () => {
    const { market } = world;
    const one = leaving.consumers[1]!;
    await refused(market.leave!(one.account), "NotOwner");
    const latest = BigInt(await world.chain.helpers.time.latest()) / 300n;
    const receipt = await world.send(as(one).leave!(one.account));
    const fromLot: bigint = world.events(receipt, "Left")[0]!.args.fromLot;
    assert.ok(fromLot > latest);
    await refused(as(one).leave!(one.account), "HasLeft");
    await refused(as(one).withdraw!(one.account, one.owner.address, ETHER), "ReserveKept");
    // the lots until then are cleared with it, one that reaches beyond is refused
    const lots = Number(fromLot - FIRST_LOT);
    for (let lot = FIRST_LOT; lot < fromLot + 2n; lot++) leaving.measure(lot, [1_000n], 900n, [100n, 200n, 300n]);
    await world.after(fromLot + 1n);
    await refused(market.openLots!(leaving.id, fromLot + 1n), "LotBeyondCharter", fromLot + 1n, fromLot - 1n);
    await leaving.clear(fromLot - 1n, lots);
    await world.send(as(one).withdraw!(one.account, one.owner.address, await leaving.balance(one)));
    // after it, the list is the two others, in the order that the contract says
    await leaving.open(fromLot + 1n);
    const { meterIds } = await market.membersOf!(leaving.id, fromLot + 1n, CONSUMERS);
    assert.deepEqual([...meterIds], [leaving.consumers[0]!.meter.meterId, leaving.consumers[2]!.meter.meterId]);
  });

  test("forced ether changes nothing, and sent ether is refused", async () => {
    const before = await ether();
    // as a self-destructing contract or a block's reward would
    await world.chain.helpers.setBalance(world.book.market, before.held + 5n);
    const after = await ether();
    assert.deepEqual(after, { held: before.held + 5n, owned: before.owned });
    await assert.rejects(world.regulator.sendTransaction({ to: world.book.market, value: 1n }));
  });

  test("an account is made by its owner alone: by a transaction or one signed consent, once, in time", async () => {
    const { market } = world;
    const owner = world.owners[3]!;
    const meterId = world.meter("consent").meterId;
    const deadline = BigInt(await world.chain.helpers.time.latest()) + 1_000n;
    const consent = {
      owner: owner.address,
      feeder: poor.id,
      meterId,
      role: 2,
      priceLimit: ANY_PRICE,
      nonce: 7n,
      deadline,
    };
    const { name, version, chainId, verifyingContract } = await market.eip712Domain!();
    const domain = { name, version, chainId, verifyingContract };
    const signature = await owner.signTypedData(domain, CONSENT, consent);
    const args = (change: object = {}) => {
      const c = { ...consent, ...change };
      return [c.owner, c.feeder, c.meterId, c.role, c.priceLimit, c.nonce, c.deadline, signature] as const;
    };
    await refused(market.joinFor!(...args({ priceLimit: 5n })), "BadConsent");
    await refused(market.joinFor!(...args({ owner: world.owners[4]!.address })), "BadConsent");
    await refused(market.joinFor!(...args({ deadline: 1n })), "ConsentExpired", 1n);
    const receipt = await world.send(market.joinFor!(...args()));
    assert.equal(world.events(receipt, "Joined")[0]!.args.owner, owner.address);
    await refused(market.joinFor!(...args()), "ConsentUsed");

    // an owner that is a contract consents by ERC-1271: what it approves, once it does, and whatever the bytes are
    const wallet = await deployFixture(world.regulator, "attackers/HostileSigner");
    const own = { ...consent, owner: await wallet.getAddress(), meterId: world.meter("contract's").meterId };
    const join = () =>
      market.joinFor!(own.owner, own.feeder, own.meterId, own.role, own.priceLimit, own.nonce, own.deadline, "0x1234");
    await refused(join(), "BadConsent");
    await world.send(wallet.sign!(TypedDataEncoder.hash(domain, CONSENT, own)));
    for (const lie of [1, 2, 3, 4, 5]) {
      await world.send(wallet.setMode!(lie));
      await refused(join(), "BadConsent");
    }
    await world.send(wallet.setMode!(0));
    assert.equal(world.events(await world.send(join()), "Joined")[0]!.args.owner, own.owner);
    await refused(join(), "ConsentUsed");

    // 64 bytes (EIP-2098) are the same signature
    const short = { ...consent, meterId: world.meter("compact").meterId, nonce: 8n };
    const { compactSerialized } = Signature.from(await owner.signTypedData(domain, CONSENT, short));
    await world.send(market.joinFor!(...args(short).slice(0, 7), compactSerialized));
  });

  test("the regulator cannot bind who did not consent to feeder, role and price", async () => {
    const { market } = world;
    const owner = world.owners[5]!;
    const meter = world.meter("careful");
    const lot = BigInt(await world.chain.helpers.time.latest()) / 300n;
    const { reading, signature } = world.meter("careful", 0n, lot).opening();
    await world.send(
      world.registry.registerMeter!(world.chain.ethers.computeAddress(meter.key), 10n ** 9n, reading, signature),
    );
    const account = await world.join(poor.id, meter, CONSUMERS, owner, 40_000_000_000_000n);
    const from = lot + 5n;
    await refused(
      market.listConsumers!(poor.id, from, [account]),
      "PriceTooHigh",
      account,
      ANY_PRICE,
      40_000_000_000_000n,
    );
    await refused(market.listConsumers!(shared.id, from, [account]), "WrongFeeder");
    await refused(market.setCharter!(poor.id, from, poor.terms, account, []), "WrongRole");
    await refused(market.listConsumers!(poor.id, from, [10_000]), "UnknownAccount");
    // a cap that the consumer can live with
    await poor.charter(from, { terms: { maxPricePerKWh: 40_000_000_000_000n } });
    await world.send(market.listConsumers!(poor.id, from, [account]));
    await refused(
      market.setCharter!(
        poor.id,
        from + 1n,
        { ...poor.terms, maxPricePerKWh: 40_000_000_000_001n },
        poor.distributor.account,
        [],
      ),
      "PriceTooHigh",
    );
    await refused(market.setCharter!(poor.id, from + 1n, poor.terms, poor.distributor.account, []), "PriceTooHigh");
    await refused(market.listConsumers!(poor.id, from, [account]), "AlreadyListed", account);
  });

  test("a receiver that reverts hurts only itself, and re-entering takes nothing twice", async () => {
    const reverting = await deployFixture(world.regulator, "attackers/RevertingReceiver", world.book.market);
    const meter = world.meter("reverting");
    const joined = await world.send(reverting.join!(poor.id, meter.meterId, 0));
    const account: bigint = world.events(joined, "Joined")[0]!.args.account;
    await world.send(world.market.deposit!(account, { value: 1_000n }));
    const self = await reverting.getAddress();
    await refused(reverting.withdraw!(account, self, 10n), "EtherNotTaken", self, 10n);
    assert.equal(await world.market.balanceOf!(account), 1_000n);
    const to = "0x00000000000000000000000000000000000000bb";
    await world.send(reverting.withdraw!(account, to, 1_000n));
    assert.equal(await world.chain.ethers.provider.getBalance(to), 1_000n);

    const entering = await deployFixture(world.regulator, "attackers/ReenteringOwner", world.book.market);
    await world.send(entering.join!(poor.id, meter.meterId));
    const its: bigint = await entering.account!();
    await world.send(world.market.deposit!(its, { value: 1_000n }));
    await world.send(entering.withdraw!(600n));
    assert.equal(await entering.succeeded!(), 0n);
    assert.equal(await world.market.balanceOf!(its), 400n);
    assert.equal(await world.chain.ethers.provider.getBalance(await entering.getAddress()), 600n);
  });
});
