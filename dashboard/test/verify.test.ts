import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type Hex,
  type LotReading,
  type ReadingDomain,
  readingDomain,
  readingFromJson,
  recoverReadingSigner,
  signReading,
} from "@bijuli/protocol";
import { id, keccak256, SigningKey } from "ethers";
import { FIRST_LOT, type TestFeeder, World } from "../../contracts/test/support/feeder.ts";
import { type BillFile, collectBill, type Rpc, verifyBill } from "../src/evidence/index.ts";

/*
 * A real bill of a real chain, and every single thing in its file changed, one at a time: each number, signature, term,
 * event, transaction, and each piece of its proofs. None may pass.
 */

const deep = process.env.BIJULI_DEEP === "1";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Path = readonly (string | number)[];

function* leaves(json: Json, path: Path = []): Generator<[Path, Exclude<Json, object>]> {
  if (json === null || typeof json !== "object") yield [path, json];
  else if (Array.isArray(json)) for (const [i, item] of json.entries()) yield* leaves(item, [...path, i]);
  else for (const [key, item] of Object.entries(json)) yield* leaves(item, [...path, key]);
}

/** The same file with one thing replaced; what is not on the way to it is shared. */
function replaced(json: Json, [key, ...rest]: Path, value: Json | undefined): Json {
  if (key === undefined) return value as Json;
  if (Array.isArray(json)) {
    if (rest.length === 0 && value === undefined) return json.filter((_, i) => i !== key);
    return json.map((item, i) => (i === key ? replaced(item, rest, value) : item));
  }
  const { [key]: old, ...others } = json as { [key: string]: Json };
  if (rest.length === 0 && value === undefined) return others;
  return { ...others, [key]: replaced(old!, rest, value) };
}

/** What could stand in a leaf's place: what somebody who cheats would write there. */
function changesOf(leaf: Exclude<Json, object>): Json[] {
  if (leaf === null) return ["0"];
  if (typeof leaf === "boolean") return [!leaf];
  if (typeof leaf === "number") return deep ? [leaf + 1, leaf === 0 ? 7 : leaf - 1, 2 ** 40] : [leaf + 1];
  if (/^[0-9]+$/.test(leaf)) {
    const value = BigInt(leaf);
    return deep ? [`${value + 1n}`, value === 0n ? "9" : `${value - 1n}`, `${value + 2n ** 48n}`] : [`${value + 1n}`];
  }
  if (/^0x[0-9a-f]*$/i.test(leaf)) {
    if (leaf === "0x") return ["0x00"];
    const at = deep ? [2, Math.floor(leaf.length / 2), leaf.length - 1] : [2 + ((leaf.length * 7) % (leaf.length - 2))];
    return at.map((i) => `${leaf.slice(0, i)}${leaf[i] === "1" ? "2" : "1"}${leaf.slice(i + 1)}`);
  }
  return [`${leaf}x`];
}

/** What was computed once is kept for the next of thousands of files that are the same but for one digit. */
function memo<A extends unknown[], R>(compute: (...args: A) => R, keyOf: (...args: A) => string): (...args: A) => R {
  const known = new Map<string, R>();
  return (...args) => {
    const key = keyOf(...args);
    if (!known.has(key)) known.set(key, compute(...args));
    return known.get(key)!;
  };
}

