import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readingDomain, readingToJson } from "@bijuli/protocol";
import { Contract, computeAddress, Interface, id, parseEther, Wallet } from "ethers";
import { AccessManagerAbi, EnergyMarketAbi, MeterRegistryAbi } from "../abi/index.ts";
import { readFeederFile } from "../src/cli/feeder-file.ts";
import { explainRevert } from "../src/cli/revert.ts";
import { type AddressBook, deploy, writeAddressBook } from "../src/index.ts";
import { Anvil, hasAnvil, KEYS } from "./support/anvil.ts";
import { command } from "./support/command.ts";
import { TestMeter } from "./support/meter.ts";

const LOT_SECONDS = 300;
/** The chain stands in the middle of the lot before. */
const FIRST_LOT = 6_000_000n;
const JOB = "b1a11000-0e1e-4c7a-9d0f-10751ead1465";
const [REGULATOR, OWNER, STRANGER] = KEYS;
const FEEDER = {
  name: "valley",
  terms: { idealLossBps: 940, serviceBps: 50, toleranceBps: 10 },
  plants: [{ serial: "PLANT-1", pricePerKWh: "33000000000000", source: { replay: "plant.csv" } }],
  distributor: { serial: "MAIN-1" },
  consumers: [{ serial: "KITCHEN" }, { serial: "LAUNDRY" }],
};

