import { parseArgs } from "node:util";
import { Transaction, Wallet } from "ethers";
import { startAdapter } from "../jobs/test/fixtures/adapter.ts";
import { CHAIN_ID, type Chain, KEYS, startChain } from "../jobs/test/fixtures/chain.ts";
import { makeHome, SPEC_ID, spec, startNode } from "../jobs/test/fixtures/node.ts";
import { until } from "../jobs/test/fixtures/until.ts";

/*
 * Fulfilments per second of the oracle node, and blocks from a request's to its fulfilment's, for some numbers of groups
 * (feeders), beside the floor: a bare loop that signs and sends the same number of fulfilments, built beforehand, to the same
 * chain in the same run.
 *
 *   node bench/node.ts [--requests 300] [--groups 1,10,100] [--block-ms 250] [--queue redis://…|postgres://…]
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "300" },
    groups: { type: "string", default: "1,10,100" },
    "block-ms": { type: "string", default: "250" },
    queue: { type: "string" },
  },
});
const requests = Number(values.requests);
const blockMs = Number(values["block-ms"]);

interface Delivered {
  group: string;
  number: bigint;
  blockNumber: bigint;
}

async function deliveredCount(chain: Chain): Promise<number> {
  return Number(await chain.requester.getFunction("deliveryCount")());
}

async function ask(chain: Chain, groups: number): Promise<void> {
  const each = Math.ceil(requests / groups);
  for (let group = 0, left = requests; left > 0; group++, left -= each) {
    for (let rest = Math.min(each, left); rest > 0; rest -= 40) {
      await chain.requester.getFunction("request")(SPEC_ID, 0n, `g${group}`, "abc", Math.min(rest, 40));
    }
  }
}

/** The floor: what the chain takes from a loop that does nothing but sign and send. */
async function floor(): Promise<number> {
  const chain = await startChain();
  const wallet = new Wallet(KEYS[1], chain.provider);
  await ask(chain, 10);
  await chain.mine(Math.ceil(requests / 100)); // a block holds some 250 requests
  const iface = chain.operator.interface;
  const logs = await chain.provider.getLogs({ address: await chain.operator.getAddress(), fromBlock: 0 });
  const calls = logs
    .filter((log) => log.topics[0] === iface.getEvent("OracleRequest")!.topicHash)
    .map((log) => {
      const one = iface.decodeEventLog("OracleRequest", log.data, log.topics);
      const inner = chain.requester.interface.getAbiCoder().encode(["bytes32", "bytes"], [one.requestId, "0x616263"]);
      return iface.encodeFunctionData("fulfillOracleRequest2", [
        one.requestId,
        one.payment,
        one.callbackAddr,
        one.callbackFunctionId,
        one.cancelExpiration,
        inner,
      ]);
    });
  const to = await chain.operator.getAddress();
  const stop = chain.mineEvery(blockMs);
  const startedAt = performance.now();
  for (const [nonce, data] of calls.entries()) {
    const unsigned = Transaction.from({
      type: 2,
      chainId: CHAIN_ID,
      nonce,
      to,
      data,
      gasLimit: 1_000_000n,
      maxFeePerGas: 10n ** 10n,
      maxPriorityFeePerGas: 10n ** 9n,
    });
    unsigned.signature = wallet.signingKey.sign(unsigned.unsignedHash);
    await chain.provider.send("eth_sendRawTransaction", [unsigned.serialized]);
  }
  await until("the floor's fulfilments", async () => (await deliveredCount(chain)) >= requests, 120_000);
  const seconds = (performance.now() - startedAt) / 1000;
  await stop();
  await chain.close();
  return requests / seconds;
}

async function node(
  groups: number,
): Promise<{ perSecond: number; blocks: Record<string, number>; inversions: number }> {
  const chain = await startChain();
  const adapter = await startAdapter();
  const home = makeHome({ "words.toml": await spec(chain) });
  const running = await startNode(chain, home, {
    BRIDGES: JSON.stringify({ words: adapter.url }),
    POLL_INTERVAL_MS: "20",
    MAX_IN_FLIGHT: "1000",
    LOG_LEVEL: "info",
    ...(values.queue === undefined ? {} : { QUEUE_URL: values.queue }),
  });
  const stop = chain.mineEvery(blockMs);
  // Warm: the first request loads code.
  await chain.requester.getFunction("request")(SPEC_ID, 0n, "warm", "abc", 1);
  await until("the first", async () => (await deliveredCount(chain)) === 1);
  const startedAt = performance.now();
  await ask(chain, groups);
  await until("all fulfilments", async () => (await deliveredCount(chain)) >= requests + 1, 300_000);
  const seconds = (performance.now() - startedAt) / 1000;
  const deliveries = ((await chain.requester.getFunction("allDeliveries")()) as Delivered[]).filter(
    (one) => one.group !== "warm",
  );
  const next = new Map<string, number>();
  let inversions = 0;
  for (const { group, number } of deliveries) {
    if (Number(number) !== (next.get(group) ?? 0)) inversions++;
    next.set(group, Number(number) + 1);
  }
  // One clearing's worth: three requests of one group in one transaction, on an idle node.
  const blocks: Record<string, number> = {};
  for (let round = 0; round < 20; round++) {
    const transaction = await chain.requester.getFunction("request")(SPEC_ID, 0n, `clearing${round}`, "abc", 3);
    const asked = (await transaction.wait()).blockNumber as number;
    const three = await until("three", async () => {
      const found = ((await chain.requester.getFunction("allDeliveries")()) as Delivered[]).filter(
        (one) => one.group === `clearing${round}`,
      );
      return found.length === 3 && found;
    });
    const shape = three.map((one) => `+${Number(one.blockNumber) - asked}`).join(" ");
    blocks[shape] = (blocks[shape] ?? 0) + 1;
  }
  await stop();
  await running.stop();
  await adapter.close();
  await chain.close();
  home.remove();
  return { perSecond: requests / seconds, blocks, inversions };
}

const bare = await floor();
console.log(`floor: ${bare.toFixed(1)} fulfilments/s (${requests} requests, a block every ${blockMs} ms)`);
for (const groups of values.groups.split(",").map(Number)) {
  const { perSecond, blocks, inversions } = await node(groups);
  console.log(
    `${groups} groups: ${perSecond.toFixed(1)} fulfilments/s (${((100 * perSecond) / bare).toFixed(0)} % of the floor), ` +
      `${inversions} inversions; blocks of a clearing's three callbacks after their request's: ${JSON.stringify(blocks)}`,
  );
}
