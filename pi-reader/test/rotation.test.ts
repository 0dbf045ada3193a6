import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readingFromJson, recoverReadingSigner } from "@bijuli/protocol";
import { audit } from "../src/audit.ts";
import { keygen } from "../src/commands/keygen.ts";
import { storedLots, storeIdentity } from "../src/exportFile.ts";
import { Store } from "../src/store.ts";
import { DOMAIN, REGISTRY, tempFolder } from "./bench.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

interface Served {
  reading: Parameters<typeof readingFromJson>[0];
  signature: `0x${string}`;
}

/** A key as keygen makes it: its file, and the address that goes to the regulator. */
async function newKey(t: TestContext, folder: string, name: string) {
  const file = join(folder, name);
  const said = t.mock.method(console, "log", () => {});
  assert.equal(await keygen.run(["--out", file]), 0);
  const [line] = said.mock.calls[0]!.arguments as unknown as [string];
  said.mock.restore();
  return { file, signer: JSON.parse(line).signer as string };
}

test("a key's whole rotation: made, announced, registered from a lot on, used from that lot on, and alone afterwards", async (t) => {
  const folder = tempFolder(t);
  const [old, young] = [await newKey(t, folder, "old.key"), await newKey(t, folder, "young.key")];
  const clock = join(folder, "clock.json");
  const origin = Date.parse("2026-01-01T00:00:00Z");
  writeFileSync(clock, JSON.stringify({ origin, speed: 600, startedAt: Date.now() }));
  // What the regulator registered: the new address signs from this lot on.
  const fromLot = BigInt(origin / 300_000) + 4n;
  const reader = (keys: Record<string, string>) => {
    const env = {
      PATH: process.env.PATH!,
      READER_SERIAL: "HOUSE-1",
      READER_STORE: join(folder, "store.db"),
      READER_SOURCE: 'simulate:{"watts":500}',
      READER_PORT: "0",
      CHAIN_ID: "31337",
      REGISTRY_ADDRESS: REGISTRY,
      BIJULI_CLOCK: clock,
      ...keys,
    };
    const child: ChildProcess = spawn(process.execPath, [CLI, "serve"], { env, stdio: ["ignore", "ignore", "pipe"] });
    t.after(() => child.exitCode ?? child.kill("SIGKILL"));
    const output = { text: "" };
    child.stderr!.on("data", (data) => (output.text += data));
    return { child, output };
  };
  const urlOf = async ({ child, output }: ReturnType<typeof reader>): Promise<string> => {
    for (;;) {
      const url = /"url":"([^"]+)"/.exec(output.text)?.[1];
      if (url !== undefined) return url;
      assert.equal(child.exitCode, null, output.text);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const get = async (url: string, path: string) => {
    for (;;) {
      const answer = await fetch(`${url}${path}`);
      if (answer.status !== 425) return answer.json();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const signerOf = ({ reading, signature }: Served) =>
    recoverReadingSigner(DOMAIN, readingFromJson(reading), signature);
  const stop = async ({ child }: ReturnType<typeof reader>) => {
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "close"), [0, null]);
  };

  const both = reader({
    READER_KEY_FILE: old.file,
    READER_NEXT_KEY_FILE: young.file,
    READER_NEXT_FROM_LOT: `${fromLot}`,
  });
  const url = await urlOf(both);
  const identity = (await get(url, "/identity")) as { signer: string; nextSigner: unknown };
  assert.equal(identity.signer, old.signer);
  assert.deepEqual(identity.nextSigner, { fromLot: `${fromLot}`, address: young.signer });
  const last = (await get(url, `/readings/${fromLot - 1n}`)) as Served;
  const first = (await get(url, `/readings/${fromLot}`)) as Served;
  assert.deepEqual([signerOf(last), signerOf(first)], [old.signer, young.signer]);
  const across = (await get(url, `/readings/${fromLot}?lots=4`)) as Served;
  assert.equal(signerOf(across), young.signer);
  const after = (await get(url, "/identity")) as { signer: string; nextSigner: unknown };
  assert.deepEqual([after.signer, after.nextSigner], [young.signer, null]);
  await stop(both);

  // The old key alone would sign what the registry no longer takes.
  const stale = reader({ READER_KEY_FILE: old.file });
  assert.deepEqual(await once(stale.child, "close"), [2, null]);
  assert.match(stale.output.text, new RegExp(`is of signer ${young.signer}, not ${old.signer}`));

  const alone = reader({ READER_KEY_FILE: young.file });
  const again = await urlOf(alone);
  assert.deepEqual(await get(again, `/readings/${fromLot - 1n}`), last);
  assert.deepEqual(await get(again, `/readings/${fromLot}?lots=4`), across);
  await stop(alone);
  const store = Store.openReadOnly(join(folder, "store.db"));
  const report = audit(storeIdentity(store), storedLots(store));
  store.close();
  assert.deepEqual([report.problems, report.signer], [[], young.signer]);
});