describe("bijuli feeder", { skip: hasAnvil ? false : "anvil has no binary here" }, () => {
  let chain: Anvil;
  let cwd: string;
  let book: AddressBook;
  before(async () => {
    chain = await Anvil.start({ timestamp: (FIRST_LOT - 1n) * 300n + 60n });
    cwd = mkdtempSync(join(tmpdir(), "bijuli-feeder-"));
    book = await deploy(chain.wallet(0), { lotSeconds: LOT_SECONDS, nodes: [] });
    writeAddressBook(join(cwd, "book.json"), book);
    writeFileSync(join(cwd, "feeder.json"), JSON.stringify(FEEDER));
    for (const serial of ["PLANT-1", "MAIN-1", "KITCHEN", "LAUNDRY"]) {
      writeFileSync(join(cwd, `${serial}.json`), JSON.stringify(identity(serial)));
    }
  });
  after(() => {
    chain.close();
    rmSync(cwd, { recursive: true, force: true });
  });

  /** What a reader serves at /identity, as far as a registration needs it. */
  function identity(serial: string, chainId = book.chainId) {
    const domain = readingDomain({ chainId, registry: book.registry });
    const meter = new TestMeter(serial, domain, LOT_SECONDS, FIRST_LOT, 1_000n);
    const signer = computeAddress(meter.key);
    const { reading, signature } = signedOpening(meter);
    return {
      serial,
      signer,
      domain: { chainId, verifyingContract: book.registry },
      opening: { serial, reading, signature, signer },
    };
  }
  function signedOpening(meter: TestMeter) {
    const reading = meter.reading(FIRST_LOT - 1n, 1, 256);
    return { reading: readingToJson(reading), signature: meter.sign(reading) };
  }
  const feeder = (key: string, ...args: string[]) =>
    command("feeder", [...args, "--rpc-url", chain.url, "--book", "book.json"], { cwd, env: { BIJULI_KEY: key } });
  const sent = async () => (await chain.sentBy(0)) + (await chain.sentBy(1)) + (await chain.sentBy(2));
  async function succeeds(key: string, ...args: string[]) {
    const ended = await feeder(key, ...args);
    assert.equal(ended.code, 0, `${args.join(" ")}: ${ended.stderr}`);
    return ended;
  }
  async function refused(code: number, message: RegExp, key: string, ...args: string[]) {
    const before = await sent();
    const ended = await feeder(key, ...args);
    assert.match(ended.stderr, message);
    assert.equal(ended.code, code, ended.stderr);
    assert.ok(!/\n {4}at /.test(ended.stderr), ended.stderr);
    assert.equal(await sent(), before, "nothing is sent");
  }
  /** The second time, everything is there. */
  async function settled(key: string, ...args: string[]) {
    const before = await sent();
    assert.match((await succeeds(key, ...args)).stderr, /nothing to do/);
    assert.equal(await sent(), before);
  }

  it("is set up from nothing, each command repeatable, each refusal in words", async () => {
    await refused(
      1,
      /registering PLANT-1: 0x\w+ is not the regulator/,
      STRANGER,
      "register",
      "--opening",
      "PLANT-1.json",
      "--capacity-watts",
      "5000",
    );
    for (const serial of ["PLANT-1", "MAIN-1", "KITCHEN", "LAUNDRY"]) {
      await succeeds(
        REGULATOR,
        "register",
        "--opening",
        `${serial}.json`,
        "--capacity-watts",
        "5000",
        "--serial",
        serial,
      );
    }
    await settled(REGULATOR, "register", "--opening", "PLANT-1.json", "--capacity-watts", "5000");

    assert.match((await succeeds(REGULATOR, "create", "valley")).stderr, new RegExp(`valley is ${id("valley")}`));
    await settled(REGULATOR, "create", "valley");

    await refused(
      2,
      /nobody has joined as distributor with meter MAIN-1 \(its owner runs bijuli feeder join\)/,
      REGULATOR,
      "charter",
      "feeder.json",
    );
    const main = await succeeds(
      OWNER,
      "join",
      "valley",
      "--serial",
      "MAIN-1",
      "--role",
      "distributor",
      "--limit",
      "40000000000000",
      "--deposit",
      "1.5",
    );
    assert.equal(main.stdout, "1\n");
    await settled(OWNER, "join", "valley", "--serial", "MAIN-1", "--role", "distributor", "--limit", "40000000000000");
    await refused(
      2,
      /--limit WEI says the highest price/,
      OWNER,
      "join",
      "valley",
      "--serial",
      "KITCHEN",
      "--role",
      "consumer",
    );
    await succeeds(OWNER, "join", "valley", "--serial", "PLANT-1", "--role", "plant", "--limit", "30000000000000");
    await succeeds(OWNER, "join", "valley", "--serial", "KITCHEN", "--role", "consumer", "--limit", "any");

    const charter = await succeeds(REGULATOR, "charter", "feeder.json", "--from-lot", `${FIRST_LOT}`);
    assert.match(
      charter.stderr,
      /^warning: the terms of "valley" leave its distributor without profit .* at least 98 would do$/m,
    );
    await settled(REGULATOR, "charter", "feeder.json");
    const dear = { ...FEEDER, plants: [{ ...FEEDER.plants[0], pricePerKWh: "41000000000000" }] };
    writeFileSync(join(cwd, "dear.json"), JSON.stringify(dear));
    await refused(
      1,
      /account 1 consented to at most 40000000000000 wei per kWh, and the price can reach 41000000000000/,
      REGULATOR,
      "charter",
      "dear.json",
    );
    await refused(
      1,
      /lot 5000000 has begun: changes hold from lot 6000000 on at the earliest/,
      REGULATOR,
      "charter",
      "dear.json",
      "--from-lot",
      "5000000",
    );

    const listed = await feeder(REGULATOR, "list", "feeder.json", "--from-lot", `${FIRST_LOT}`);
    assert.equal(listed.code, 2);
    assert.match(listed.stderr, /1 consumers are listed in valley from lot 6000000 on\nnot joined yet: LAUNDRY/);
  });

  it("takes a signed consent once, sent by somebody else", async () => {
    const signed = await succeeds(
      OWNER,
      "consent",
      "valley",
      "--serial",
      "LAUNDRY",
      "--role",
      "consumer",
      "--limit",
      "any",
    );
    writeFileSync(join(cwd, "consent.json"), signed.stdout);
    assert.equal((await succeeds(STRANGER, "join", "--consent", "consent.json")).stdout, "4\n");
    await refused(1, /this consent has been used already/, STRANGER, "join", "--consent", "consent.json");
    const forged = { ...JSON.parse(signed.stdout), role: 1 };
    writeFileSync(join(cwd, "forged.json"), JSON.stringify(forged));
    await refused(1, /the consent is not signed by 0x/, STRANGER, "join", "--consent", "forged.json");
    await succeeds(REGULATOR, "list", "feeder.json", "--from-lot", `${FIRST_LOT}`);
    await settled(REGULATOR, "list", "feeder.json");
  });

  it("gets its oracles and its LINK", async () => {
    const seat = `own,${JOB},0.1`;
    await succeeds(REGULATOR, "operators", "valley", "--seat", seat);
    await settled(REGULATOR, "operators", "valley", "--seat", seat);
    await refused(
      2,
      /--seat "own,nothing,1" must be OPERATOR,JOB,LINK/,
      REGULATOR,
      "operators",
      "valley",
      "--seat",
      "own,nothing,1",
    );
    assert.match((await succeeds(REGULATOR, "fund-link", "valley", "30")).stderr, /valley has 30\.0 LINK/);
    await refused(75, /has 0\.0 LINK, not 1\.0/, STRANGER, "fund-link", "valley", "1");
    await refused(1, /LINK for \S+: there is no feeder/, REGULATOR, "fund-link", "nowhere", "1");
  });

  it("shows what the chain knows of it, without a key", async () => {
    const show = (...args: string[]) =>
      command("feeder", ["show", ...args, "--rpc-url", chain.url, "--book", "book.json"], { cwd });
    const state = JSON.parse((await show("valley", "--json")).stdout);
    assert.equal(state.link, `${parseEther("30")}`);
    assert.equal(state.openingsPaid, "100");
    assert.deepEqual(state.nextOpening, { lot: "6000000", notBefore: "1800000300" });
    assert.deepEqual(
      [state.charter.distributor, state.charter.consumers, state.charter.terms.serviceBps],
      ["1", "2", "50"],
    );
    const seen = state.members.map(({ account, role, firstLot, register, balance }: Record<string, string>) => [
      account,
      role,
      firstLot,
      register,
      balance,
    ]);
    assert.deepEqual(seen, [
      ["1", "distributor", "6000000", "1000", `${parseEther("1.5")}`],
      ["2", "plant", "6000000", "1000", "0"],
      ["3", "consumer", "6000000", "1000", "0"],
      ["4", "consumer", "6000000", "1000", "0"],
    ]);
    const text = (await show("valley")).stdout;
    assert.match(text, /30\.0 LINK, enough for about 100 openings/);
    assert.match(text, /account 2 plant, meter 0x\w+, from lot 6000000, cleared through 5999999 at 0\.0001000 kWh/);
    assert.match((await show()).stdout, /4 meters\nvalley {2}0x/);
    const none = await show("nowhere");
    assert.deepEqual([none.code, none.stderr], [2, "there is no feeder nowhere (show without a name lists them)\n"]);
  });

  it("has a member's meter replaced, once", async () => {
    writeFileSync(join(cwd, "KITCHEN-2.json"), JSON.stringify(identity("KITCHEN-2")));
    await succeeds(REGULATOR, "register", "--opening", "KITCHEN-2.json", "--capacity-watts", "5000");
    const replace = ["replace", "valley", "--serial", "KITCHEN", "--by", "KITCHEN-2"];
    await refused(2, /no member of valley is read by meter ATTIC/, REGULATOR, ...replace.with(3, "ATTIC"));
    assert.match((await succeeds(REGULATOR, ...replace)).stderr, /account 3 is read by KITCHEN-2 from lot 6000000 on/);
    await settled(REGULATOR, ...replace);
  });

  it("schedules what the AccessManager delays, and does it when the delay is over", async () => {
    const manager = new Contract(book.accessManager, AccessManagerAbi, chain.wallet(0));
    const deputy = new Wallet(STRANGER).address;
    const selector = new Interface(EnergyMarketAbi).getFunction("createFeeder")!.selector;
    await (await manager.getFunction("setTargetFunctionRole")(book.market, [selector], 7n)).wait();
    await (await manager.getFunction("grantRole")(7n, deputy, 3_600)).wait();
    const first = await feeder(STRANGER, "create", "ridge");
    assert.equal(first.code, 75, first.stderr);
    assert.match(first.stderr, /creating ridge: scheduled, .*run the very same command again after 2027-\d\d-\d\dT/);
    await refused(75, /scheduled/, STRANGER, "create", "ridge");
    await chain.send("evm_increaseTime", 3_601);
    await chain.send("evm_mine");
    assert.match((await succeeds(STRANGER, "create", "ridge")).stderr, /the feeder ridge is 0x/);
  });

  it("refuses a meter that is not what it says", async () => {
    const good = identity("SHED");
    const write = (change: object) => writeFileSync(join(cwd, "bad.json"), JSON.stringify({ ...good, ...change }));
    const register = (message: RegExp, ...more: string[]) =>
      refused(2, message, REGULATOR, "register", "--opening", "bad.json", "--capacity-watts", "100", ...more);
    write({ serial: "BARN" });
    await register(/which is not BARN/);
    write({ signer: new Wallet(OWNER).address });
    await register(/its opening reading is signed by 0x\w+, not by 0x7099/);
    write({ domain: { chainId: "1", verifyingContract: book.registry } });
    await register(/the meter signs for registry 0x\w+ on chain 1, not for .* \(set CHAIN_ID and REGISTRY_ADDRESS/);
    write({ opening: null });
    await register(/the meter has not begun its first lot yet/);
    write({});
    await register(/the meter there is SHED, not GARAGE/, "--serial", "GARAGE");
    await refused(
      75,
      /the reader at http:\/\/127\.0\.0\.1:9: /,
      REGULATOR,
      "register",
      "--reader",
      "http://127.0.0.1:9",
      "--capacity-watts",
      "1",
    );
    await refused(2, /register takes --reader URL or --opening FILE/, REGULATOR, "register");
  });

  it("says so where there is no address book", async () => {
    const { code, stderr } = await command("feeder", ["show", "--rpc-url", chain.url, "--book", "elsewhere.json"], {
      cwd,
    });
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^there is no address book elsewhere\.json \(npx bijuli deploy writes it/);
  });
});

describe("a feeder's file", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "bijuli-feeder-file-"));
  });
  after(() => rmSync(folder, { recursive: true }));
  const read = (json: unknown, name?: string) => {
    const file = join(folder, "f.json");
    writeFileSync(file, JSON.stringify(json));
    return readFeederFile(file, name);
  };

  it("is one of a grid's, or its own", () => {
    assert.equal(read(FEEDER).terms.penaltyBps, 10_000);
    const other = { ...FEEDER, name: "ridge", lotsPerClearing: 2 };
    const grid = { lotSeconds: 300, lotsPerClearing: 12, feeders: [FEEDER, other] };
    assert.equal(read(grid, "valley").lotsPerClearing, 12);
    assert.equal(read(grid, "ridge").lotsPerClearing, 2);
    assert.throws(() => read(grid), /it has several feeders, name one of valley, ridge/);
    assert.throws(() => read(grid, "peak"), /it has no feeder "peak"/);
  });

  it("is refused in one line that names the field", () => {
    const refuse = (change: object, message: RegExp) =>
      assert.throws(() => read({ ...FEEDER, ...change }), { message });
    refuse({ terms: { ...FEEDER.terms, penality: 1 } }, /f\.json: terms\.penality: unknown key/);
    refuse({ terms: { idealLossBps: 10_000, serviceBps: 1 } }, /terms\.idealLossBps: must be at most 9999/);
    refuse({ plants: [{ serial: "P", pricePerKWh: `${2n ** 62n}` }] }, /plants\.0\.pricePerKWh: must be below 2\^62/);
    refuse({ consumers: [{ serial: "MAIN-1" }] }, /the meter "MAIN-1" is there twice/);
    refuse({ distributor: { serial: "x".repeat(65) } }, /distributor\.serial: must be a serial/);
  });
});

