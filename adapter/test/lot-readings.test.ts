import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { decodeRecords, meterIdOf } from "@bijuli/protocol";
import type { RunningAdapter } from "../src/adapter.ts";
import { adapterOver, FixtureReader, getJson, HandClock, LOT, LOT_SECONDS, post } from "./fixtures.ts";

describe("endpoint lot-readings", () => {
  const plant = new FixtureReader("PLANT-1");
  const main = new FixtureReader("MAIN");
  const kitchen = new FixtureReader("KITCHEN", { firstLot: LOT - 4n });
  const readers = [plant, main, kitchen];
  const clock = new HandClock(LOT + 2n);
  let adapter: RunningAdapter;
  before(async () => {
    for (const reader of readers) await reader.start();
    adapter = await adapterOver(readers, { clock });
  });
  after(async () => {
    await adapter.close();
    for (const reader of readers) await reader.stop();
  });

  test("answers the records in the order of the request, once, with the job's id", async () => {
    const { status, body, headers, text } = await post(adapter.url, {
      id: "5b1f",
      data: { meters: ["MAIN", "PLANT-1"], lot: LOT.toString() },
      meta: { oracleRequest: { specId: "0x01" } },
    });
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "application/json; charset=utf-8");
    const result = main.record(LOT) + plant.record(LOT).slice(2);
    assert.equal(body.jobRunID, "5b1f");
    assert.deepEqual(body.data, { result });
    assert.equal(body.statusCode, 200);
    assert.equal(text.split(result.slice(2)).length, 2, "the result stands in the answer once");
    assert.equal(body.timestamps.providerIndicatedTimeUnixMs, (Number(LOT) + 1) * 300_000);
    assert.deepEqual(body.meta, { adapterName: "BIJULI" });
  });

  test("takes meters as ids, as packed bytes, and lots as numbers", async () => {
    const packed = `0x${[plant, main].map((reader) => reader.id.slice(2)).join("")}`;
    const asked = [
      { meters: packed, lot: Number(LOT), stage: "plant", feeder: `0x${"11".repeat(32)}` },
      { meters: [plant.id, main.id], lot: LOT.toString(), lots: 1 },
      { meters: packed.toUpperCase().replace("0X", "0x"), lot: LOT.toString(), lots: "1", endpoint: "Lot-Readings" },
      { meters: ["X", "MAIN"], lot: LOT.toString(), overrides: { BIJULI: { X: "PLANT-1" } } },
    ];
    for (const data of asked) {
      const { body } = await post(adapter.url, { data });
      assert.equal(body.data?.result, plant.record(LOT) + main.record(LOT).slice(2), JSON.stringify(body));
    }
  });

  test("asks a reader once for what was asked for many times", async () => {
    const before = plant.requests.length;
    const data = { meters: ["PLANT-1"], lot: (LOT - 3n).toString() };
    await Promise.all(Array.from({ length: 20 }, () => post(adapter.url, { data })));
    await post(adapter.url, { data });
    assert.equal(plant.requests.length, before + 1);
  });

  test("serves runs, and for a meter that joined later the run from its first lot", async () => {
    const data = { meters: ["PLANT-1", "KITCHEN"], lot: LOT.toString(), lots: "12" };
    const { status, body } = await post(adapter.url, { data });
    assert.equal(status, 200, JSON.stringify(body));
    const records = decodeRecords(body.data.result);
    assert.deepEqual(
      records.map((record) => record?.energies.length),
      [12, 5],
    );
    assert.equal(records[1]?.record, kitchen.record(LOT, 5));
    const before = kitchen.requests.length;
    await post(adapter.url, { data });
    assert.equal(kitchen.requests.length, before, "the shorter run is remembered");
  });

  test("adds plain readings only when asked", async () => {
    const { body } = await post(adapter.url, { data: { meters: ["MAIN"], lot: LOT.toString(), verbose: true } });
    assert.equal(body.data.result, main.record(LOT));
    const { forward } = main.reading(LOT, 1);
    assert.deepEqual(body.data.readings[0].energies, [main.energy(LOT).toString()]);
    assert.equal(body.data.readings[0].forward, forward.toString());
    assert.equal(body.data.readings[0].serial, "MAIN");
  });

  test("refuses a lot that is not over with 503 and the seconds to wait", async () => {
    const { status, body, headers } = await post(adapter.url, {
      id: 7,
      data: { meters: ["MAIN"], lot: (LOT + 2n).toString() },
    });
    assert.equal(status, 503);
    assert.equal(headers.get("retry-after"), "240");
    assert.deepEqual(Object.keys(body), ["jobRunID", "status", "statusCode", "error"]);
    assert.equal(body.jobRunID, 7);
    assert.equal(body.status, "errored");
    assert.equal(body.statusCode, 503);
    assert.equal(body.error.name, "LotOpen");
    assert.match(body.error.message, new RegExp(`lot ${LOT + 2n} is not over`));
  });

  test("says which lots are before a meter's first", async () => {
    const { status, body } = await post(adapter.url, { data: { meters: ["KITCHEN"], lot: (LOT - 9n).toString() } });
    assert.equal(status, 404);
    assert.match(body.error.message, /KITCHEN.*before its first lot/);
  });

  test("tells how many meters fit the limit, to the meter", async () => {
    const ask = (count: number) =>
      post(adapter.url, { data: { meters: Array(count).fill("PLANT-1"), lot: LOT.toString(), lots: "300" } });
    const refused = await ask(100);
    assert.equal(refused.status, 413);
    const fit = Number(/; (\d+) meters would/.exec(refused.body.error.message)?.[1]);
    assert.ok(fit > 0);
    const largest = await ask(fit);
    assert.equal(largest.status, 200);
    assert.ok(Buffer.byteLength(largest.text) <= 32_768);
    assert.ok(Buffer.byteLength(largest.text) + 2 * (84 + 6 * 300) > 32_768);
    assert.equal((await ask(fit + 1)).status, 413);
  });

  test("refuses bad input with 400 and names the field", async () => {
    const meters = ["MAIN"];
    const lot = LOT.toString();
    const cases: [unknown, RegExp][] = [
      ["[", /not JSON/],
      ["", /empty/],
      ["[]", /JSON object/],
      [{}, /data must be/],
      [{ data: { lot } }, /data\.meters/],
      [{ data: { meters: [], lot } }, /data\.meters is empty/],
      [{ data: { meters: "MAIN", lot } }, /data\.meters/],
      [{ data: { meters: "0x12", lot } }, /data\.meters/],
      [{ data: { meters: [1], lot } }, /data\.meters\[0\]/],
      [{ data: { meters: ["é".repeat(40)], lot } }, /data\.meters\[0\]/],
      [{ data: { meters } }, /data\.lot is missing/],
      [{ data: { meters, lot: "01" } }, /data\.lot/],
      [{ data: { meters, lot: "-1" } }, /data\.lot/],
      [{ data: { meters, lot: 1.5 } }, /data\.lot/],
      [{ data: { meters, lot: 2 ** 60 } }, /data\.lot/],
      [{ data: { meters, lot: "18446744073709551616" } }, /data\.lot/],
      [{ data: { meters, lot, lots: "0" } }, /data\.lots/],
      [{ data: { meters, lot, lots: 8929 } }, /data\.lots/],
      [{ data: { meters, lot: "5", lots: "7" } }, /data\.lots/],
      [{ data: { meters, lot, stage: "burn" } }, /data\.stage/],
      [{ data: { meters, lot, verbose: "yes" } }, /data\.verbose/],
      [{ data: { meters, lot, endpoint: 5 } }, /data\.endpoint/],
      [{ id: {}, data: { meters, lot } }, /id must be/],
      [{ id: "x".repeat(300), data: { meters, lot } }, /id is longer/],
      [{ meta: "x", data: { meters, lot } }, /meta/],
    ];
    for (const [body, message] of cases) {
      const answer = await post(adapter.url, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.body.statusCode, 400);
      assert.match(answer.body.error.message, message);
    }
  });

  test("refuses meters, endpoints and paths that it does not know with 404", async () => {
    const lot = LOT.toString();
    const unknown = await post(adapter.url, { data: { meters: ["MAIN", "GARAGE"], lot } });
    assert.equal(unknown.status, 404);
    assert.match(unknown.body.error.message, /GARAGE/);
    const id = meterIdOf("GARAGE");
    assert.match((await post(adapter.url, { data: { meters: id, lot } })).body.error.message, new RegExp(id));
    const endpoint = await post(adapter.url, { data: { endpoint: "crypto", meters: ["MAIN"], lot } });
    assert.equal(endpoint.status, 404);
    assert.match(endpoint.body.error.message, /crypto.*lot-readings/);
    const path = await post(`${adapter.url}/nowhere`, {});
    assert.equal(path.status, 404);
    assert.equal(path.body.error.name, "NotFound");
  });

  test("names itself in /health, its meters' freshness in /ready, its settings without secrets in /status", async () => {
    const get = (path: string) => getJson(adapter.url + path);
    assert.equal((await get("/health")).status, "ok");
    assert.deepEqual(await get("/ready"), { ready: true, meters: 3, fresh: 3 });
    const status = await get("/status");
    assert.equal(status.configuration.READERS, "[secret]");
    assert.equal(status.meters[0].serial, "PLANT-1");
    assert.match(await (await fetch(`${adapter.url}/metrics`)).text(), /http_requests_total\{.*status_code="200"/);
  });
});

test("endpoint register: while its reader is away the newest that was read, however old, and of which lot it is", async () => {
  const reader = await new FixtureReader("AWAY").start();
  const clock = new HandClock(LOT + 1n, 60);
  const adapter = await adapterOver([reader], { clock });
  try {
    const newest = () => post(adapter.url, { data: { endpoint: "register", meter: "AWAY" } });
    assert.equal((await newest()).body.data.lot, LOT.toString());
    reader.fault = "error-500";
    clock.ms += 100 * LOT_SECONDS * 1000;
    const { status, body } = await newest();
    assert.equal(status, 200);
    assert.equal(body.data.lot, LOT.toString());
    assert.equal(body.timestamps.providerIndicatedTimeUnixMs, Number(LOT + 1n) * LOT_SECONDS * 1000);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});
