import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, afterEach, before, describe, test } from "node:test";
import { loadSettings } from "@bijuli/protocol";
import pino from "pino";
import { FIRST_LOT, type TestFeeder, World } from "../../contracts/test/support/feeder.ts";
import { type Dashboard, startDashboard } from "../src/server/dashboard.ts";
import { Rpc } from "../src/server/rpc.ts";
import { dashboardSettings } from "../src/server/settings.ts";
import type { FeederJson, MeterJson, StatusJson } from "../src/server/shapes.ts";
import { Store } from "../src/server/store.ts";
import { serveRpc } from "./support/rpc-server.ts";

const UNIT = 1_000_000n;
type Answer = (method: string, params: readonly unknown[]) => Promise<unknown>;

const listening = async (server: Server): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

/** A chain whose node errs, lags or refuses, and neighbours that answer nonsense. */
describe("the page's server beside parts that fail", () => {
  let world: World;
  let feeder: TestFeeder;
  let rpc: Awaited<ReturnType<typeof serveRpc>>;
  let neighbour: Server;
  let neighbourUrl: string;
  /** What the adapter and the node answer. */
  let nonsense: unknown = { meters: [] };
  const chain: Answer = (method, params) => world.chain.ethers.provider.send(method, [...params]);
  let node: Answer = chain;
  const open: Dashboard[] = [];
  const folder = mkdtempSync(join(tmpdir(), "bijuli-faults-"));

  const start = async (name: string, extra: Record<string, string> = {}): Promise<Dashboard> => {
    const settings = loadSettings(dashboardSettings, {
      RPC_URL: rpc.url,
      MARKET_ADDRESS: world.book.market,
      DATA_DIR: join(folder, name),
      DASHBOARD_PORT: "0",
      POLL_INTERVAL_MS: "25",
      LOG_LEVEL: "silent",
      ...extra,
    });
    const dashboard = await startDashboard(settings, pino({ level: "silent" }));
    open.push(dashboard);
    return dashboard;
  };
  const get = async <T>(on: Dashboard, path: string): Promise<T> =>
    (await (await fetch(new URL(path, on.url))).json()) as T;
  const until = async (what: string, holds: () => Promise<boolean>) => {
    for (let i = 0; i < 400; i++, await new Promise((resolve) => setTimeout(resolve, 25))) if (await holds()) return;
    assert.fail(what);
  };
  const followed = (on: Dashboard) =>
    until("it does not catch up", async () => {
      const head = Number(await chain("eth_blockNumber", []));
      const status = await get<StatusJson>(on, "/api/status");
      return status.followed === head && status.problems.length === 0;
    });

  before(async () => {
    world = await World.create();
    feeder = await world.feeder({ name: "valley", consumers: 1 });
    for (const lot of [FIRST_LOT, FIRST_LOT + 1n]) feeder.measure(lot, [10n * UNIT], 9n * UNIT, [8n * UNIT]);
    await feeder.clear(FIRST_LOT, 1);
    await chain("hardhat_mine", ["0xc8"]);
    rpc = await serveRpc((method, params) => node(method, params));
    neighbour = createServer((_request, response) => response.end(JSON.stringify(nonsense)));
    neighbourUrl = await listening(neighbour);
  });
  // Those that are left running would keep the chain busy, and each other.
  afterEach(async () => {
    node = chain;
    for (const dashboard of open.splice(0)) await dashboard.close();
  });
  after(async () => {
    neighbour?.close();
    rpc?.close();
    await world?.close();
    rmSync(folder, { recursive: true });
  });

  test("a node that answers short ranges only, and fails in the middle of them, is followed all the same", async () => {
    let refused = 0;
    let failures = 2;
    node = (method, params) => {
      const [range] = params as [{ fromBlock: string; toBlock: string }];
      if (method === "eth_getLogs" && Number(range.toBlock) - Number(range.fromBlock) >= 40) {
        refused++;
        return Promise.reject(new Error("query exceeds max block range 40"));
      }
      if (method === "eth_getTransactionByHash" && failures-- > 0) return Promise.resolve(null);
      return chain(method, params);
    };
    const dashboard = await start("ranges");
    await followed(dashboard);
    node = chain;
    assert.ok(refused > 0 && refused < 20);
    assert.equal((await get<FeederJson>(dashboard, `/api/feeders/${feeder.id}`)).lots, 1);
  });

  test("a node that is behind what another told takes nothing back", async () => {
    const dashboard = await start("lag");
    await feeder.clear(FIRST_LOT + 1n, 1);
    await followed(dashboard);
    const head = Number(await chain("eth_blockNumber", [])) - 4;
    let asked = 0;
    node = async (method, params) => {
      if (method === "eth_getBlockByNumber" && params[0] === "latest") {
        asked++;
        return chain(method, [`0x${head.toString(16)}`, false]);
      }
      if (method === "eth_getBlockByNumber" && Number(params[0]) > head) return null;
      if (method === "eth_getLogs" && Number((params[0] as { toBlock: string }).toBlock) > head) return [];
      return chain(method, params);
    };
    await until("it is not asked", async () => asked > 4);
    assert.equal((await get<FeederJson>(dashboard, `/api/feeders/${feeder.id}`)).lots, 2);
    node = chain;
    await chain("hardhat_mine", ["0x2"]);
    await followed(dashboard);
    assert.match(await (await fetch(new URL("/metrics", dashboard.url))).text(), /bijuli_dashboard_reorgs 0/);
  });

  for (const [depth, settles] of [
    [1, true],
    [20, true],
    [20, false],
  ] as const) {
    const when = settles ? "after a long range that was read at once" : "back to before all that was read";
    test(`a reorg ${depth} blocks deep, ${when}, leaves what a server that never saw the other branch has`, async () => {
      const lot = (await world.market.feederOf!(feeder.id)).openedLot + 1n;
      feeder.measure(lot, [10n * UNIT], 9n * UNIT, [8n * UNIT]);
      await chain("hardhat_mine", ["0x20"]);
      const fork = await chain("evm_snapshot", []);
      await feeder.clear(lot, 1);
      const cleared = Number(await chain("eth_blockNumber", []));
      await chain("hardhat_mine", [`0x${depth.toString(16)}`]);
      const name = `reorg ${depth} ${settles}`;
      const settings: Record<string, string> = { REORG_DEPTH: settles ? "30" : "10000" };
      const dashboard = await start(name, settings);
      await followed(dashboard);
      const { lots } = await get<FeederJson>(dashboard, `/api/feeders/${feeder.id}`);
      await chain("evm_revert", [fork]);
      // the other branch holds the same lot, later and with more used
      feeder.measure(lot, [10n * UNIT], 9n * UNIT, [9n * UNIT]);
      await chain("hardhat_mine", ["0x2"]);
      await feeder.clear(lot, 1);
      await chain("hardhat_mine", [`0x${(depth + cleared).toString(16)}`]);
      await followed(dashboard);
      const fresh = await start(`${name}, fresh`, settings);
      await followed(fresh);
      for (const path of ["", "/lots", "/clearings", "/series"]) {
        const [one, other] = await Promise.all(
          [dashboard, fresh].map((on) => get(on, `/api/feeders/${feeder.id}${path}`)),
        );
        assert.deepEqual(one, other, path);
      }
      assert.equal((await get<FeederJson>(dashboard, `/api/feeders/${feeder.id}`)).lots, lots);
      assert.match(await (await fetch(new URL("/metrics", dashboard.url))).text(), /bijuli_dashboard_reorgs 1/);
    });
  }

  test("an endpoint of another chain is named, and nothing of it is taken in", async () => {
    const dashboard = await start("other chain");
    await followed(dashboard);
    node = (method, params) =>
      method === "eth_chainId"
        ? Promise.resolve("0x1")
        : method === "eth_getLogs"
          ? Promise.resolve([])
          : chain(method, params);
    const { followed: at } = await get<StatusJson>(dashboard, "/api/status");
    await chain("hardhat_mine", ["0x2"]);
    await until("it is not named", async () =>
      (await get<StatusJson>(dashboard, "/api/status")).problems.some((problem) => /serves chain 1, not/.test(problem)),
    );
    assert.equal((await get<StatusJson>(dashboard, "/api/status")).followed, at);
    assert.equal((await fetch(new URL("/health", dashboard.url))).status, 503);
    node = chain;
    await followed(dashboard);
  });

  test("a feeder whose name is no text is called by its id, and the others are read on", async () => {
    const dashboard = await start("names");
    const data = world.market.interface.encodeFunctionData("createFeeder", ["xxxx"]).replace("78787878", "fffe0041");
    const sent = await world.regulator.sendTransaction({ to: world.book.market, data });
    const id = (await sent.wait())!.logs[0]!.topics[1];
    await followed(dashboard);
    const feeders = await get<FeederJson[]>(dashboard, "/api/feeders");
    assert.equal(feeders.find((one) => one.id === id)?.name, id);
    assert.ok(feeders.some(({ name }) => name === "valley"));
  });

  test("an adapter and a node that answer nonsense are named, and the page goes on", async () => {
    const dashboard = await start("nonsense", { ADAPTER_URL: neighbourUrl, NODE_URL: neighbourUrl });
    await followed(dashboard).catch(() => {});
    const good = { meterId: "0x12", fresh: true, circuit: "closed" };
    for (const [answer, named] of [
      [{ meters: 7 }, true],
      [{ meters: [null] }, true],
      [[{ requestId: 7 }], true],
      [{ meters: [{ ...good, serial: "x".repeat(100) }] }, false],
      [{ meters: [{ ...good, serial: "" }], contradictions: 0 }, false],
    ] as const) {
      nonsense = answer;
      await new Promise((resolve) => setTimeout(resolve, 1_050));
      const meters = await get<MeterJson[]>(dashboard, "/api/meters");
      assert.equal(meters.length, 3, JSON.stringify(answer));
      assert.ok(meters.every(({ serial }) => serial === null));
      assert.equal((await fetch(new URL("/api/requests", dashboard.url))).status, 200);
      const { problems } = await get<StatusJson>(dashboard, "/api/status");
      assert.equal(
        problems.some((problem) => /^the adapter answers \/status/.test(problem)),
        named,
      );
    }
  });

  test("a bill of lots that were not charged is refused in words", async () => {
    const dashboard = await start("bills");
    const account = Number(feeder.consumers[0]!.account);
    const bill = await fetch(
      new URL(`/api/bill?account=${account}&from=${FIRST_LOT - 9n}&to=${FIRST_LOT}&format=csv`, dashboard.url),
    );
    assert.equal(bill.status, 409);
    assert.match(((await bill.json()) as { error: { message: string } }).error.message, /is charged for lots 5900000/);
  });

  test("credentials in an endpoint's address go into the header, and into no message", async () => {
    let seen: string | undefined;
    const server = createServer((request, response) => {
      seen = request.headers.authorization;
      response.end(JSON.stringify([{ id: 0, result: "0x1" }]));
    });
    const url = await listening(server);
    const guarded = new Rpc([url.replace("http://", "http://user:s%40cret@")], 1_000);
    assert.equal(await guarded.call("eth_chainId"), "0x1");
    assert.equal(seen, `Basic ${Buffer.from("user:s@cret").toString("base64")}`);
    server.close();
    server.closeAllConnections();
    await assert.rejects(
      guarded.call("eth_chainId"),
      (error: Error) => !/cret/.test(`${error.message} ${error.cause}`),
    );
  });

  test("a store that cannot be opened is told apart: in use, no database, no folder; an older one is read anew", () => {
    const at = join(folder, "store");
    const first = new Store(at);
    first.claim("31337/0x12/0");
    const refused = (path: string, remedy: RegExp) =>
      assert.throws(
        () => new Store(path),
        (error: Error & { code: string; remedy?: string }) =>
          error.code === "bad-folder" && remedy.test(error.remedy ?? ""),
      );
    refused(at, /another dashboard/);
    first.put("checkpoint", { block: 7, hash: "0x12" });
    assert.throws(() => first.claim("1/0x12/0"), { code: "other-chain" });
    first.close();
    const database = new DatabaseSync(join(at, "page.sqlite"));
    database.exec("update fact set value = '1 31337/0x12/0' where name = 'identity'");
    database.close();
    const later = new Store(at);
    later.claim("31337/0x12/0");
    assert.equal(later.position(), undefined);
    later.close();
    writeFileSync(join(at, "page.sqlite"), "this is no database, however long it may be ".repeat(99));
    refused(at, /remove that folder/);
    writeFileSync(join(folder, "file"), "");
    refused(join(folder, "file"), /^$/);
  });
});
