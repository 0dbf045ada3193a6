import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { type Hex, loadSettings, MISSING_RECORD } from "@bijuli/protocol";
import { concat } from "ethers";
import pino from "pino";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  LOT_SECONDS,
  PLANT,
  type TestFeeder,
  World,
} from "../../contracts/test/support/feeder.ts";
import { checkLot } from "../src/page/verify.ts";
import { type Dashboard, startDashboard } from "../src/server/dashboard.ts";
import { PROJECTED } from "../src/server/schema.ts";
import { dashboardSettings } from "../src/server/settings.ts";
import type {
  AccountDetailJson,
  AccountJson,
  AlarmJson,
  ClearingJson,
  FeederJson,
  LotDetailJson,
  LotJson,
  MeterJson,
  Page,
  RequestJson,
  SeriesJson,
  StatusJson,
} from "../src/server/shapes.ts";
import { serveRpc } from "./support/rpc-server.ts";

const UNIT = 1_000_000n;

/** A real chain, the server on it, and what it answers. */
describe("the page's server", () => {
  let world: World;
  let feeder: TestFeeder;
  let rpc: Awaited<ReturnType<typeof serveRpc>>;
  let dashboard: Dashboard;
  const folders: string[] = [];
  const send = (method: string, ...params: unknown[]) => world.chain.ethers.provider.send(method, params);

  const settingsFor = (folder: string) =>
    loadSettings(dashboardSettings, {
      RPC_URL: rpc.url,
      MARKET_ADDRESS: world.book.market,
      DATA_DIR: folder,
      DASHBOARD_PORT: "0",
      POLL_INTERVAL_MS: "25",
      LOG_LEVEL: "silent",
    });
  const open = (folder: string) => startDashboard(settingsFor(folder), pino({ level: "silent" }));
  const newFolder = () => {
    const folder = mkdtempSync(join(tmpdir(), "bijuli-page-"));
    folders.push(folder);
    return folder;
  };
  const get = async <T>(path: string, from: Dashboard = dashboard): Promise<T> => {
    const response = await fetch(new URL(path, from.url));
    assert.equal(response.status, 200, `${path}: ${response.status}`);
    return (await response.json()) as T;
  };
  const caughtUp = async (on: Dashboard = dashboard) => {
    const head = Number(await send("eth_blockNumber"));
    for (let i = 0; i < 800; i++, await new Promise((resolve) => setTimeout(resolve, 25))) {
      const { followed, head: seen, problems } = await get<StatusJson>("/api/status", on);
      // While a branch goes, the chain may not know what it has just told: that is asked again.
      if (problems.length > 0) continue;
      // After a reorg the followed block may be one of the chain that was: the head must have been seen, too.
      if (followed === head && seen?.number === head) return;
    }
    assert.fail("the server does not catch up");
  };
  /** Sends 10, receives `received`, uses `used`, in tenths of a kWh. */
  const measure = (lot: bigint, received: bigint, used: bigint) =>
    feeder.measure(lot, [6n * UNIT, 4n * UNIT], (received * UNIT) / 10n, [(used * UNIT) / 10n, UNIT, 2n * UNIT]);
  const tables = (folder: string) => {
    const database = new DatabaseSync(join(folder, "page.sqlite"), { readOnly: true });
    const all = Object.keys(PROJECTED).map((table) => {
      const statement = database.prepare(`select * from ${table}`);
      statement.setReadBigInts(true);
      return [table, statement.all()] as const;
    });
    database.close();
    return Object.fromEntries(all);
  };

  before(async () => {
    world = await World.create();
    feeder = await world.feeder({ name: "valley", plants: [33n * 10n ** 12n, 41n * 10n ** 12n], consumers: 3 });
    rpc = await serveRpc((method, params) => send(method, ...params) as Promise<unknown>);
    measure(FIRST_LOT, 91n, 59n);
    // The second lot: a fifth is stolen on the line. The third: a consumer is missing, and comes with the fourth.
    measure(FIRST_LOT + 1n, 72n, 40n);
    measure(FIRST_LOT + 2n, 91n, 59n);
    measure(FIRST_LOT + 3n, 91n, 30n);
    const opening = await feeder.open(FIRST_LOT);
    for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS])
      await feeder.fulfil(opening, stage, feeder.records(stage, FIRST_LOT, 1));
    await feeder.clear(FIRST_LOT + 1n, 1);
    const third = FIRST_LOT + 2n;
    await feeder.open(third);
    await feeder.submit(PLANT, third, feeder.records(PLANT, third, 1));
    await feeder.submit(DISTRIBUTOR, third, feeder.records(DISTRIBUTOR, third, 1));
    const present = feeder.consumers.slice(1).map(({ meter }) => meter.record(third, 1));
    await feeder.submit(CONSUMERS, third, concat([MISSING_RECORD, ...present]) as Hex);
    await world.after(third, 600n);
    await world.send(world.market.close!(feeder.id, third));
    dashboard = await open(newFolder());
    await caughtUp();
  });
  after(async () => {
    await dashboard?.close();
    rpc?.close();
    await world?.close();
    for (const folder of folders) rmSync(folder, { recursive: true });
  });

  test("a feeder, its lots, and what was out of the ordinary", async () => {
    const shown = await get<FeederJson>(`/api/feeders/${feeder.id}`);
    assert.equal(shown.name, "valley");
    assert.equal(shown.lots, 3);
    assert.equal(shown.people.length, 6);
    const { items } = await get<Page<LotJson>>(`/api/feeders/${feeder.id}/lots`);
    assert.deepEqual(
      items.map(({ lot }) => lot),
      [2n, 1n, 0n].map((i) => (FIRST_LOT + i).toString()),
    );
    for (const { lot, price } of items) assert.equal(price, String(await world.market.pricePerKWh!(feeder.id, lot)));
    const page = await get<Page<LotJson>>(`/api/feeders/${feeder.id}/lots?limit=2`);
    const rest = await get<Page<LotJson>>(`/api/feeders/${feeder.id}/lots?limit=2&before=${page.next}`);
    assert.deepEqual([...page.items, ...rest.items], items);

    const alarms = await get<Page<AlarmJson>>("/api/alarms?severity=2");
    const of = (lot: bigint) => alarms.items.filter((alarm) => alarm.lot === lot.toString()).map(({ kind }) => kind);
    assert.deepEqual(of(FIRST_LOT), []);
    assert.deepEqual(of(FIRST_LOT + 1n), ["loss"]);
    assert.deepEqual(of(FIRST_LOT + 2n), ["unaccounted"]);
    const notices = await get<Page<AlarmJson>>("/api/alarms?kind=refused");
    assert.equal(notices.items[0]?.meter, feeder.consumers[0]!.meter.meterId);

    const series = await get<SeriesJson>(`/api/feeders/${feeder.id}/series?points=3`);
    assert.equal(series.resolution, "lot");
    const merged = await get<SeriesJson>(`/api/feeders/${feeder.id}/series?points=2`);
    assert.equal(merged.points.length, 1);
    const total = series.points.reduce((sum, { sent }) => sum + BigInt(sent), 0n);
    assert.equal(merged.points[0]!.sent, total.toString());
  });

  test("a lot is verified from its signatures up, and no other lot would be", async () => {
    const status = await get<StatusJson>("/api/status");
    const detail = await get<LotDetailJson>(`/api/feeders/${feeder.id}/lots/${FIRST_LOT + 1n}`);
    assert.equal(detail.parts.length, 6);
    const check = checkLot(detail, status);
    assert.deepEqual(
      [...check.findings, ...check.parts.flatMap(({ findings }) => findings)].filter(({ holds }) => !holds),
      [],
    );
    assert.ok(check.parts.every(({ signer }) => signer !== undefined));

    const lies: ((copy: LotDetailJson) => void)[] = [
      (copy) => (copy.parts[5]!.energy = "1"),
      (copy) => (copy.parts[5]!.money = "1"),
      (copy) => (copy.parts[0]!.signed!.reading.forward = "99999999"),
      (copy) => (copy.parts[0]!.signed!.reading.quality = 256),
      (copy) => (copy.parts[1]!.signers[0]!.signer = world.book.market),
      (copy) => (copy.parts[2]!.previous!.forward = "1"),
      (copy) => (copy.parts[2]!.previous!.signed!.signature = copy.parts[2]!.signed!.signature),
      (copy) => (copy.terms.penaltyBps = "0"),
      (copy) => (copy.parts[0]!.price = "1"),
      (copy) => (copy.chainPrice = "1"),
      (copy) => (copy.lot.unaccounted = "1"),
    ];
    for (const [i, lie] of lies.entries()) {
      const copy = structuredClone(detail);
      lie(copy);
      assert.equal(checkLot(copy, status).holds, false, `lie ${i}`);
    }
    assert.equal(checkLot(detail, { ...status, chainId: "1" }).holds, false);
  });

  test("accounts stand as the chain says, and their statements add up to it", async () => {
    const { items } = await get<Page<AccountJson>>("/api/accounts");
    assert.equal(items.length, 6);
    for (const { account } of items) {
      const shown = await get<AccountDetailJson>(`/api/accounts/${account}`);
      assert.equal(shown.balance, String(await world.market.balanceOf!(account)));
      const sum = shown.entries.reduce((total, { amount }) => total + BigInt(amount), 0n);
      assert.equal(sum.toString(), shown.balance, `account ${account}`);
    }
  });

  test("requests, clearings and meters", async () => {
    const { items } = await get<Page<RequestJson>>("/api/requests");
    assert.equal(items.length, 9);
    assert.deepEqual(
      items.map(({ state }) => state).filter((state) => state !== "cleared"),
      [],
    );
    const clearings = await get<Page<ClearingJson>>(`/api/feeders/${feeder.id}/clearings`);
    assert.deepEqual(
      clearings.items.map(({ stage, lots }) => [stage, lots]),
      [
        [3, 1],
        [3, 1],
        [3, 1],
      ],
    );
    const meters = await get<MeterJson[]>("/api/meters");
    assert.equal(meters.find(({ meter }) => meter === feeder.consumers[0]!.meter.meterId)?.lot, String(FIRST_LOT + 1n));
    assert.equal(meters.find(({ meter }) => meter === feeder.consumers[1]!.meter.meterId)?.lot, String(FIRST_LOT + 2n));
  });

  test("a reorg takes back what it takes back, and a restart goes on: the store is one that never knew", async () => {
    const fork = await send("evm_snapshot");
    const lot = FIRST_LOT + 3n;
    await feeder.clear(lot, 1);
    await world.after(lot, 600n);
    await world.send(world.market.close!(feeder.id, lot));
    await caughtUp();
    assert.equal((await get<FeederJson>(`/api/feeders/${feeder.id}`)).lots, 4);
    await send("evm_revert", fork);
    // On the other branch the missing consumer comes back, with two lots at once.
    await feeder.open(lot);
    for (const stage of [PLANT, DISTRIBUTOR]) await feeder.submit(stage, lot, feeder.records(stage, lot, 1));
    const records = feeder.consumers.map(({ meter }, i) => meter.record(lot, i === 0 ? 2 : 1));
    await feeder.submit(CONSUMERS, lot, concat(records) as Hex);
    await send("hardhat_mine", "0x5");
    await caughtUp();

    const detail = await get<LotDetailJson>(`/api/feeders/${feeder.id}/lots/${FIRST_LOT + 2n}`);
    assert.equal(detail.parts.find(({ late }) => late)?.meter, feeder.consumers[0]!.meter.meterId);
    assert.ok(checkLot(detail, await get<StatusJson>("/api/status")).holds);

    await dashboard.close();
    const fresh = newFolder();
    const other = await open(fresh);
    await caughtUp(other);
    await other.close();
    const [followed, built] = [tables(folders[0]!), tables(fresh)];
    for (const table of Object.keys(PROJECTED)) assert.deepEqual(followed[table], built[table], table);

    dashboard = await open(folders[0]!);
    measure(FIRST_LOT + 4n, 91n, 59n);
    await feeder.clear(FIRST_LOT + 4n, 1);
    await caughtUp();
    const shown = await get<FeederJson>(`/api/feeders/${feeder.id}`);
    assert.equal(shown.newest?.lot, String(FIRST_LOT + 4n));
    assert.equal(shown.newest?.price, String(await world.market.pricePerKWh!(feeder.id, FIRST_LOT + 4n)));
    await assert.rejects(
      startDashboard({ ...settingsFor(folders[0]!), START_BLOCK: 1 }, pino({ level: "silent" })),
      /cannot be opened|another market/,
    );
  });

  test("a meter that takes another's place: one account, and each lot with the meter that was read in it", async () => {
    const member = feeder.consumers[1]!;
    const old = member.meter;
    const from = BigInt(await world.chain.helpers.time.latest()) / BigInt(LOT_SECONDS) + 1n;
    const meter = world.meter("valley consumer 1, new", 5_000n, from);
    await world.register(meter);
    await world.send(world.market.replaceMeter!(member.account, meter.meterId, from));
    for (let lot = (await world.market.feederOf!(feeder.id)).openedLot + 1n; lot <= from; lot++) {
      if (lot === from) member.meter = meter;
      measure(lot, 91n, 59n);
      await feeder.clear(lot, 1);
    }
    await caughtUp();
    const status = await get<StatusJson>("/api/status");
    for (const [lot, read] of [
      [from - 1n, old],
      [from, meter],
    ] as const) {
      const detail = await get<LotDetailJson>(`/api/feeders/${feeder.id}/lots/${lot}`);
      const part = detail.parts.find(({ account }) => account === Number(member.account));
      assert.equal(part?.meter, read.meterId);
      const check = checkLot(detail, status);
      assert.deepEqual(
        [...check.findings, ...check.parts.flatMap(({ findings }) => findings)].filter(({ holds }) => !holds),
        [],
        `lot ${lot}`,
      );
    }
    const shown = await get<AccountDetailJson>(`/api/accounts/${member.account}`);
    assert.equal(shown.meter, meter.meterId);
    assert.equal(shown.newestLot, from.toString());
    assert.equal(shown.firstLot, FIRST_LOT.toString());
    assert.equal(shown.balance, String(await world.market.balanceOf!(member.account)));
    const sum = shown.entries.reduce((total, { amount }) => total + BigInt(amount), 0n);
    assert.equal(sum.toString(), shown.balance);
    const meters = await get<MeterJson[]>("/api/meters");
    for (const id of [old.meterId, meter.meterId])
      assert.equal(meters.find((one) => one.meter === id)?.account, Number(member.account));
  });

  test("strict headers, refusals in one shape, and no switches where there is no demo", async () => {
    const page = await fetch(dashboard.url);
    assert.match(page.headers.get("content-security-policy")!, /default-src 'none'; script-src 'self'/);
    const html = await page.text();
    assert.doesNotMatch(html, /https?:\/\//);
    for (const [, path] of html.matchAll(/(?:src|href)="\.(\/assets\/[^"]+)"/g)) {
      const asset = await fetch(new URL(path!, dashboard.url));
      assert.equal(asset.status, 200);
      assert.match(asset.headers.get("cache-control")!, /immutable/);
      await asset.body?.cancel();
    }
    const refused: [string, number][] = [
      ["/api/feeders/0x12", 400],
      [`/api/feeders/0x${"12".repeat(32)}`, 404],
      [`/api/feeders/${feeder.id}/lots/1`, 404],
      [`/api/feeders/${feeder.id}/lots?limit=9999`, 400],
      [`/api/feeders/${feeder.id}/series?points=1e9`, 400],
      ["/api/alarms?before=1%20or%201", 400],
      ["/api/accounts/77", 404],
      ["/api/demo", 404],
      ["/etc/passwd", 404],
    ];
    for (const [path, status] of refused) {
      const response = await fetch(new URL(path, dashboard.url));
      const body = (await response.json()) as { error: { name: string; message: string } };
      assert.equal(response.status, status, path);
      assert.ok(body.error.message);
    }
    assert.match(await (await fetch(new URL("/metrics", dashboard.url))).text(), /bijuli_dashboard_reorgs 0/);
    assert.equal((await fetch(new URL("/ready", dashboard.url))).status, 200);
    assert.equal(LOT_SECONDS, (await get<StatusJson>("/api/status")).lotSeconds);
  });
});
