import { keccak256, SigningKey, Transaction, Wallet } from "ethers";
import { RpcClient } from "../../jobs/src/chain/rpc.ts";
import { type SendingKey, sendingKey } from "../../jobs/src/delivery/keys.ts";
import { CHAIN_ID, type Chain, KEYS } from "../../jobs/test/fixtures/chain.ts";
import { until } from "../../jobs/test/fixtures/until.ts";
import { ask, deliveredCount } from "./requests.ts";

const KEY = KEYS[1];

/** Who may sign for the bare loop: ethers, as most would write it, or the node's own signer. */
export const SIGNERS: Record<"ethers" | "own", SendingKey> = {
  ethers: {
    address: new Wallet(KEY).address,
    sign(transaction) {
      transaction.signature = new SigningKey(KEY).sign(transaction.unsignedHash);
      const raw = transaction.serialized;
      return { hash: keccak256(raw), raw };
    },
  },
  own: sendingKey(KEY),
};

/**
 * The floor: what the chain takes from a loop that does nothing but sign and send, one after the other, fulfilments that were
 * built beforehand.
 * @returns fulfilments per second
 */
export async function floor(chain: Chain, requests: number, blockMs: number, key: SendingKey): Promise<number> {
  await ask(chain, requests, 10, "floor");
  await chain.mine(2);
  const before = await deliveredCount(chain);
  const operator = chain.operator.interface;
  const to = await chain.operator.getAddress();
  const logs = await chain.provider.getLogs({
    address: to,
    topics: [operator.getEvent("OracleRequest")!.topicHash],
    fromBlock: 0,
  });
  const coder = chain.requester.interface.getAbiCoder();
  const calls = logs.slice(-requests).map((log) => {
    const one = operator.decodeEventLog("OracleRequest", log.data, log.topics);
    return operator.encodeFunctionData("fulfillOracleRequest2", [
      one.requestId,
      one.payment,
      one.callbackAddr,
      one.callbackFunctionId,
      one.cancelExpiration,
      coder.encode(["bytes32", "bytes"], [one.requestId, "0x616263"]),
    ]);
  });
  const first = await chain.provider.getTransactionCount(key.address);
  const stop = chain.mineEvery(blockMs);
  // Not ethers' provider: it holds every call back for 10 ms.
  const rpc = new RpcClient([chain.url]);
  const startedAt = performance.now();
  for (const [index, data] of calls.entries()) {
    const unsigned = Transaction.from({
      type: 2,
      chainId: CHAIN_ID,
      nonce: first + index,
      to,
      data,
      gasLimit: 1_000_000n,
      maxFeePerGas: 10n ** 10n,
      maxPriorityFeePerGas: 10n ** 9n,
    });
    await rpc.call("eth_sendRawTransaction", [key.sign(unsigned).raw]);
  }
  const all = async () => (await deliveredCount(chain)) - before >= requests;
  await until("the floor's fulfilments", all, 300_000);
  const seconds = (performance.now() - startedAt) / 1000;
  await stop();
  rpc.close();
  return requests / seconds;
}