describe("a bill in which anything was changed", () => {
  let world: World;
  let file: BillFile;
  const recover = memo(
    (domain: ReadingDomain, reading: LotReading, signature: Hex) => recoverReadingSigner(domain, reading, signature),
    (domain, reading, signature) => [domain.chainId, domain.registry, signature, ...Object.values(reading)].join(" "),
  );

  before(async () => {
    world = await World.create();
    const plants = [30n * 10n ** 12n, 44_000_000_000_001n];
    const feeder: TestFeeder = await world.feeder({
      name: "checked",
      plants,
      consumers: 2,
      deposit: 3_000_000_000_000n,
      terms: { lotsPerClearing: 2, maxPricePerKWh: 10n ** 15n },
    });
    for (let k = 0n; k < 2n; k++) {
      const lot = FIRST_LOT + 2n * k;
      for (const at of [lot, lot + 1n]) feeder.measure(at, [1_000_007n, 700_000n], 1_400_003n, [300_001n, 400_000n]);
      await feeder.clear(lot + 1n, 2);
      if (k === 0n) {
        const { account, owner } = feeder.consumers[0]!;
        await world.send(world.market.deposit!(account, { value: 5_000_000_000_001n }));
        await world.send(
          (world.market.connect(owner) as typeof world.market).withdraw!(account, owner.address, 1_000n),
        );
      }
    }
    const rpc: Rpc = (method, params) => world.chain.ethers.provider.send(method, [...params]);
    ({ file } = await collectBill(rpc, {
      registry: world.book.registry.toLowerCase() as Hex,
      account: Number(feeder.consumers[0]!.account),
      from: FIRST_LOT,
      to: FIRST_LOT + 3n,
    }));
    const plain = keccak256._;
    keccak256.register(memo(plain, (bytes) => Buffer.from(bytes).toString("latin1")));
  });
  after(() => world.close());

  const trust = () => ({ registry: file.registry, blockHash: file.blockHash });

  test("unchanged, it holds, and says what was only claimed", async () => {
    const verdict = await verifyBill(file, trust(), { recover });
    assert.ok(verdict.holds, verdict.holds ? "" : verdict.first);
    assert.deepEqual(verdict.claimed, []);
    assert.ok(verdict.bill.events.some(({ name }) => name === "Deposited"));
    assert.ok(verdict.bill.events.some(({ name }) => name === "Withdrawn"));
    const alone = await verifyBill(file, {}, { recover });
    assert.ok(alone.holds);
    assert.deepEqual(alone.claimed, ["registry", "blockHash"]);
  });

  test("every single thing in it, changed, is found", async () => {
    let changed = 0;
    for (const [path, leaf] of leaves(file as Json)) {
      for (const change of changesOf(leaf)) {
        changed++;
        const other = replaced(file as Json, path, change);
        // what the file claims of registry and block is believed here: it must not hold even then
        const verdict = await verifyBill(other, {}, { recover }).catch(({ code }: { code: string }) => {
          assert.equal(code, "not-a-bill", path.join("."));
          return { holds: false };
        });
        assert.equal(verdict.holds, false, `${path.join(".")}: ${JSON.stringify(leaf)} → ${JSON.stringify(change)}`);
      }
    }
    assert.ok(changed > 500, `${changed} changes`);
  });

  test("anything left out, or put in twice, is found", async () => {
    const places: [Path, Json[]][] = [
      ...["path", "transactions"].map((name): [Path, Json[]] => [["look", name], (file.look as never)[name]]),
      ...["readings", "witness"].map((name): [Path, Json[]] => [[name], (file as never)[name]]),
      ...["meters", "charters", "transactions", "events", "lots"].map((name): [Path, Json[]] => [
        ["bill", name],
        file.bill[name] as Json[],
      ]),
    ];
    for (const [path, list] of places) {
      for (let i = 0; i < list.length; i += deep ? 1 : 5) {
        for (const other of [
          replaced(file as Json, [...path, i], undefined),
          replaced(file as Json, path, [...list, list[i]!]),
        ]) {
          const verdict = await verifyBill(other, {}, { recover });
          assert.equal(verdict.holds, false, `${path.join(".")}, ${i}`);
        }
      }
    }
  });

  /** The first thing that does not hold of a file in which one thing was changed. */
  async function first(path: Path, value: Json | undefined): Promise<string> {
    const verdict = await verifyBill(replaced(file as Json, path, value), trust(), { recover });
    return verdict.holds ? "it holds" : verdict.first;
  }

  test("the first thing that does not hold is named: which meter, lot, number", async () => {
    const { readings } = file as unknown as { readings: { reading: { [key: string]: string } }[] };
    const { meterId, lot, forward } = readings[2]!.reading;
    assert.match(
      await first(["readings", 2, "reading", "forward"], `${BigInt(forward!) + 1n}`),
      new RegExp(`the reading of meter ${meterId} for lot ${lot}: its signature is not its meter's`),
    );
    assert.match(
      await first(["bill", "lots", 1, "pricePerKWh"], "1"),
      new RegExp(`^lot ${FIRST_LOT + 1n}, pricePerKWh: the bill says "1"`),
    );
    assert.match(
      await first(["bill", "lots", 1, "consumers", 0, "money"], "1"),
      new RegExp(`^lot ${FIRST_LOT + 1n}, consumer of meter 0x[0-9a-f]{64}, money: `),
    );
    assert.match(
      await first(["bill", "charters", 0, "terms", "penaltyBps"], 1),
      /^charter 0, terms, penaltyBps: the bill says 1; its evidence makes it 10000/,
    );
    assert.match(
      await first(["bill", "events", 1, "args", "energy"], "1"),
      /^event PlantCleared of transaction 0x.*energy/,
    );
    assert.match(await first(["bill", "totals", "owes"], "1"), /^totals, owes: /);
    assert.match(
      await first(["witness", 0], "0xc0"),
      /^the block 0x[0-9a-f]{64}: its proof is missing, or was changed/,
    );
  });

  test("a bill of another registry or block than the trusted ones does not hold", async () => {
    const elsewhere = { ...trust(), registry: world.book.market as Hex };
    const verdict = await verifyBill(file, elsewhere, { recover });
    assert.match(verdict.holds ? "" : verdict.first, /^the bill is about the MeterRegistry 0x/);
    const later = await verifyBill(file, { ...trust(), blockHash: `0x${"12".repeat(32)}` }, { recover });
    assert.match(later.holds ? "" : later.first, /^the bill is about the block 0x/);
  });

  test("a reading that another key signed is not the meter's, however well all else fits", async () => {
    const reading = readingFromJson(file.readings[0]!.reading);
    const domain = readingDomain({ chainId: file.chainId, registry: file.registry });
    const forged = signReading(domain, reading, new SigningKey(id("somebody else's key")));
    assert.match(
      await first(["readings", 0, "signature"], forged),
      /its signature is not its meter's\. It was signed by 0x/,
    );
  });

  test("a withdrawal that is kept quiet is missed in the balance", async () => {
    const { events } = file.bill as { events: { name: string; transaction: Hex }[] };
    const quiet = events.find(({ name }) => name === "Withdrawn")!.transaction;
    const at = (file.bill as { transactions: { hash: Hex }[] }).transactions.findIndex(({ hash }) => hash === quiet);
    assert.match(
      await first(["look", "transactions", at], undefined),
      /^account [0-9]+: its balance is [0-9]+ wei on the chain/,
    );
  });

  test("what is no bill at all is told apart from one that does not hold", async () => {
    for (const json of [
      null,
      7,
      "bill",
      [],
      {},
      { format: "bijuli-bill/9" },
      { ...file, more: 1 },
      { ...file, bill: {} },
    ]) {
      await assert.rejects(verifyBill(json), { code: "not-a-bill" });
    }
  });
});