describe("a revert", () => {
  it("is said in words for every error that names values, else by its name", () => {
    const market = new Interface(EnergyMarketAbi);
    const registry = new Interface(MeterRegistryAbi);
    assert.equal(
      explainRevert(market.encodeErrorResult("TermTooHigh", ["serviceBps", 10_001, 10_000])),
      "serviceBps is 10001, which is more than 10000",
    );
    assert.equal(
      explainRevert(registry.encodeErrorResult("LotBegun", [5, 6])),
      "lot 5 has begun: changes hold from lot 6 on at the earliest",
    );
    assert.equal(
      explainRevert(market.encodeErrorResult("NotInTurn", [id("f"), 7])),
      `NotInTurn, feeder ${id("f")}, lot 7`,
    );
    assert.equal(explainRevert("0x12345678"), undefined);
    for (const one of [market, registry]) {
      one.forEachError((error) => {
        const zero = error.inputs.map(({ type }) =>
          type === "string"
            ? "t"
            : type === "address"
              ? `0x${"00".repeat(20)}`
              : type === "bytes32"
                ? id("")
                : type === "bool"
                  ? false
                  : 0,
        );
        const words = explainRevert(one.encodeErrorResult(error, zero));
        assert.ok(words && !words.includes("undefined"), `${error.name}: ${words}`);
      });
    }
  });
});
