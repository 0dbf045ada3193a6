import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { AbiCoder, Contract, ContractFactory } from "ethers";
import { ETHER, FIRST_LOT, SPEC_ID, World } from "./support/feeder.ts";

describe("an example: a bounty for measured sunlight, the reading client's second user", () => {
  let world: World;
  let bounty: Contract;
  before(async () => {
    world = await World.create();
    const file = new URL("../artifacts/release/src/examples/SolarBounty.sol/SolarBounty.json", import.meta.url);
    const { abi, bytecode } = JSON.parse(readFileSync(file, "utf8"));
    const deployed = await new ContractFactory(abi, bytecode, world.regulator).deploy(
      world.book.registry,
      world.book.link,
    );
    bounty = new Contract(await deployed.getAddress(), abi, world.regulator);
  });
  after(() => world.close());

  test("the meter's signature alone decides what is paid", async () => {
    const meter = world.meter("roof");
    await world.register(meter);
    for (const [i, energy] of [5_000_000n, 7_000_000n, 1n].entries()) meter.energies.set(FIRST_LOT + BigInt(i), energy);
    const last = FIRST_LOT + 2n;
    const owner = world.owners[0]!;
    await world.send(bounty.offer!(meter.meterId, owner.address, last, 2, 10n ** 15n, { value: ETHER }));
    await assert.rejects(bounty.ask!(0, world.book.operator, SPEC_ID, 0));
    await world.after(last);
    await world.send(world.link.approve!(await bounty.getAddress(), ETHER));

    const ask = async () => {
      const receipt = await world.send(bounty.ask!(0, world.book.operator, SPEC_ID, ETHER / 10n));
      return receipt.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? [])[0]!.args;
    };
    const answer = async (request: Awaited<ReturnType<typeof ask>>, records: string) => {
      const { requestId, payment, callbackAddr, callbackFunctionId, cancelExpiration } = request;
      const data = AbiCoder.defaultAbiCoder().encode(["bytes32", "bytes"], [requestId, records]);
      const receipt = await world.send(
        world.operator.fulfillOracleRequest2!(
          requestId,
          payment,
          callbackAddr,
          callbackFunctionId,
          cancelExpiration,
          data,
          { gasLimit: 2_000_000n },
        ),
      );
      return receipt.logs.flatMap((log) => bounty.interface.parseLog(log) ?? []).map((e) => e.name);
    };
    // a lie, garbage and too short a run pay nothing; the bounty stays open
    const lie = { ...meter.reading(last, 2), energies: [9_000_000n, 1n], forward: 20_000_000n };
    const { encodeRecord } = await import("@bijuli/protocol");
    const forged = encodeRecord(lie, world.meter("other roof").sign(lie));
    for (const records of [forged, "0x", "0x0000", meter.record(last, 1)]) {
      assert.deepEqual(await answer(await ask(), records), ["ChainlinkFulfilled", "ReadingNotTaken"]);
    }
    assert.deepEqual(await answer(await ask(), meter.record(last, 3)), ["ChainlinkFulfilled", "Settled"]);
    assert.equal(await bounty.owedTo!(owner.address), (7_000_001n * 10n ** 15n) / 10n ** 7n);
    assert.equal(await bounty.owedTo!(world.regulator.address), ETHER - (7_000_001n * 10n ** 15n) / 10n ** 7n);
    await world.send(bounty.connect(owner).getFunction("withdraw")());
    await assert.rejects(bounty.connect(owner).getFunction("withdraw")());
    await assert.rejects(bounty.ask!(0, world.book.operator, SPEC_ID, 0));
    await assert.rejects(bounty.ask!(1, world.book.operator, SPEC_ID, 0));
  });
});
