import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { Ledger } from "@bijuli/dashboard/ledger";
import { encodeEnergies, type Hex, MISSING_RECORD } from "@bijuli/protocol";
import { concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  type Member,
  PLANT,
  type TestFeeder,
  World,
} from "../../contracts/test/support/feeder.ts";
import { Random } from "../../contracts/test/support/random.ts";
import { type Bill, collectBill, exportBill, type Rpc, verifyBill } from "../src/evidence/index.ts";
import { command } from "./support/command.ts";
import { type Element, ESPI, faults, parseXml } from "./support/espi.ts";
import { serveRpc } from "./support/rpc-server.ts";

const deep = process.env.BIJULI_DEEP === "1";

/*
 * Bills of every role out of a run in which everything happens: estimates, corrections, a consumer that is late, arrears
 * with several creditors, energy above capacity, several lots a clearing. Each must hold with nothing but the registry's
 * address and a block's hash.
 */
describe("bills of feeders to which everything happens", () => {
  let world: World;
  let rpc: Rpc;
  let node: { url: string; close(): void };
  const folder = mkdtempSync(join(tmpdir(), "bijuli-bill-"));
  const feeders: TestFeeder[] = [];
  const plants = [30n * 10n ** 12n, 44_000_000_000_001n];

  before(async () => {
    world = await World.create();
    rpc = (method, params) => world.chain.ethers.provider.send(method, [...params]);
    node = await serveRpc(rpc);
    feeders.push(await world.feeder({ name: "poor", plants, consumers: 3, deposit: 10n ** 12n, capacity: 3_000_000n }));
    feeders.push(
      await world.feeder({ name: "batched", plants, consumers: 3, deposit: 10n ** 13n, terms: { lotsPerClearing: 6 } }),
    );
    const swapped = await world.feeder({ name: "swapped", plants, consumers: 2 });
    const swaps = [await swap(swapped.plants[0]!), await swap(swapped.consumers[0]!)];
    const random = new Random("evidence");
    for (const feeder of feeders) await run(feeder, random);
    feeders.push(swapped);
    await runSwapped(swapped, swaps);
  });
  after(() => {
    rmSync(folder, { recursive: true });
    node.close();
    return world.close();
  });

  /** Another meter takes the place of a member's from the third lot on. */
  async function swap(member: Member): Promise<() => void> {
    const meter = world.meter(`${member.meter.serial}, the new one`, 77n);
    await world.register(meter);
    await world.send(world.market.replaceMeter!(member.account, meter.meterId, FIRST_LOT + 2n));
    return () => {
      member.meter = meter;
    };
  }

  /** Four lots; the plant's old meter never reads the second, nor does the consumer's. */
  async function runSwapped(f: TestFeeder, swaps: (() => void)[]): Promise<void> {
    for (let lot = FIRST_LOT; lot < FIRST_LOT + 4n; lot++) {
      if (lot === FIRST_LOT + 2n) for (const act of swaps) act();
      f.measure(lot, [1_000_000n, 500_000n], 1_400_000n, [600_000n, 700_000n]);
      await f.open(lot);
      if (lot === FIRST_LOT + 1n) {
        await world.send(world.market.estimate!(f.id, lot, PLANT, 0, encodeEnergies([900_000n])));
        await f.submit(PLANT, lot, f.records(PLANT, lot, 1, 1, 1), 1);
      } else {
        await f.submit(PLANT, lot, f.records(PLANT, lot, 1));
      }
      await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, 1));
      const first = lot === FIRST_LOT + 1n ? (MISSING_RECORD as Hex) : f.records(CONSUMERS, lot, 1, 0, 1);
      await f.submit(CONSUMERS, lot, concat([first, f.records(CONSUMERS, lot, 1, 1)]) as Hex);
    }
  }

  async function run(f: TestFeeder, random: Random): Promise<void> {
    const step = f.terms.lotsPerClearing;
    let behind = 0;
    for (let k = 0; k < 4; k++) {
      const lot = FIRST_LOT + BigInt((k + 1) * step - 1);
      for (let at = lot - BigInt(step - 1); at <= lot; at++) {
        const sent = plants.map(() => random.below(3_500_000n));
        const used = f.consumers.map(() => random.below((sent[0]! + sent[1]!) / 3n + 1n));
        f.measure(at, sent, ((sent[0]! + sent[1]!) * 92n) / 100n, used);
      }
      const opening = await f.open(lot);
      const reach = step * (behind + 1);
      if (k === 1) {
        await f.submit(PLANT, lot, f.records(PLANT, lot, step, 0, 1));
        await world.after(lot, 3_600n);
        // the consumer that is behind comes too late for its first clearing
        await world.send(world.market.close!(f.id, FIRST_LOT + BigInt(step - 1)));
        const guess = encodeEnergies(Array.from({ length: step }, () => random.below(2_000_000n)));
        await world.send(world.market.estimate!(f.id, lot, PLANT, 1, guess));
        behind = 1;
      } else {
        const records = concat([f.records(PLANT, lot, step, 0, 1), f.plants[1]!.meter.record(lot, reach)]) as Hex;
        await f.fulfil(opening, PLANT, records);
        behind = 0;
      }
      if (k === 2) {
        await world.after(lot, 7_200n);
        await world.send(world.market.abandon!(f.id, lot, DISTRIBUTOR));
      } else {
        await f.submit(DISTRIBUTOR, lot, f.records(DISTRIBUTOR, lot, k === 3 ? 2 * step : step));
      }
      const last = f.consumers.length - 1;
      const answer = f.consumers.map(({ meter }, i) =>
        i === last ? (k === 3 ? meter.record(lot, 4 * step) : MISSING_RECORD) : meter.record(lot, step),
      );
      await f.fulfil(opening, CONSUMERS, concat(answer) as Hex);
      const member = random.pick([f.distributor, ...f.consumers]);
      await world.send(world.market.deposit!(member.account, { value: random.below(10n ** 14n) + 1n }));
      await world.send(world.market.collect!(f.distributor.account, f.plants[0]!.account));
    }
  }

  const queryOf = (feeder: TestFeeder, member: Member, first: number, last: number) => {
    const step = BigInt(feeder.terms.lotsPerClearing);
    return {
      registry: world.book.registry as Hex,
      account: Number(member.account),
      from: FIRST_LOT + BigInt(first) * step,
      to: FIRST_LOT + (BigInt(last) + 1n) * step - 1n,
    };
  };

  async function check(feeder: TestFeeder, member: Member, first: number, last: number): Promise<Bill> {
    const query = queryOf(feeder, member, first, last);
    const { file, bill } = await collectBill(rpc, query);
    const { blockHash } = file;
    const verdict = await verifyBill(JSON.parse(JSON.stringify(file)), { registry: query.registry, blockHash });
    assert.ok(verdict.holds, verdict.holds ? "" : verdict.first);
    assert.equal(bill.lots.length, (last - first + 1) * feeder.terms.lotsPerClearing);
    for (const { consumers, plants: parts, sent } of bill.lots) {
      assert.equal(sent, sum(parts));
      for (const { energy, origin } of consumers) if (sent > 0n) assert.equal(energy, sum(origin));
    }
    return bill;
  }

  for (const [f, name] of ["poor", "batched"].entries()) {
    test(`${name}: consumers', over all lots and over some`, async () => {
      const { consumers } = feeders[f]!;
      const [prompt, , late] = consumers as [Member, Member, Member];
      const bill = await check(feeders[f]!, late, 0, 3);
      assert.equal(bill.events.filter((event) => event.name === "ConsumerCleared").length, 1, "four clearings at once");
      await check(feeders[f]!, prompt, 1, 2);
      if (deep) for (const consumer of consumers) for (let k = 0; k < 4; k++) await check(feeders[f]!, consumer, k, k);
    });
    test(`${name}: plants'`, async () => {
      const [first, silent] = feeders[f]!.plants as [Member, Member];
      const bill = await check(feeders[f]!, silent, 0, 3);
      assert.ok(bill.events.some((event) => event.name === "Estimated"));
      assert.ok(bill.events.some((event) => event.name === "Corrected"));
      assert.ok(bill.lots.some(({ plants: parts }) => parts.some(({ measured }) => !measured)));
      await check(feeders[f]!, first, 2, 3);
      if (deep) for (const plant of [first, silent]) for (let k = 0; k < 4; k++) await check(feeders[f]!, plant, k, 3);
    });
    test(`${name}: the distributor's`, async () => {
      const bill = await check(feeders[f]!, feeders[f]!.distributor, 0, 3);
      assert.ok(bill.lots.every(({ consumers }) => consumers.length === 3));
      assert.ok(bill.lots.some(({ receivedMeasured }) => !receivedMeasured));
      const owed = bill.events.flatMap((event) => (event.name === "ArrearsGrown" ? [`${event.args.creditor}`] : []));
      if (f === 0) assert.ok(new Set(owed).size >= 2, "arrears with several creditors");
      await check(feeders[f]!, feeders[f]!.distributor, 1, 2);
      if (deep) for (let k = 0; k < 4; k++) await check(feeders[f]!, feeders[f]!.distributor, k, k);
    });
  }

  test("meters that took another's place: what the old ones never read is lost, and nothing is billed twice", async () => {
    const swapped = feeders[2]!;
    const { consumers, plants: sending, distributor } = swapped;
    const used = await check(swapped, consumers[0]!, 0, 3);
    assert.deepEqual(
      used.lots.map(({ consumers: parts }) => parts.map(({ energy }) => energy)),
      [[600_000n], [], [600_000n], [600_000n]],
    );
    assert.equal(new Set(used.lots.flatMap(({ consumers: parts }) => parts.map(({ meterId }) => meterId))).size, 2);
    assert.equal(used.totals.energy, 1_800_000n);
    const sent = await check(swapped, sending[0]!, 0, 3);
    assert.deepEqual(
      sent.lots.map(({ plants: parts }) => parts[0]!.energy),
      [1_000_000n, 900_000n, 1_000_000n, 1_000_000n],
    );
    await check(swapped, consumers[0]!, 3, 3);
    await check(swapped, distributor, 0, 3);
  });

  test("the ledger makes of the same events what the chain holds", async () => {
    const ledger = new Ledger({ lotSeconds: 300 });
    const { provider } = world.chain.ethers;
    const logs = await provider.getLogs({ fromBlock: 0, address: [world.book.market, world.book.registry] });
    const statements = await ledger.apply(
      logs.map(({ address, topics, data, transactionHash }) => ({
        address: address as Hex,
        topics: topics as Hex[],
        data: data as Hex,
        transactionHash: transactionHash as Hex,
        input: async () => (await provider.getTransaction(transactionHash))!.data as Hex,
      })),
    );
    assert.ok(statements.some(({ name }) => name === "swapped"));
    for (const feeder of feeders) {
      for (const { account, meter } of [...feeder.plants, feeder.distributor, ...feeder.consumers]) {
        assert.equal(ledger.accounts.balanceOf(Number(account)), await world.market.balanceOf!(account), meter.serial);
      }
    }
  });

  test("what is not cleared yet, and who is nobody, is said", async () => {
    const [feeder] = feeders as [TestFeeder];
    const query = queryOf(feeder, feeder.consumers[0]!, 0, 4);
    await assert.rejects(collectBill(rpc, query), { code: "not-cleared", message: /is cleared up to lot 5900003/ });
    await assert.rejects(collectBill(rpc, { ...query, account: 4_000 }), { code: "no-such-account" });
    await assert.rejects(collectBill(rpc, { ...query, registry: world.book.link as Hex }), { code: "no-registry" });
  });

  test("a node that answers short ranges only, and keeps no old state", async () => {
    const query = queryOf(feeders[0]!, feeders[0]!.consumers[0]!, 2, 2);
    let refused = 0;
    const short: Rpc = (method, params) => {
      const [filter] = params as [{ fromBlock: string; toBlock: string }];
      if (method !== "eth_getLogs" || Number(filter.toBlock) - Number(filter.fromBlock) < 60)
        return rpc(method, params);
      refused++;
      return Promise.reject(new Error("block range is too large"));
    };
    const { file } = await collectBill(short, query);
    assert.deepEqual(file, (await collectBill(rpc, query)).file);
    assert.ok(refused > 0 && refused < 10, "what is too long is asked once");
    const forgetful: Rpc = (method, params) =>
      method === "eth_getProof" ? Promise.reject(new Error("missing trie node")) : rpc(method, params);
    await assert.rejects(collectBill(forgetful, query), {
      code: "no-proof",
      message: /no proof of the state at block/,
    });
  });

  test("Green Button: every resource is as espi.xsd has it, and holds the bill's energies", async () => {
    const { file, bill } = await collectBill(rpc, queryOf(feeders[1]!, feeders[1]!.plants[1]!, 0, 3));
    const feed = parseXml(exportBill("greenbutton", bill, file));
    const entries = feed.children.filter(({ name }) => name === "entry");
    const resources = entries.map(({ children }) => children.find(({ name }) => name === "content")!.children[0]!);
    assert.deepEqual(
      resources.map(({ name }) => name),
      ["UsagePoint", "LocalTimeParameters", "MeterReading", "ReadingType", "IntervalBlock", "UsageSummary"],
    );
    for (const resource of resources) {
      assert.match(resource.attributes, /xmlns="http:\/\/naesb\.org\/espi"/);
      assert.deepEqual(faults(resource, ESPI[resource.name]!), []);
    }
    for (const { children } of [feed, ...entries]) {
      for (const needed of ["id", "title", "updated"]) assert.ok(children.some(({ name }) => name === needed));
    }
    const readings = resources[4]!.children.filter(({ name }) => name === "IntervalReading");
    const text = (of: Element, name: string) => of.children.find((child) => child.name === name)!;
    assert.deepEqual(
      readings.map((one) => [Number(text(text(one, "timePeriod"), "start").text), BigInt(text(one, "value").text)]),
      bill.lots.map(({ start, plants: parts }) => [start, parts[1]!.energy * 100n]),
    );
    const qualities = readings.map((one) => text(text(one, "ReadingQuality"), "quality").text);
    assert.deepEqual([...new Set(qualities)].sort(), ["0", "8"], "measured, and estimated");
  });

  test("CSV: a line a lot, whose sums are the bill's", async () => {
    const { file, bill } = await collectBill(rpc, queryOf(feeders[0]!, feeders[0]!.consumers[0]!, 0, 3));
    const [head, ...lines] = exportBill("csv", bill, file)
      .trimEnd()
      .split("\r\n")
      .map((line) => line.split(","));
    const total = (name: string) => lines.reduce((all, cells) => all + BigInt(cells[head!.indexOf(name)]!), 0n);
    assert.equal(lines.length, 4);
    assert.equal(total("energy"), bill.totals.energy);
    assert.equal(total("owes"), bill.totals.owes);
    const origins = head!.filter((name) => name.startsWith("origin_"));
    assert.equal(origins.length, 2);
    assert.equal(total(origins[0]!) + total(origins[1]!), bill.totals.energy);
  });

  test("the commands: a bill is written, checked, refused when it was changed, and printed", async () => {
    const [feeder] = feeders as [TestFeeder];
    const out = join(folder, "bill.json.gz");
    const { registry } = world.book;
    const { meter, account } = feeder.consumers[1]!;
    const made = await command("bill", [
      "--account",
      meter.serial,
      "--registry",
      registry,
      "--rpc",
      node.url,
      "--from",
      "2026-01-01T00:00Z",
      "--out",
      out,
    ]);
    assert.equal(made.code, 0, made.stderr);
    const file = JSON.parse(gunzipSync(readFileSync(out)).toString());
    assert.equal(file.bill.account, Number(account));
    assert.equal(file.bill.lots.length, 4);
    const trusted = ["--registry", registry, "--block-hash", file.blockHash];
    const good = await command("verify", [out, ...trusted]);
    assert.deepEqual([good.code, good.stderr], [0, ""]);
    assert.match(good.stdout, /^the bill holds: consumer, account \d+, lots 5900000 to 5900003 \(4\)/);
    assert.doesNotMatch(good.stdout, /claimed/);
    assert.match(
      good.stdout,
      new RegExp(`that of consumer, account ${account}, owner 0x.*, meter ${meter.meterId}, from 2`),
    );
    const mine = await command("verify", [out, ...trusted, "--account", meter.serial]);
    assert.equal(mine.code, 0, mine.stderr);
    const other = await command("verify", [out, ...trusted, "--account", feeder.consumers[0]!.meter.serial]);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /^\S+ is not the bill of poor consumer 0: consumer, account \d+, owner 0x[^\n]*\n$/);

    const cheat = join(folder, "cheat.json");
    file.bill.lots[2].consumers[0].money = "1";
    writeFileSync(cheat, JSON.stringify(file));
    const bad = await command("verify", [cheat]);
    assert.equal(bad.code, 1);
    assert.match(
      bad.stderr,
      /^\S+cheat\.json does not hold: lot 5900002, consumer of meter 0x[0-9a-f]+, money: the bill says "1"; its evidence makes it "\d+"\n$/,
    );

    // a file cannot write its own verdict over the one that it gets
    for (const place of [file, file.bill]) {
      place["\r\u001b[2Kthe bill holds\u202e"] = "1";
      file.bill.lots[2].consumers[0].money = good.stdout;
      writeFileSync(cheat, JSON.stringify(file));
      const masked = await command("verify", [cheat]);
      assert.ok(masked.code === 1 || masked.code === 2);
      assert.match(masked.stderr, /^[ -~…]+\n$/);
      delete place["\r\u001b[2Kthe bill holds\u202e"];
    }

    const page = await command("bill", ["--in", out, "--format", "html"]);
    assert.equal(page.code, 0, page.stderr);
    assert.match(page.stdout, /^<!doctype html>/);
    assert.doesNotMatch(page.stdout, /(src|href)=/);

    const none = await command("verify", [join(folder, "none.json")]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^\S+none\.json: ENOENT[^\n]*\n$/);
    const wrong = await command("bill", ["--account", "1", "--registry", "0x12"]);
    assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
    assert.match(wrong.stderr, /^--registry "0x12" must be 0x and 40 hex digits[^\n]*\n$/);
  });
});

const sum = (parts: readonly { energy: bigint }[]): bigint => parts.reduce((all, { energy }) => all + energy, 0n);
