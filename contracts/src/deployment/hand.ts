import { BijuliError, type Hex } from "@bijuli/protocol";
import {
  getCreateAddress,
  isError,
  type Provider,
  type Signer,
  type TransactionRequest,
  type TransactionResponse,
} from "ethers";

/** One transaction of a deployment: what it is for, and where the contract that it creates will be. */
export interface Sending {
  step: string;
  nonce: number;
  address?: Hex;
}

/** Who carries a deployment's steps out: a key that sends, or a dry run that only counts. */
export interface Hand {
  readonly address: Hex;
  /** True: what it creates is on no chain. */
  readonly dry: boolean;
  nonce(): Promise<number>;
  /**
   * Sends and waits.
   * @param about called before anything is sent, so that an interrupted run knows what it has sent
   */
  send(step: string, transaction: TransactionRequest, about: (sending: Sending) => void): Promise<Sending>;
}

/** Sends with a key, and waits for so many confirmations. */
export async function sendingHand(
  signer: Signer,
  options: { confirmations?: number | undefined; timeoutMs?: number | undefined } = {},
): Promise<Hand> {
  const address = (await signer.getAddress()) as Hex;
  const nonce = () => signer.getNonce("pending");
  return {
    address,
    dry: false,
    nonce,
    async send(step, transaction, about) {
      const sending: Sending = { step, nonce: await nonce() };
      if (!transaction.to) sending.address = getCreateAddress({ from: address, nonce: sending.nonce }) as Hex;
      about(sending);
      let sent: TransactionResponse | undefined;
      try {
        sent = await signer.sendTransaction({ ...transaction, nonce: sending.nonce });
        await sent.wait(options.confirmations ?? 1, options.timeoutMs);
      } catch (cause) {
        throw notSent(step, sent, cause);
      }
      return sending;
    },
  };
}

/** Sends nothing: each step's gas is what the chain, or where it cannot know yet a formula, says. */
export class DryHand implements Hand {
  readonly address: Hex;
  readonly dry = true;
  readonly steps: { step: string; gas: bigint; address?: Hex }[] = [];
  readonly #provider: Provider;
  #next: number | undefined;

  constructor(provider: Provider, address: Hex) {
    this.#provider = provider;
    this.address = address;
  }

  async nonce(): Promise<number> {
    this.#next ??= await this.#provider.getTransactionCount(this.address, "pending");
    return this.#next;
  }

  async send(step: string, transaction: TransactionRequest): Promise<Sending> {
    const sending: Sending = { step, nonce: await this.nonce() };
    this.#next = sending.nonce + 1;
    if (!transaction.to) sending.address = getCreateAddress({ from: this.address, nonce: sending.nonce }) as Hex;
    const gas = await this.#provider
      .estimateGas({ ...transaction, from: this.address })
      .catch(() => formulaGas(transaction));
    this.steps.push({ step, gas, ...(sending.address && { address: sending.address }) });
    return sending;
  }
}

/** What a transaction costs about whose contracts are not there yet: intrinsic gas, code deposit, some storage. */
function formulaGas(transaction: TransactionRequest): bigint {
  const bytes = Buffer.from(String(transaction.data ?? "0x").slice(2), "hex");
  const zeros = bytes.filter((byte) => byte === 0).length;
  const calldata = BigInt(4 * zeros + 16 * (bytes.length - zeros));
  if (transaction.to) return 21_000n + calldata + 100_000n;
  return 53_000n + calldata + BigInt(Math.ceil(bytes.length / 32) * 2) + 200n * BigInt(bytes.length) + 200_000n;
}

function notSent(step: string, sent: TransactionResponse | undefined, cause: unknown): BijuliError {
  if (isError(cause, "INSUFFICIENT_FUNDS")) {
    return new BijuliError("no-funds", `${step}: the account cannot pay for it`, {
      remedy: "send it ether, run again",
    });
  }
  if (isError(cause, "NONCE_EXPIRED") || isError(cause, "REPLACEMENT_UNDERPRICED")) {
    return new BijuliError("account-busy", `${step}: something else sends from the same account`, {
      remedy: "stop it, run again",
    });
  }
  if (sent && isError(cause, "TIMEOUT")) {
    return new BijuliError("not-mined", `${step}: transaction ${sent.hash} does not have its confirmations yet`, {
      remedy: "run again: it goes on from there",
    });
  }
  if (isError(cause, "CALL_EXCEPTION")) {
    return new BijuliError("deploy-failed", `${step}: the chain refused it: ${cause.reason ?? cause.shortMessage}`, {
      cause,
    });
  }
  const what = sent ? `transaction ${sent.hash} was lost sight of` : "the transaction was not taken";
  return new BijuliError("rpc-unreachable", `${step}: ${what}`, { cause, remedy: "run again: it goes on from there" });
}
