import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { BijuliError } from "@bijuli/protocol";
import { KnownLotCheck } from "../src/knownLot.ts";
import { Store } from "../src/store.ts";
import { KEY, REGISTRY, tempFolder } from "./bench.ts";
import { EastronMeter, rtuOverTcp } from "./eastronMeter.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

/** An adapter that knows a lot far ahead of the store, and says nothing to the first so many questions. */
async function adapterThatKnows(t: TestContext, silentFor: number) {
  const far = Math.floor(Date.now() / 1000) + 1_000_000;
  const state = { asked: 0 };
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const silent = state.asked++ < silentFor;
      response.statusCode = silent ? 503 : 200;
      response.end(JSON.stringify(silent ? {} : { data: { lot: String(far), forward: "5" } }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { state, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function serve(t: TestContext, adapter: string, forMs: number) {
  const port = await rtuOverTcp(t, new EastronMeter(1, { 0: 230, 6: 10, 12: 2300, 72: 5, 74: 7 }));
  const store = join(tempFolder(t), "store.db");
  const child = spawn(process.execPath, [CLI, "serve"], {
    env: {
      PATH: process.env.PATH!,
      READER_SERIAL: "HOUSE-1",
      READER_KEY: KEY,
      READER_STORE: store,
      READER_SOURCE: `modbus:${JSON.stringify({ meter: "sdm120", host: "127.0.0.1", port, framing: "rtu" })}`,
      READER_SAMPLE_MS: "50",
      READER_CLOCK_SYNC: "always",
      READER_PORT: "0",
      READER_ADAPTER_URL: adapter,
      LOT_SECONDS: "1",
      CHAIN_ID: "31337",
      REGISTRY_ADDRESS: REGISTRY,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.after(() => child.exitCode ?? child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (data) => {
    said += data;
  });
  const timer = setTimeout(() => child.kill("SIGTERM"), forMs);
  const [code] = await once(child, "close");
  clearTimeout(timer);
  const opened = Store.openReadOnly(store);
  const lots = opened.lots(0n, 2n ** 62n).length;
  opened.close();
  return { code, said, lots };
}

test("an adapter that was silent at the start is asked again before the first lot is closed: an old copy signs nothing", async (t) => {
  const { url, state } = await adapterThatKnows(t, 1);
  const { code, said, lots } = await serve(t, url, 15_000);
  assert.match(said, /was not checked against the adapter yet/);
  assert.match(said, /it is an old copy/);
  assert.deepEqual([code, lots, state.asked], [2, 0, 2]);
});

test("an adapter that stays silent does not keep a meter from closing lots", async (t) => {
  const { url } = await adapterThatKnows(t, 1000);
  const { code, lots } = await serve(t, url, 4000);
  assert.equal(code, 0);
  assert.ok(lots >= 1, `${lots} lots`);
});

test("it goes on being asked until it has answered, and what it says then counts; its silence is told once", async () => {
  const silent = new BijuliError("adapter-silent", "does not answer");
  const answers: (BijuliError | undefined)[] = [silent, silent, silent, undefined];
  const told: string[] = [];
  const ask = async () => {
    const answer = answers.shift();
    if (answer !== undefined) throw answer;
  };
  const check = new KnownLotCheck(ask, ({ message }) => told.push(message), 1);
  await check.run(new AbortController().signal);
  assert.deepEqual([answers, check.answered, told], [[], true, ["does not answer"]]);
  const behind = new KnownLotCheck(
    async () => {
      throw new BijuliError("store-behind", "old");
    },
    () => {},
    1,
  );
  await assert.rejects(behind.run(new AbortController().signal), { code: "store-behind" });
});
