import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { findNetwork } from "../src/cli/networks.ts";
import { immutablesIn, isRuntimeOf, linkedBytecode } from "../src/deployment/runtime-code.ts";
import { leavesDistributorWithoutProfit, marginWarning } from "../src/index.ts";

const A = `0x${"aa".repeat(20)}`;

describe("networks", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "bijuli-networks-"));
  });
  after(() => rmSync(folder, { recursive: true }));
  const find = (networks: unknown, options: object, env = {}) => {
    const file = join(folder, "n.json");
    writeFileSync(file, typeof networks === "string" ? networks : JSON.stringify(networks));
    return findNetwork({ networks: file, ...options }, env);
  };

  it("come from the file, a URL, or are the local one", () => {
    const sepolia = { rpcUrl: "env:RPC", chainId: 11155111, link: A, confirmations: 2 };
    const found = find({ sepolia }, { network: "sepolia" }, { RPC: "https://rpc.example/key" });
    assert.deepEqual(found, {
      ...sepolia,
      name: "sepolia",
      rpcUrl: "https://rpc.example/key",
      chainId: 11155111n,
      nodes: [],
    });
    const local = find({}, { network: "local" });
    assert.deepEqual([local.rpcUrl, local.chainId], ["http://127.0.0.1:8545", undefined]);
    assert.equal(find({}, { "rpc-url": "http://chain:8545/x?y" }).name, "chain-8545");
    assert.equal(find({ sepolia }, { network: "sepolia", "rpc-url": "http://other" }).chainId, 11155111n);
    assert.equal(find({}, { network: "new", "rpc-url": "http://other", "chain-id": "7" }).chainId, 7n);
  });

  it("are refused in one line that names file and field", () => {
    const refuse = (networks: unknown, options: object, message: RegExp) =>
      assert.throws(() => find(networks, options), { name: "BijuliError", message });
    const a = { rpcUrl: "http://x", chainId: 1 };
    refuse({ a }, {}, /which network\?/);
    refuse({ a }, { network: "b" }, /there is no network "b" in .*n\.json; there are: a, local/);
    refuse("{", { network: "a" }, /n\.json: not JSON/);
    refuse({ a: { ...a, gas: 5 } }, { network: "a" }, /n\.json: a\.gas: unknown key/);
    refuse({ a: { rpcUrl: "http://x" } }, { network: "a" }, /n\.json: a\.chainId: must be a whole number/);
    refuse({ a: { ...a, rpcUrl: "ftp://x" } }, { network: "a" }, /a\.rpcUrl: must be an http\(s\) URL or env:NAME/);
    refuse({ a: { ...a, link: "0x12" } }, { network: "a" }, /a\.link: must be an address/);
    refuse({ a: { ...a, lotSeconds: 86_401 } }, { network: "a" }, /a\.lotSeconds: must be at most 86400/);
    refuse({ a: { ...a, rpcUrl: "env:NONE" } }, { network: "a" }, /NONE must hold the network's http\(s\) URL/);
    refuse({}, { "rpc-url": "nowhere" }, /--rpc-url must be/);
    refuse({}, { "rpc-url": "http://x", "chain-id": "0x1" }, /--chain-id "0x1" must be/);
    assert.throws(
      () => findNetwork({ network: "a", networks: join(folder, "none.json") }, {}),
      /no such networks file/,
    );
  });
});

describe("runtime code", () => {
  const artifact = {
    contractName: "C",
    abi: [],
    bytecode: `0x61${"00".repeat(20)}ff`,
    deployedBytecode: `0x60${"00".repeat(4)}61${"00".repeat(20)}ff`,
    linkReferences: { "L.sol": { L: [{ start: 1, length: 20 }] } },
    deployedLinkReferences: { "L.sol": { L: [{ start: 6, length: 20 }] } },
    immutableReferences: { "1": [{ start: 1, length: 4 }] },
    inputSourceName: "C.sol",
    buildInfoId: "",
  };
  const code = (immutable: string, library: string, last = "ff") => `0x60${immutable}61${library}${last}`;

  it("is the artifact's whatever the immutables are, with the right libraries only", () => {
    assert.ok(isRuntimeOf(artifact, code("01020304", "aa".repeat(20)), { L: A }));
    assert.ok(isRuntimeOf(artifact, code("01020304", "AA".repeat(20)), { L: A }));
    assert.ok(!isRuntimeOf(artifact, code("01020304", "ab".repeat(20)), { L: A }));
    assert.ok(!isRuntimeOf(artifact, code("01020304", "aa".repeat(20), "fe"), { L: A }));
    assert.ok(!isRuntimeOf(artifact, `${code("01020304", "aa".repeat(20))}00`, { L: A }));
    assert.ok(!isRuntimeOf(artifact, "0x", { L: A }));
    assert.deepEqual(immutablesIn(artifact, code("0102AB04", "aa".repeat(20))), ["0x0102ab04"]);
    assert.equal(linkedBytecode(artifact, { L: A }), `0x61${"aa".repeat(20)}ff`);
  });

  it("of a library is the artifact's wherever it stands", () => {
    const library = {
      ...artifact,
      deployedBytecode: `0x73${"00".repeat(20)}3014ab`,
      immutableReferences: {},
      deployedLinkReferences: {},
    };
    assert.ok(isRuntimeOf(library, `0x73${"bb".repeat(20)}3014ab`, {}));
    assert.ok(!isRuntimeOf(library, `0x73${"bb".repeat(20)}3014ac`, {}));
  });
});

describe("a distributor's margin at the ideal loss", () => {
  it("is none exactly where what it sells brings less than what it buys costs", () => {
    for (let ideal = 0; ideal <= 10_000; ideal += 37) {
      for (const service of [0, 1, 50, 100, 101, 500, 975, 976, 3_333, 10_000]) {
        // Of 10^4 Units sent, 10^4 − ideal are sold at (10^4 + ideal + service) / 10^4 of what they cost.
        const sold = BigInt(10_000 - ideal) * BigInt(10_000 + ideal + service);
        const terms = { idealLossBps: ideal, serviceBps: service };
        assert.equal(leavesDistributorWithoutProfit(terms), sold < 10n ** 8n, `${ideal} ${service}`);
      }
    }
  });

  it("is warned of with the service that would do", () => {
    assert.equal(marginWarning("valley", { idealLossBps: 940, serviceBps: 98 }), undefined);
    const warning = marginWarning("valley", { idealLossBps: 940, serviceBps: 97 });
    assert.match(
      warning!,
      /the terms of "valley" leave its distributor without profit .* 940 bps: serviceBps of at least 98 would do/,
    );
    assert.match(marginWarning("valley", { idealLossBps: 10_000, serviceBps: 0 })!, /nothing is sold/);
  });
});
