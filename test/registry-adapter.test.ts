import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { deploy } from "@bijuli/contracts";
import { MeterRegistryAbi } from "@bijuli/contracts/abi";
import {
  encodeEnergies,
  type LotReading,
  lotOf,
  meterIdOf,
  readingDomain,
  readingToJson,
  signReading,
} from "@bijuli/protocol";
import { Contract, computeAddress, JsonRpcProvider, type SigningKey } from "ethers";
import type { EvidenceItem } from "../adapter/src/evidence.ts";
import { adapterOver, FixtureReader, freePort, HandClock, keyOf, post } from "../adapter/test/fixtures.ts";

const LOT_SECONDS = 300;
const ANVIL = fileURLToPath(new URL("../node_modules/.bin/anvil", import.meta.url));
const skip = existsSync(ANVIL) ? false : "anvil has no binary for this machine";

async function startRegistry(t: TestContext) {
  const port = await freePort();
  const child = spawn(ANVIL, ["--port", String(port), "--silent"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  const provider = new JsonRpcProvider(url, 31337, { staticNetwork: true, cacheTimeout: -1, pollingInterval: 50 });
  t.after(() => provider.destroy());
  for (let tries = 0; ; tries++) {
    const up = await provider
      .send("eth_chainId", [])
      .catch((error) => (tries > 100 ? Promise.reject(error) : undefined));
    if (up !== undefined) break;
    await sleep(30);
  }
  const regulator = await provider.getSigner();
  const book = await deploy(regulator, { lotSeconds: LOT_SECONDS, nodes: [] });
  return {
    url,
    child,
    regulator,
    registry: new Contract(book.registry, MeterRegistryAbi, regulator),
    address: book.registry,
  };
}

const METER = "ROTATED-1";
const meterId = meterIdOf(METER);
const [first, second] = [keyOf("its first key"), keyOf("its second key")] as const;

test(
  "the adapter follows the registry's signers, and the registry takes the adapter's evidence",
  { skip },
  async (t) => {
    const { url, child, regulator, registry, address } = await startRegistry(t);
    const domain = readingDomain({ chainId: 31337, registry: address });
    const { timestamp } = (await regulator.provider.getBlock("latest"))!;
    const now = lotOf(BigInt(timestamp), LOT_SECONDS);
    const reading = (lot: bigint, perLot = 1000n): LotReading => ({
      meterId,
      lot,
      lotSeconds: LOT_SECONDS,
      forward: 1_000_000n + (lot - now + 100n) * perLot,
      reverse: 0n,
      quality: 0,
      energies: [perLot],
    });
    const backwards = await new FixtureReader("BACKWARDS-1", { firstLot: now - 100n, domain }).start();
    t.after(() => backwards.stop());
    const adapter = await adapterOver([], {
      clock: new HandClock(now + 10n),
      env: {
        REGISTRY_ADDRESS: address,
        RPC_URL: url,
        PUSHES_PER_SECOND: "0",
        READERS: JSON.stringify([{ serial: METER }, { serial: backwards.serial, url: backwards.url }]),
      },
    });
    t.after(() => adapter.close());
    const push = (one: LotReading, key: SigningKey) =>
      post(`${adapter.url}/readings`, { reading: readingToJson(one), signature: signReading(domain, one, key) });

    const unknown = await push(reading(now - 1n), first);
    assert.equal(unknown.status, 503);
    assert.match(unknown.body.error.message, /ROTATED-1.*the registry has no signer for it/);

    const opening = reading(now - 5n);
    const onChain = { ...opening, energies: encodeEnergies(opening.energies) };
    const sent = async (name: string, ...args: unknown[]) => (await registry.getFunction(name)(...args)).wait();
    await sent(
      "registerMeter",
      computeAddress(first.publicKey),
      10n ** 9n,
      onChain,
      signReading(domain, opening, first),
    );
    await sent("rotateSigner", meterId, computeAddress(second.publicKey), now + 3n);
    await sleep(1050);

    assert.equal((await push(reading(now - 1n), first)).status, 200, "registered meanwhile: no restart is needed");
    assert.equal(
      (await push(reading(now + 2n), first)).status,
      200,
      "the first key signs to the last lot before the rotation",
    );
    const stale = await push(reading(now + 3n), first);
    assert.equal(stale.status, 401);
    assert.ok(stale.body.error.message.includes(`expected ${computeAddress(second.publicKey).toLowerCase()}`));
    assert.equal((await push(reading(now + 3n), second)).status, 200);

    const other = await push({ ...reading(now + 3n), forward: 5_000_000n }, second);
    assert.equal(other.status, 400);
    assert.equal(other.body.error.name, "Disagreement");
    // Across the rotation each key is for its own lots: two keys, one lot's end, no proof against either.
    const across = await push({ ...reading(now + 3n), energies: [7n, 1000n] }, second);
    assert.equal(across.body.error.name, "Disagreement");
    // A register that goes back: the run in between, which the adapter asks for, is what the registry takes.
    const openingOf = backwards.reading(now - 5n, 1);
    await sent(
      "registerMeter",
      backwards.signer,
      10n ** 9n,
      { ...openingOf, energies: encodeEnergies(openingOf.energies) },
      backwards.sign(openingOf),
    );
    await sleep(1050);
    const ask = (lot: bigint) => post(adapter.url, { data: { meters: [backwards.serial], lot: lot.toString() } });
    backwards.fault = "other-history";
    assert.equal((await ask(now - 3n)).status, 200);
    backwards.fault = "none";
    assert.match((await ask(now - 1n)).body.error.message, /register go back/);

    const { evidence } = (await (await fetch(`${adapter.url}/evidence`)).json()) as { evidence: EvidenceItem[] };
    assert.deepEqual(
      evidence.map(({ serial, kind, report }) => [serial, kind, report !== undefined]),
      [
        [METER, "registers-differ", true],
        [METER, "registers-differ", false],
        [backwards.serial, "register-goes-back", false],
        [backwards.serial, "registers-differ", true],
      ],
    );
    assert.deepEqual(
      evidence[1]!.readings.map(({ signer }) => signer),
      [first, second].map((key) => computeAddress(key.publicKey).toLowerCase()),
    );
    const accuser = await regulator.provider.getSigner(3);
    for (const { serial, report, lot } of evidence) {
      if (report === undefined) continue;
      const receipt = await (await accuser.sendTransaction({ to: address, data: report.calldata })).wait();
      const proven = receipt!.logs.map((log) => registry.interface.parseLog(log)).filter((log) => log !== null);
      const found = proven.find(({ name }) => name === "EquivocationProven");
      assert.equal(found?.args.meterId, meterIdOf(serial), "the registry takes it from anyone");
      // The registry names the newest lot's end at which the two differ, the adapter the earliest.
      assert.ok(found?.args.lot >= BigInt(lot));
    }

    child.kill("SIGKILL");
    const down = await push(reading(now + 5n), second);
    assert.equal(down.status, 503);
    assert.match(down.body.error.message, /ROTATED-1.*the chain does not tell its signer/);
    const data = { meters: [METER], lot: (now + 2n).toString() };
    assert.equal((await post(adapter.url, { data })).status, 200, "what was verified needs no chain");
  },
);
