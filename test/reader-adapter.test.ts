import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ADAPTER_SETTINGS, startAdapter } from "@bijuli/adapter";
import {
  AdapterClient,
  audit,
  checkKnownLot,
  keySigner,
  LiveSource,
  Meter,
  Pusher,
  recoverLots,
  Store,
  storedLots,
  storeIdentity,
} from "@bijuli/pi-reader";
import { disagreement, type Hex, loadSettings, readingDomain } from "@bijuli/protocol";
import { pino } from "pino";
import { BenchSensor, BenchTimebase, S } from "../pi-reader/test/liveBench.ts";

const SERIAL = "HOUSE-1";
const KEY: Hex = `0x${"11".repeat(32)}`;
const REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const domain = readingDomain({ chainId: 31337n, registry: REGISTRY });

/** A meter that measures, on a store that can be copied and put back, and an adapter that it pushes to. */
async function bench(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const signer = keySigner(KEY);
  const adapter = await startAdapter(
    loadSettings(ADAPTER_SETTINGS, {
      EA_PORT: "0",
      READERS: JSON.stringify([{ serial: SERIAL, signer: signer.address }]),
      CHAIN_ID: "31337",
      REGISTRY_ADDRESS: REGISTRY,
      METRICS_ENABLED: "false",
    }),
    { log: pino({ level: "silent" }) },
  );
  t.after(() => adapter.close());
  const client = new AdapterClient({
    url: adapter.url,
    serial: SERIAL,
    signers: [{ fromLot: 0n, address: signer.address }],
    domain,
    lotSeconds: 300,
  });
  const timebase = new BenchTimebase(new Date(Date.now() - 3 * 3_600_000).toISOString());
  const path = join(folder, "store.db");

  const boot = () => {
    const store = Store.open(path);
    const newest = store.newest()?.lot;
    const source = new LiveSource({
      sensor: new BenchSensor(timebase, (ns) => 500_000_000n + (ns % 777_777_777n)),
      timebase,
      lotSeconds: 300,
      sampleMs: 1000,
      gapLimitMs: 5000,
      next: newest === undefined ? undefined : newest + 1n,
      checkpoint: store.get("checkpoint") === undefined ? undefined : JSON.parse(store.get("checkpoint")!),
    });
    const meter = new Meter({ serial: SERIAL, domain, lotSeconds: 300, signer, source, store });
    return { store, source, meter, pusher: new Pusher(meter, client, store) };
  };
  const measure = async ({ source, meter, pusher }: ReturnType<typeof boot>, seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      timebase.pass(S);
      await source.cycle();
      await meter.closeDue();
    }
    await pusher.push();
  };
  return { path, client, timebase, boot, measure };
}

test("a store that was restored from an old copy is refused, taken up to date, and never contradicts itself", async (t) => {
  const { path, client, timebase, boot, measure } = await bench(t);
  const first = boot();
  await assert.rejects(checkKnownLot(first.store, client, SERIAL), { code: "adapter-silent" });
  await measure(first, 900);
  await checkKnownLot(first.store, client, SERIAL);
  first.store.close();
  copyFileSync(path, `${path}.copy`);

  const second = boot();
  await measure(second, 1500);
  const signed = await second.meter.reading(second.meter.newestLot!, 5);
  second.store.close();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  copyFileSync(`${path}.copy`, path);

  timebase.pass(600n * S);
  const old = Store.open(path);
  await assert.rejects(checkKnownLot(old, client, SERIAL), {
    code: "store-behind",
    message: new RegExp(`has signed lot ${signed.reading.lot}, but the store .* is an old copy`),
  });
  const recovered = await recoverLots(old, client);
  assert.ok(recovered >= 4, `${recovered} lots`);
  await checkKnownLot(old, client, SERIAL);
  assert.equal(await recoverLots(old, client), 0);
  old.close();

  const third = boot();
  t.after(() => third.store.close());
  assert.equal(disagreement((await third.meter.reading(signed.reading.lot, 5)).reading, signed.reading), undefined);
  await measure(third, 900);
  assert.equal((await client.newest()).lot, third.meter.newestLot);
  const report = audit(storeIdentity(third.store), storedLots(third.store));
  assert.deepEqual(report.problems, []);
});

test("a store that went its own way is refused, and nothing is taken up into it", async (t) => {
  const { path, client, boot, measure } = await bench(t);
  const first = boot();
  await measure(first, 600);
  first.store.close();
  copyFileSync(path, `${path}.copy`);
  const second = boot();
  await measure(second, 900);
  second.store.close();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  copyFileSync(`${path}.copy`, path);
  // Somebody let the copy run on for a lot before asking.
  const third = boot();
  third.store.append([{ ...third.store.newest()!, lot: third.store.newest()!.lot + 1n, energy: 0n }]);
  await assert.rejects(recoverLots(third.store, client), { code: "store-contradicts" });
  third.store.close();
});
