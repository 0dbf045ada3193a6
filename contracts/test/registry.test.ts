import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeEnergies, type Hex, type LotReading } from "@bijuli/protocol";
import { id, SigningKey } from "ethers";
import { CONSUMERS, DISTRIBUTOR, FIRST_LOT, PLANT, type TestFeeder, World } from "./support/feeder.ts";
import type { TestMeter } from "./support/meter.ts";
import { refused } from "./support/refused.ts";

describe("the meters' registry", () => {
  let world: World;
  let feeder: TestFeeder;
  before(async () => {
    world = await World.create();
    feeder = await world.feeder({ consumers: 3 });
  });
  after(() => world.close());

  const now = async () => BigInt(await world.chain.helpers.time.latest()) / 300n;
  const address = (key: SigningKey) => world.chain.ethers.computeAddress(key);
  const testimony = (meter: TestMeter, reading: LotReading, key = meter.key) => ({
    lot: reading.lot,
    forward: reading.forward,
    reverse: reading.reverse,
    quality: reading.quality,
    energies: encodeEnergies(reading.energies),
    signature: meter.sign(reading, key),
  });

  test("a meter is registered once, by the regulator, with an opening that it signed itself", async () => {
    const { registry } = world;
    const meter = world.meter("new", 77n);
    const { reading, signature } = meter.opening();
    const signer = address(meter.key);
    await refused(
      registry.connect(world.owners[0]!).getFunction("registerMeter")(signer, 5n, reading, signature),
      "AccessManagedUnauthorized",
    );
    await refused(
      registry.registerMeter!(world.owners[0]!.address, 5n, reading, signature),
      "BadSignature",
      meter.meterId,
    );
    await refused(
      registry.registerMeter!("0x0000000000000000000000000000000000000000", 5n, reading, signature),
      "ZeroSigner",
    );
    await refused(registry.registerMeter!(signer, 0n, reading, signature), "CapacityOutOfRange", 0n);
    await refused(registry.registerMeter!(signer, 2n ** 47n, reading, signature), "CapacityOutOfRange");
    await refused(
      registry.registerMeter!(signer, 5n, { ...reading, meterId: `0x${"00".repeat(32)}` }, signature),
      "ZeroMeterId",
    );
    await refused(
      registry.registerMeter!(signer, 5n, { ...reading, lotSeconds: 60 }, signature),
      "WrongLotSeconds",
      60n,
      300n,
    );
    await refused(registry.registerMeter!(signer, 5n, { ...reading, lot: FIRST_LOT + 9n }, signature), "LotNotOver");
    await refused(registry.registerMeter!(signer, 5n, { ...reading, energies: "0x00" }, signature), "BadEnergies", 1n);
    await world.send(registry.registerMeter!(signer, 5n, reading, signature));
    await refused(registry.registerMeter!(signer, 5n, reading, signature), "MeterAlreadyRegistered", meter.meterId);
    assert.deepEqual([...(await registry.openingOf!(meter.meterId))], [FIRST_LOT - 1n, 77n, 0n]);
    assert.equal(await registry.isValidReading!(reading, signature), true);
    assert.equal(await registry.isMeter!(id("nobody")), false);
    await refused(registry.openingOf!(id("nobody")), "UnknownMeter");
  });

  test("signers and capacities are histories by lot, changed for lots not yet begun, in order", async () => {
    const { registry } = world;
    const meter = world.meter("history");
    await world.register(meter, 1_000n);
    const from = (await now()) + 1n;
    const next = new SigningKey(id("the next key"));
    await refused(registry.rotateSigner!(meter.meterId, address(next), from - 1n), "LotBegun", from - 1n, from);
    await refused(registry.rotateSigner!(meter.meterId, address(next), from + 9_000n), "TooFarAhead");
    await refused(registry.rotateSigner!(id("nobody"), address(next), from), "UnknownMeter");
    await refused(
      registry.rotateSigner!(meter.meterId, "0x0000000000000000000000000000000000000000", from),
      "ZeroSigner",
    );
    await world.send(registry.rotateSigner!(meter.meterId, address(next), from + 2n));
    await refused(registry.setCapacity!(meter.meterId, 2_000n, from + 1n), "OutOfOrder", from + 1n, from + 2n);
    await world.send(registry.setCapacity!(meter.meterId, 2_000n, from + 2n));
    await world.send(registry.setCapacity!(meter.meterId, 3_000n, from + 4n));
    await world.send(registry.suspend!(meter.meterId, from + 6n));
    await refused(registry.suspend!(meter.meterId, from + 7n), "MeterIsSuspended");
    await refused(registry.rotateSigner!(meter.meterId, address(next), from + 7n), "MeterIsSuspended");
    await world.send(registry.reinstate!(meter.meterId, address(meter.key), from + 8n));
    await refused(registry.reinstate!(meter.meterId, address(meter.key), from + 9n), "MeterNotSuspended");
    const at = async (lot: bigint) => [
      ...(await registry.signerAt!(meter.meterId, lot)),
      await registry.capacityAt!(meter.meterId, lot),
    ];
    assert.deepEqual(await at(FIRST_LOT - 2n), ["0x0000000000000000000000000000000000000000", false, 0n]);
    assert.deepEqual(await at(from + 1n), [address(meter.key), false, 1_000n]);
    assert.deepEqual(await at(from + 2n), [address(next), false, 2_000n]);
    assert.deepEqual(await at(from + 5n), [address(next), false, 3_000n]);
    assert.deepEqual(await at(from + 7n), [address(next), true, 3_000n]);
    assert.deepEqual(await at(from + 100n), [address(meter.key), false, 3_000n]);
  });

  test("two readings that contradict each other suspend the meter from the next lot not opened", async () => {
    const { registry } = world;
    const lot = FIRST_LOT + 4n;
    for (let at = FIRST_LOT; at <= lot + 1n; at++) feeder.measure(at, [5_000n], 4_900n, [1_000n, 2_000n, 500n]);
    await world.after(lot);
    await feeder.open(lot);
    const { meter } = feeder.consumers[0]!;
    const honest = meter.reading(lot, 5);
    const honestLater = meter.reading(lot - 1n, 2);
    const lie: LotReading = { ...meter.reading(lot - 2n, 2), forward: honest.forward - 1_999n };
    const signer = address(meter.key);
    const report = (a: object, b: object, who = signer) => registry.reportEquivocation!(meter.meterId, who, a, b);
    // an honest meter cannot be framed
    await refused(report(testimony(meter, honest), testimony(meter, honestLater)), "NoContradiction");
    await refused(report(testimony(meter, honest), testimony(meter, honest)), "NoContradiction");
    await refused(
      report(testimony(meter, honest), testimony(meter, lie, new SigningKey(id("forger")))),
      "BadSignature",
    );
    await refused(report(testimony(meter, honest), testimony(meter, lie), world.owners[0]!.address), "SignerRetired");
    await refused(
      report(testimony(meter, meter.reading(lot, 1)), testimony(meter, meter.reading(FIRST_LOT, 1))),
      "NoCommonLot",
    );
    await refused(report({ ...testimony(meter, honest), energies: "0x" }, testimony(meter, lie)), "BadEnergies", 0n);
    const other = feeder.consumers[1]!.meter;
    await refused(report(testimony(other, other.reading(lot, 1)), testimony(meter, lie)), "BadSignature");

    const receipt = await world.send(report(testimony(meter, honest), testimony(meter, lie)));
    const proof = world.events(receipt, "EquivocationProven")[0]!.args;
    assert.deepEqual(
      [proof.lot, proof.register, proof.otherRegister, proof.suspends],
      [lot - 2n, 3_000n, 3_001n, true],
    );
    assert.equal(world.events(receipt, "MeterSuspended")[0]!.args.fromLot, lot + 1n);
    // what was opened is still cleared with it, what comes after is not
    await feeder.submit(PLANT, lot, feeder.records(PLANT, lot, 5));
    await feeder.submit(DISTRIBUTOR, lot, feeder.records(DISTRIBUTOR, lot, 5));
    const cleared = await feeder.submit(CONSUMERS, lot, feeder.records(CONSUMERS, lot, 5));
    assert.equal(world.events(cleared, "ConsumerCleared").length, 3);
    const after = (await feeder.clear(lot + 1n, 1))[3]!;
    assert.deepEqual(
      world.events(after, "ReadingRefused").map(({ args }) => [args.meterId, args.reason]),
      [[meter.meterId, 6n]],
    );
  });

  test("a retired signer's contradiction is recorded and suspends nobody", async () => {
    const { registry } = world;
    const { meter } = feeder.consumers[2]!;
    const old = meter.key;
    const next = new SigningKey(id("rotated"));
    const from = (await now()) + 1n;
    await world.send(registry.rotateSigner!(meter.meterId, address(next), from));
    await world.after(from);
    const a = meter.reading(FIRST_LOT + 1n, 1);
    const b = { ...a, reverse: 5n };
    const receipt = await world.send(
      registry.reportEquivocation!(meter.meterId, address(old), testimony(meter, a, old), testimony(meter, b, old)),
    );
    assert.equal(world.events(receipt, "EquivocationProven")[0]!.args.suspends, false);
    assert.equal(world.events(receipt, "MeterSuspended").length, 0);
    // and what it signs for lots after its time proves nothing
    const late = { ...a, lot: from + 1n };
    await refused(
      registry.reportEquivocation!(
        meter.meterId,
        address(old),
        testimony(meter, late, old),
        testimony(meter, { ...late, reverse: 9n }, old),
      ),
      "SignerRetired",
    );
  });

  test("announcing a new signer saves nobody: the suspension overtakes what was announced", async () => {
    const { registry } = world;
    const meter = world.meter("about to retire", 0n, await now());
    await world.register(meter, 1_000n);
    const from = (await now()) + 1n;
    const next = new SigningKey(id("announced"));
    await world.send(registry.setCapacity!(meter.meterId, 2_000n, from + 1n));
    await world.send(registry.rotateSigner!(meter.meterId, address(next), from + 3n));
    const a = meter.reading(from - 1n, 1);
    const b = { ...a, reverse: 1n };
    const receipt = await world.send(
      registry.reportEquivocation!(meter.meterId, address(meter.key), testimony(meter, a), testimony(meter, b)),
    );
    assert.equal(world.events(receipt, "MeterSuspended")[0]!.args.fromLot, from - 1n);
    assert.deepEqual([...(await registry.signerAt!(meter.meterId, from + 9n))], [address(meter.key), true]);
    assert.equal(await registry.capacityAt!(meter.meterId, from + 9n), 1_000n);
    await refused(registry.reinstate!(meter.meterId, "0x0000000000000000000000000000000000000000", from), "ZeroSigner");
    await world.send(registry.reinstate!(meter.meterId, address(next), from + 2n));
    assert.deepEqual([...(await registry.signerAt!(meter.meterId, from + 2n))], [address(next), false]);
  });

  test("it says what it is", async () => {
    const { registry, market } = world;
    assert.equal(await registry.supportsInterface!("0x01ffc9a7"), true);
    assert.equal(await market.supportsInterface!("0x01ffc9a7"), true);
    assert.equal(await market.supportsInterface!("0xffffffff"), false);
    assert.equal((await registry.eip712Domain!()).name, "Bijuli");
    assert.equal((await registry.eip712Domain!()).verifyingContract, world.book.registry as Hex);
  });
});
