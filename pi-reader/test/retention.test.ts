import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createPublicKey, verify } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { formatKWh } from "@bijuli/protocol";
import { SigningKey } from "ethers/crypto";
import { AdapterClient } from "../src/adapterClient.ts";
import { audit } from "../src/commands/audit.ts";
import { Pusher } from "../src/pusher.ts";
import { Retention } from "../src/retention.ts";
import { storedSigners } from "../src/signerHistory.ts";
import { DOMAIN, KEY, startMeter, tempFolder } from "./bench.ts";
import { HandClock } from "./handClock.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

function run(args: string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8", env: { PATH: process.env.PATH!, ...env } });
}

test("old lots go to the archive, and only then out of the store; the registers' chain holds across both", async (t) => {
  const folder = tempFolder(t);
  const store = join(folder, "store.db");
  const archive = join(folder, "archive");
  const clock = new HandClock("2026-01-01T03:00:00Z");
  const options = {
    source: 'simulate:{"watts":777,"noise":0.5}',
    clock,
    store,
    lotSeconds: 21_600,
    began: clock.nowMs(),
  };
  const meter = startMeter(t, options);
  const first = meter.meter.firstLot!;
  clock.moveTo("2026-02-10T00:00:00Z");
  const whole = await meter.meter.reading(first + 159n, 160);
  const retention = new Retention({ store: meter.store, lotSeconds: 21_600, days: 32, archive });

  // Where nothing can be written, nothing is pruned.
  const blocked = new Retention({ store: meter.store, lotSeconds: 21_600, days: 32, archive: join(store, "no") });
  assert.throws(() => blocked.archiveOne(), { code: "archive-failed", message: /all lots stay in the store/ });
  assert.equal(meter.meter.oldestLot, first);

  const file = retention.archiveOne()!;
  assert.equal(file, join(archive, `lots-2026-01-01-${first}-${first + 31n}.jsonl`));
  assert.equal(retention.archiveOne(), undefined);
  assert.equal(meter.meter.oldestLot, first + 32n);
  await assert.rejects(meter.meter.reading(first + 34n, 6), { code: "not-kept", remedy: /archive/ });
  const kept = await meter.meter.reading(first + 159n, 128);
  assert.deepEqual(kept.reading.energies, whole.reading.energies.slice(32));
  assert.equal(kept.reading.forward, whole.reading.forward);

  // A day later the next file follows.
  clock.moveTo("2026-02-11T00:00:00Z");
  await meter.meter.closeDue();
  const second = retention.archiveOne()!;
  assert.equal(readdirSync(archive).length, 2);
  meter.store.close();

  const said = t.mock.method(console, "log", () => {});
  const audited = async (...args: string[]) => {
    await audit.run(args);
    const [report] = said.mock.calls.at(-1)!.arguments as unknown as [string];
    return JSON.parse(report) as { ok: boolean; lots: number; forward: string; problems: string[] };
  };
  const alone = await audited("--store", store);
  assert.deepEqual([alone.ok, alone.lots], [true, 128]);
  const all = await audited("--export", file, "--export", second, "--store", store);
  assert.deepEqual([all.ok, all.lots, all.forward], [true, 164, alone.forward]);
  const hole = await audited("--export", file, "--store", store);
  assert.match(hole.problems[0]!, /follows lot/);
  const lines = readFileSync(second, "utf8").split("\n");
  const altered = `${second}.altered`;
  const lot = JSON.parse(lines[1]!);
  writeFileSync(altered, [lines[0], JSON.stringify({ ...lot, forward: `${BigInt(lot.forward) + 1n}` })].join("\n"));
  assert.match(
    (await audited("--export", altered)).problems.join("\n"),
    /its forward register goes from.*\n.*is signed by/,
  );

  // The meter goes on from a store that was pruned, and an archive that says otherwise is left alone.
  const again = startMeter(t, options);
  clock.moveTo("2026-02-12T00:00:00Z");
  await again.meter.closeDue();
  assert.equal(again.meter.oldestLot, first + 36n);
  writeFileSync(join(archive, `lots-2026-01-10-${first + 36n}-${first + 39n}.jsonl`), "another meter's");
  const refused = new Retention({ store: again.store, lotSeconds: 21_600, days: 32, archive });
  assert.throws(() => refused.archiveOne(), /exists and says otherwise/);
  assert.equal(again.meter.oldestLot, first + 36n);
});

