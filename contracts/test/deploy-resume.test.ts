import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { BijuliError } from "@bijuli/protocol";
import { Contract, JsonRpcProvider, Network, type TransactionRequest } from "ethers";
import { AccessManagerAbi } from "../abi/index.ts";
import type { DeploymentRecord } from "../src/deployment/address-book.ts";
import { type DeployOptions, deploy, deployBy } from "../src/deployment/deploy.ts";
import { ERC1820_ADDRESS, ERC1820_COST, ERC1820_SENDER } from "../src/deployment/erc1820.ts";
import { type Hand, sendingHand } from "../src/deployment/hand.ts";
import { verifyDeployment } from "../src/deployment/verify.ts";
import type { AddressBook } from "../src/index.ts";
import { Anvil, hasAnvil } from "./support/anvil.ts";
import { forwardRpc } from "./support/rpc-proxy.ts";

const NODE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const TRANSACTIONS = 15;

/** The process dies here. */
class Died extends Error {}

describe("a deployment that is interrupted", { skip: hasAnvil ? false : "anvil has no binary here" }, () => {
  let chain: Anvil;
  before(async () => {
    chain = await Anvil.start();
    await deploy(chain.wallet(2), { lotSeconds: 300, nodes: [] });
  });
  after(() => chain.close());

  /** A hand that dies at its n-th sending, just before or just after it. */
  async function mortal(dieAt: number, when: "before" | "after"): Promise<Hand> {
    const hand = await sendingHand(chain.wallet(0));
    let count = 0;
    return {
      address: hand.address,
      dry: false,
      nonce: hand.nonce,
      async send(step: string, transaction: TransactionRequest, about) {
        if (++count < dieAt) return hand.send(step, transaction, about);
        const nonce = await hand.nonce();
        await hand.send(step, transaction, (sending) => {
          about(sending);
          if (when === "before") throw new Died(step);
        });
        throw new Died(`${step} ${nonce}`);
      },
    };
  }

  async function untilDone(options: { dieAt: number; when: "before" | "after" }) {
    let record: DeploymentRecord | undefined;
    const said: string[] = [];
    for (let lives = 1; lives < 40; lives++) {
      const hand = await mortal(options.dieAt, options.when);
      const request: DeployOptions = {
        lotSeconds: 300,
        nodes: [NODE],
        record,
        progress: (line) => said.push(line),
        save: (next) => {
          // What is written is what a file would hold.
          record = JSON.parse(JSON.stringify(next));
        },
      };
      try {
        const book = await deployBy(hand, chain.provider, request);
        return { book, lives, said, record: record! };
      } catch (error) {
        if (!(error instanceof Died)) throw error;
      }
    }
    throw new Error("it never ended");
  }

  async function assertSound(book: AddressBook) {
    const checks = await verifyDeployment(chain.provider, book, {
      admin: chain.wallet(0).address as `0x${string}`,
      nodes: [NODE],
    });
    assert.deepEqual(
      checks.filter(({ problem }) => problem),
      [],
    );
  }

  it("after every single sending, adopts what it has sent", async () => {
    const from = await chain.sentBy(0);
    const { book, lives } = await untilDone({ dieAt: 1, when: "after" });
    assert.equal(lives, TRANSACTIONS + 1);
    assert.equal((await chain.sentBy(0)) - from, TRANSACTIONS);
    await assertSound(book);
  });

  it("before a sending, sends it again", async () => {
    const from = await chain.sentBy(0);
    const { book, lives } = await untilDone({ dieAt: 2, when: "before" });
    assert.equal(lives, TRANSACTIONS);
    assert.equal((await chain.sentBy(0)) - from, TRANSACTIONS);
    await assertSound(book);
  });

  it("between token and market, deploys registry and token again if the account has sent something else", async () => {
    let record: DeploymentRecord | undefined;
    const said: string[] = [];
    const request = (): DeployOptions => ({
      lotSeconds: 300,
      nodes: [NODE],
      record,
      progress: (line) => said.push(line),
      save: (next) => {
        record = next;
      },
    });
    await assert.rejects(deployBy(await mortal(TRANSACTIONS, "before"), chain.provider, request()), Died);
    const { registry, token, libraries } = record!;
    assert.ok(registry && token && !record!.market);
    await (await chain.wallet(0).sendTransaction({ to: NODE, value: 1n })).wait();
    const book = await deploy(chain.wallet(0), request());
    assert.ok(said.some((line) => line.includes("these two are deployed again")));
    assert.notEqual(book.registry, registry);
    assert.notEqual(book.token, token);
    assert.deepEqual(book.libraries, libraries, "what still fits is kept");
    await assertSound(book);
  });

  it("with a transaction that is not mined yet, waits for it", async () => {
    let record: DeploymentRecord | undefined;
    const said: string[] = [];
    const request = (): DeployOptions => ({
      lotSeconds: 300,
      nodes: [NODE],
      record,
      timeoutMs: 20_000,
      progress: (line) => said.push(line),
      save: (next) => {
        record = next;
      },
    });
    await assert.rejects(deployBy(await mortal(3, "before"), chain.provider, request()), Died);
    const from = await chain.sentBy(0);
    await chain.send("evm_setAutomine", false);
    const running = deploy(chain.wallet(0), { ...request(), timeoutMs: 300 });
    await assert.rejects(running, (error: BijuliError) => error.code === "not-mined");
    assert.ok(record!.deployment.pending);
    const resumed = deploy(chain.wallet(0), request());
    await until(() => said.some((line) => line.startsWith("waiting for what an earlier run has sent")));
    await chain.send("evm_setAutomine", true);
    await chain.send("evm_mine");
    await assertSound(await resumed);
    assert.equal((await chain.sentBy(0)) - from, TRANSACTIONS - 2, "nothing is sent twice");
  });
});

