import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Contract, encryptKeystoreJson, Wallet } from "ethers";
import { EnergyMarketAbi, OperatorAbi } from "../abi/index.ts";
import { loadArtifact } from "../src/deployment/artifacts.ts";
import { isRuntimeOf } from "../src/deployment/runtime-code.ts";
import { readAddressBook } from "../src/index.ts";
import { Anvil, hasAnvil, KEYS } from "./support/anvil.ts";
import { command } from "./support/command.ts";

const NODE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const SECRET = "correct horse battery staple";

describe("bijuli deploy", { skip: hasAnvil ? false : "anvil has no binary here" }, () => {
  let chain: Anvil;
  let cwd: string;
  const env = { DEPLOYER_KEY: KEYS[0] };

  before(async () => {
    chain = await Anvil.start();
    cwd = mkdtempSync(join(tmpdir(), "bijuli-deploy-"));
    const networks = {
      dev: { rpcUrl: "env:DEV_RPC", chainId: 31337, nodes: [NODE], confirmations: 1, lotSeconds: 60 },
      elsewhere: { rpcUrl: chain.url, chainId: 11155111, link: NODE },
    };
    writeFileSync(join(cwd, "bijuli.networks.json"), JSON.stringify(networks));
  });
  after(() => {
    chain.close();
    rmSync(cwd, { recursive: true, force: true });
  });
  const deploy = (...args: string[]) => command("deploy", args, { cwd, env: { ...env, DEV_RPC: chain.url } });

  it("says in a dry run what it would send, and sends nothing", async () => {
    const { code, stdout, stderr } = await deploy("--network", "dev", "--dry-run");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /gas {2}accessManager at 0x/);
    assert.match(stdout, /gas {2}market at 0x/);
    assert.match(stdout, /about \d+ gas, at most 0\.\d+ ether/);
    assert.equal(await chain.sentBy(0), 0);
    assert.throws(() => statSync(join(cwd, "deployments")));
  });

  it("deploys, verifies, and the second time changes nothing", async () => {
    const planned = JSON.parse((await deploy("--network", "dev", "--dry-run", "--json")).stdout);
    const first = await deploy("--network", "dev", "--json");
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /verified against the chain: 22 facts; compiler input of 12 contracts/);
    const file = join(cwd, "deployments/dev.json");
    const book = readAddressBook(file);
    assert.deepEqual(JSON.parse(first.stdout), JSON.parse(JSON.stringify(book)));
    assert.equal(book.lotSeconds, 60);
    assert.equal(planned.steps.at(-1).address, book.market, "the dry run named the market's address");
    assert.equal(planned.steps.length, await chain.sentBy(0));
    const market = new Contract(book.market, EnergyMarketAbi, chain.provider);
    assert.equal(await market.getFunction("token")(), book.token);
    const operator = new Contract(book.operator, OperatorAbi, chain.provider);
    assert.deepEqual([...(await operator.getFunction("getAuthorizedSenders")())], [NODE]);

    const sent = await chain.sentBy(0);
    const stamps = () =>
      ["dev.json", "dev/EnergyMarket.json"].map((f) => statSync(join(cwd, "deployments", f)).mtimeMs);
    const written = stamps();
    const second = await deploy("--network", "dev", "--json");
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /nothing to do: deployments\/dev\.json is complete/);
    assert.equal(second.stdout, first.stdout);
    assert.equal(await chain.sentBy(0), sent);
    assert.deepEqual(stamps(), written);
    for (const { stdout, stderr } of [first, second]) {
      assert.ok(!`${stdout}${stderr}`.includes(KEYS[0].slice(2)), "the key is never printed");
    }
  });

  it("adds a node without dropping the others", async () => {
    const other = new Wallet(KEYS[2]).address;
    const { code, stderr } = await deploy("--network", "dev", "--node", other);
    assert.equal(code, 0, stderr);
    const book = readAddressBook(join(cwd, "deployments/dev.json"));
    const operator = new Contract(book.operator, OperatorAbi, chain.provider);
    assert.deepEqual([...(await operator.getFunction("getAuthorizedSenders")())], [NODE, other]);
  });

  it("keeps what a block explorer needs: recompiled, it is the code on chain", async () => {
    const facts = JSON.parse(readFileSync(join(cwd, "deployments/dev/EnergyToken.json"), "utf8"));
    const input = readFileSync(join(cwd, "deployments/dev/EnergyToken.input.json"), "utf8");
    assert.equal(facts.compiler, "v0.8.19+commit.7dd6d404");
    const solc = createRequire(import.meta.url)("solc-0.8.19");
    const [source, name] = facts.contract.split(":");
    const made = JSON.parse(solc.compile(input)).contracts[source][name].evm.deployedBytecode.object;
    const artifact = { ...loadArtifact("EnergyToken"), deployedBytecode: `0x${made}` };
    assert.ok(isRuntimeOf(artifact, await chain.provider.getCode(facts.address), {}));
    const market = readAddressBook(join(cwd, "deployments/dev.json")).market;
    assert.equal(facts.constructorArguments, `0x${market.slice(2).toLowerCase().padStart(64, "0")}`);
  });

  it("goes on after a kill at any moment, with no transaction sent twice", async () => {
    const book = join(cwd, "killed.json");
    const args = ["--rpc-url", chain.url, "--network", "local", "--node", NODE, "--book", book];
    const from = await chain.sentBy(0);
    let runs = 0;
    for (let killAt = 4; ; killAt = 5 + (runs % 4)) {
      const { code, stderr } = await command("deploy", args, { cwd, env, killAt });
      runs++;
      assert.ok(code === 0 || code === null, stderr);
      if (code === 0 || runs > 40) break;
      if (readAddressBookIfComplete(book)) break;
    }
    const last = await command("deploy", args, { cwd, env });
    assert.equal(last.code, 0, last.stderr);
    assert.ok(runs > 3, `killed only ${runs} times`);
    assert.equal((await chain.sentBy(0)) - from, 15, "as many transactions as without a kill");
  });

  it("leaves an address book alone that another run is writing", async () => {
    const book = join(cwd, "locked.json");
    writeFileSync(`${book}.lock`, `${process.pid}\n`);
    const { code, stderr } = await command("deploy", ["--rpc-url", chain.url, "--book", book], { cwd, env });
    assert.equal(code, 75);
    assert.match(stderr, new RegExp(`locked\\.json is being written by process ${process.pid}`));
  });

  it("opens an encrypted keystore, and says only that a password is wrong", async () => {
    const keystore = join(cwd, "deployer.json");
    writeFileSync(
      keystore,
      await encryptKeystoreJson({ address: new Wallet(KEYS[1]).address, privateKey: KEYS[1] }, SECRET, {
        scrypt: { N: 2 },
      }),
    );
    const passwordFile = join(cwd, "password");
    const run = async (password: string) => {
      writeFileSync(passwordFile, `${password}\n`);
      const args = ["--rpc-url", chain.url, "--keystore", keystore, "--dry-run"];
      return command("deploy", args, { cwd, env: { BIJULI_KEYSTORE_PASSWORD_FILE: passwordFile } });
    };
    const right = await run(SECRET);
    assert.equal(right.code, 0, right.stderr);
    assert.ok(right.stderr.includes(`deploying with ${new Wallet(KEYS[1]).address}`));
    const wrong = await run("tr0ub4dor&3");
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /^\S*deployer\.json does not open with this password\n$/);
    const none = await command("deploy", ["--rpc-url", chain.url, "--keystore", keystore], { cwd });
    assert.equal(none.code, 2);
    assert.match(none.stderr, /deployer\.json needs its password \(BIJULI_KEYSTORE_PASSWORD_FILE/);
  });

  it("refuses in one line what cannot work, with its exit code", async () => {
    writeFileSync(join(cwd, "half.json"), JSON.stringify({ chainId: "31337" }));
    const closed = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => closed.once("listening", resolve));
    const dead = `http://127.0.0.1:${(closed.address() as AddressInfo).port}/v3/SECRET-API-KEY`;
    await new Promise((resolve) => closed.close(resolve));
    const poor = { DEPLOYER_KEY: `0x${"42".repeat(32)}` };
    const cases: [string[], Record<string, string>, number, RegExp][] = [
      [["--network", "elsewhere"], env, 2, /is chain 31337, but elsewhere is chain 11155111/],
      [["--rpc-url", chain.url], {}, 2, /there is no key to send with \(--keystore FILE, or DEPLOYER_KEY/],
      [["--rpc-url", chain.url], { DEPLOYER_KEY: "0x12" }, 2, /^DEPLOYER_KEY \(secret\) must be 32 bytes as hex\n/],
      [["--rpc-url", chain.url], poor, 75, /has 0\.0 ether, and about \d+\.\d+ are needed/],
      [["--rpc-url", dead], env, 75, /no chain at http:\/\/127\.0\.0\.1:\d+: ECONNREFUSED/],
      [["--rpc-url", chain.url, "--link", NODE], env, 2, /is no LinkToken to use: there is no contract/],
      [["--rpc-url", chain.url, "--node", "0x12"], env, 2, /--node "0x12" must be an address/],
      [["--rpc-url", chain.url, "--book", "half.json"], env, 2, /half\.json is not an address book: lotSeconds/],
      [
        ["--network", "dev", "--lot-seconds", "300"],
        { ...env, DEV_RPC: chain.url },
        2,
        /its lots are 60 s long and not 300 s/,
      ],
      [["--bogus"], env, 2, /Unknown option '--bogus'/],
    ];
    // All at once, so each with an address book of its own.
    const results = await Promise.all(
      cases.map(([args, variables], i) => {
        const own = args.includes("--rpc-url") && !args.includes("--book") ? ["--book", `refused-${i}.json`] : [];
        return command("deploy", [...args, ...own], { cwd, env: variables });
      }),
    );
    for (const [i, { code, stdout, stderr }] of results.entries()) {
      const [args, , expected, message] = cases[i]!;
      assert.match(stderr, message, args.join(" "));
      assert.equal(code, expected, `${args.join(" ")}: ${stderr}`);
      assert.equal(stdout, "");
      assert.ok(!/SECRET|4242|\n {4}at /.test(stderr), stderr);
    }
  });

  it("refuses a test LINK token where ether is worth something", async () => {
    const sepolia = await Anvil.start({ chainId: 11155111 });
    try {
      const { code, stderr } = await command("deploy", ["--rpc-url", sepolia.url], { cwd, env });
      assert.equal(code, 2);
      assert.match(stderr, /chain 11155111 is no development chain: name its LINK token with --link/);
    } finally {
      sepolia.close();
    }
  });

  it("refuses an address book of another chain with the same id, until --fresh", async () => {
    const other = await Anvil.start({ timestamp: 1_700_000_000n });
    try {
      const args = ["--network", "dev", "--rpc-url", other.url];
      const refused = await command("deploy", args, { cwd, env });
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /is a deployment on another chain with the id 31337 \(--fresh/);
      const fresh = await command("deploy", [...args, "--fresh"], { cwd, env });
      assert.equal(fresh.code, 0, fresh.stderr);
      assert.ok(statSync(join(cwd, "deployments/dev.json.1")).isFile());
    } finally {
      other.close();
    }
  });
});

function readAddressBookIfComplete(path: string): boolean {
  try {
    readAddressBook(path);
    return true;
  } catch {
    return false;
  }
}