test("OCMF: a fiscal record a lot, its page the lot's number, all decimals, a signature that others can check", async (t) => {
  const store = join(tempFolder(t), "store.db");
  const clock = new HandClock("2026-01-01T00:00:00Z");
  const { meter } = startMeter(t, { source: 'simulate:{"watts":-777}', clock, store, serial: "HOUSE|1" });
  clock.moveTo("2026-01-01T00:15:00Z");
  await meter.closeDue();
  const lots = meter.lots(0n, 2n ** 62n);
  const args = ["export", "--store", store, "--format", "ocmf", "--current", "DC"];
  const exported = run(args, { READER_KEY: KEY });
  assert.equal(exported.status, 0, exported.stderr);
  const records = exported.stdout.trimEnd().split("\n");
  assert.equal(records.length, 3);
  const { x, y } = (() => {
    const point = Buffer.from(SigningKey.computePublicKey(KEY).slice(4), "hex");
    return { x: point.subarray(0, 32).toString("base64url"), y: point.subarray(32).toString("base64url") };
  })();
  const publicKey = createPublicKey({ key: { kty: "EC", crv: "secp256k1", x, y }, format: "jwk" });
  for (const [index, record] of records.entries()) {
    const sections = record.split("|");
    assert.equal(sections.length, 3);
    const [header, payload, signed] = sections as [string, string, string];
    assert.equal(header, "OCMF");
    const lot = lots[index]!;
    const time = `2026-01-01T00:${String(5 * index + 5).padStart(2, "0")}:00,000+0000 S`;
    const { RD, ...general } = JSON.parse(payload);
    assert.equal(general.PG, `F${lot.lot}`);
    assert.equal(general.MS, "HOUSE|1");
    assert.equal(general.XS, lot.signature);
    assert.deepEqual(
      RD.map(({ RV, ...rest }: { RV: number }) => rest),
      [
        {
          TM: time,
          RI: "1-0:1.8.0",
          RU: "kWh",
          RT: "DC",
          EF: "",
          ST: "G",
        },
        { TM: time, RI: "1-0:2.8.0", ST: "G" },
      ],
    );
    assert.ok(payload.includes(`"RV":0.0000000,`) && payload.includes(`"RV":${formatKWh(lot.reverse)},`));
    const { SA, SD } = JSON.parse(signed);
    assert.equal(SA, "ECDSA-secp256k1-SHA256");
    assert.ok(verify("sha256", Buffer.from(payload), publicKey, Buffer.from(SD, "hex")));
  }
  const foreign = run(args, { READER_KEY: `0x${"22".repeat(32)}` });
  assert.equal(foreign.status, 2);
  assert.match(foreign.stderr, /is none of HOUSE\|1's/);
});

test("what was archived before an adapter came back is not pushed any more, and does not hold up what follows", async (t) => {
  const folder = tempFolder(t);
  const clock = new HandClock("2026-01-01T03:00:00Z");
  const store = join(folder, "store.db");
  const options = { source: 'simulate:{"watts":777}', clock, store, lotSeconds: 21_600, began: clock.nowMs() };
  const one = startMeter(t, options);
  clock.moveTo("2026-02-10T00:00:00Z");
  await one.meter.closeDue();
  new Retention({ store: one.store, lotSeconds: 21_600, days: 32, archive: join(folder, "archive") }).archiveOne();
  const pushed: string[] = [];
  const adapter = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => {
      body += data;
    });
    request.on("end", () => {
      pushed.push(JSON.parse(body).reading.lot);
      response.end("{}");
    });
  }).listen(0, "127.0.0.1");
  await once(adapter, "listening");
  t.after(() => {
    adapter.close();
    adapter.closeAllConnections();
  });
  const client = new AdapterClient({
    url: `http://127.0.0.1:${(adapter.address() as AddressInfo).port}`,
    serial: one.meter.serial,
    signers: storedSigners(one.store)!,
    domain: DOMAIN,
    lotSeconds: 21_600,
  });
  await new Pusher(one.meter, client, one.store).push();
  const { oldestLot, newestLot } = one.meter;
  assert.ok(oldestLot! > one.meter.firstLot!);
  assert.deepEqual([pushed[0], pushed.at(-1)], [`${oldestLot}`, `${newestLot}`]);
});