describe("a deployment that is not what was compiled", { skip: hasAnvil ? false : "anvil has no binary here" }, () => {
  let chain: Anvil;
  let book: AddressBook;
  let record: DeploymentRecord | undefined;
  const request = (): DeployOptions => ({
    lotSeconds: 300,
    nodes: [NODE],
    record,
    save: (next) => {
      record = next;
    },
  });
  before(async () => {
    chain = await Anvil.start();
    book = await deploy(chain.wallet(0), request());
  });
  after(() => chain.close());

  const problems = async (of: AddressBook = book) => {
    const admin = chain.wallet(0).address as `0x${string}`;
    const checks = await verifyDeployment(chain.provider, of, { admin, nodes: [NODE] });
    return checks.flatMap(({ what, problem }) => (problem ? [`${what}: ${problem}`] : []));
  };
  /** Puts other code somewhere while `test` runs. */
  const withCode = async (address: string, code: string, test: () => Promise<void>) => {
    const right = await chain.provider.getCode(address);
    await chain.send("hardhat_setCode", address, code);
    await test();
    await chain.send("hardhat_setCode", address, right);
  };

  it("is recognised by one byte of any contract's or library's code, and left alone", async () => {
    assert.deepEqual(await problems(), []);
    const places = [book.accessManager, book.registry, book.token, book.market, book.link, book.operator];
    for (const address of [...places, ...Object.values(book.libraries)]) {
      const code = await chain.provider.getCode(address);
      const last = code.endsWith("00") ? "01" : "00";
      await withCode(address, `${code.slice(0, -2)}${last}`, async () => {
        assert.match((await problems()).join("\n"), /has the code that was compiled: the code on chain is another/);
        await assert.rejects(deploy(chain.wallet(0), request()), {
          code: "deployment-differs",
          message: new RegExp(`the code at ${address} is not that of \\w+ as it is compiled here`),
        });
      });
    }
  });

  it("is refused where a contract of a complete address book is gone", async () => {
    await withCode(book.token, "0x", async () => {
      await assert.rejects(deploy(chain.wallet(0), request()), /there is no EnergyToken at 0x/);
    });
  });

  it("is refused where its contracts are not each other's", async () => {
    const other = await deploy(chain.wallet(1), { lotSeconds: 300, nodes: [NODE] });
    const mixed = { ...book, token: other.token };
    assert.match((await problems(mixed)).join("\n"), /EnergyToken 0x\w+ names 0x\w+ as its market, not 0x/);
    assert.match((await problems({ ...book, link: other.link })).join("\n"), /was not made for the LINK token/);
    assert.match((await problems({ ...book, registry: other.registry })).join("\n"), /as its registry, not 0x/);
    record = { ...record!, token: other.token };
    await assert.rejects(deploy(chain.wallet(0), request()), { code: "deployment-differs" });
    record = { ...record!, token: book.token };
  });

  it("is told where the regulator or a node has lost its right", async () => {
    const manager = new Contract(book.accessManager, AccessManagerAbi, chain.wallet(0));
    await (await manager.getFunction("revokeRole")(0n, chain.wallet(0).address)).wait();
    assert.match((await problems()).join("\n"), /is the AccessManager's admin: it is not/);
    const admin = chain.wallet(0).address as `0x${string}`;
    const checks = await verifyDeployment(chain.provider, book, { admin, nodes: [book.market] });
    assert.ok(checks.some(({ problem }) => problem === `${book.market} may not`));
  });

  it("cannot begin where something else stands in the ERC-1820 registry's place", async () => {
    await withCode(ERC1820_ADDRESS, "0x6000", async () => {
      await assert.rejects(deploy(chain.wallet(1), { lotSeconds: 300, nodes: [] }), {
        code: "no-erc1820",
        message: /the code at 0x1820\w+ is not the ERC-1820 registry/,
      });
    });
  });

  it("cannot begin on a chain that refuses the keyless transaction", async () => {
    const fresh = await Anvil.start();
    // As go-ethereum answers to a transaction that is signed for no chain in particular.
    const proxy = await forwardRpc(fresh.url, ({ method, params }) =>
      method === "eth_sendRawTransaction" && String(params[0]).startsWith("0xf90a38")
        ? "only replay-protected (EIP-155) transactions allowed over RPC"
        : undefined,
    );
    const network = Network.from(31337);
    const provider = new JsonRpcProvider(proxy.url, network, {
      staticNetwork: network,
      cacheTimeout: -1,
      pollingInterval: 20,
    });
    try {
      await assert.rejects(
        deploy(chain.wallet(0).connect(provider), { lotSeconds: 300, nodes: [] }),
        (error: BijuliError) => {
          assert.equal(error.code, "no-erc1820");
          assert.match(error.message, /this chain refuses the keyless transaction/);
          return true;
        },
      );
    } finally {
      provider.destroy();
      proxy.close();
      fresh.close();
    }
  });
});

describe("the ERC-1820 registry", { skip: hasAnvil ? false : "anvil has no binary here" }, () => {
  it("is placed by a later run that finds its ether already paid, and never paid for twice", async () => {
    const chain = await Anvil.start();
    try {
      let record: DeploymentRecord | undefined;
      const hand = await sendingHand(chain.wallet(0));
      const dying: Hand = {
        address: hand.address,
        dry: false,
        nonce: hand.nonce,
        send: async (...args) => {
          await hand.send(...args);
          throw new Died();
        },
      };
      const request = (): DeployOptions => ({
        lotSeconds: 300,
        nodes: [],
        record,
        save: (next) => {
          record = next;
        },
      });
      await assert.rejects(deployBy(dying, chain.provider, request()), Died);
      assert.equal(await chain.provider.getCode(ERC1820_ADDRESS), "0x");
      assert.equal(await chain.provider.getBalance(ERC1820_SENDER), ERC1820_COST);
      await deploy(chain.wallet(0), request());
      assert.notEqual(await chain.provider.getCode(ERC1820_ADDRESS), "0x");
      const left = await chain.provider.getBalance(ERC1820_SENDER);
      assert.ok(left < ERC1820_COST / 2n, `${left} wei are left of one payment`);
    } finally {
      chain.close();
    }
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  if (!condition()) throw new BijuliError("test", "it never came");
}
