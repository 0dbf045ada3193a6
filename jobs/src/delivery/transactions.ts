import { BijuliError, explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { type RpcClient, RpcError } from "../chain/rpc.ts";
import type { Head, RpcReceipt } from "../chain/types.ts";
import type { NewTransaction, Settlement, StoredAttempt, TransactionStore } from "../state/transaction-store.ts";
import { emptyAttempt, replaceAttempt, signAttempt } from "./attempts.ts";
import { type FeePolicy, firstBid, higherBid, replacingBid } from "./fees.ts";
import type { SendingKey } from "./keys.ts";

/** A transaction to be made. */
export interface Outgoing {
  sender: string;
  purpose: string;
  runId: string | undefined;
  to: string;
  data: string;
  gasLimit: bigint;
  detail: unknown;
}

/** A transaction that was made. */
export interface Sent {
  id: string;
  sender: string;
  nonce: number;
  purpose: string;
  runId: string | undefined;
  detail: unknown;
  attempts: StoredAttempt[];
  /** Set while it is in a block. */
  blockNumber: number | undefined;
  blockHash: string | undefined;
  /** Head at which it was last broadcast. */
  broadcastAt: number;
  /** Heads at which its nonce was used and no receipt was found. */
  missed: number;
  problem: string | undefined;
  /** The last attempt was refused for what it bids. */
  underbid?: boolean;
  /** Its last attempt does nothing. */
  voided?: boolean;
}

export interface TransactionEvents {
  /** It is in a block; what is thrown is tried again with the next block. Resolves with what is kept about the outcome. */
  mined(transaction: Sent, receipt: RpcReceipt): Promise<unknown>;
  /** Whether more blocks are awaited on top of it: asked after a start of what an earlier process saw mined. */
  awaits(transaction: Sent): boolean;
  /** A reorg took it out of its block; it is broadcast again. */
  unmined(transaction: Sent): Promise<void>;
  /** Whether what it is for is gone, so that it must not be mined: its nonce is used up by one that does nothing. */
  stale(transaction: Sent): Promise<boolean>;
  /** Its nonce was used by a transaction that is not ours: it will never be mined. */
  lost(transaction: Sent): Promise<void>;
}

interface Sender {
  key: SendingKey;
  nextNonce: number;
  /** By nonce, not yet in a block. */
  waiting: Map<number, Sent>;
  /** In a block that a reorg may still take back. */
  mined: Map<number, Sent>;
  problem: string | undefined;
  /** Settles when all that was stored has been broadcast once. */
  launched: Promise<void>;
  /** Heads in a row at which the chain wanted a nonce that counts as mined here. */
  gap: number;
  /** The lowest nonce that waits, and the head at which it came to be the lowest. */
  next: { nonce: number; since: number } | undefined;
}

/** After so many, what counts as mined is looked at again. */
const GAP_HEADS = 3;

/**
 * Sends transactions so that none is lost and no nonce is left out: a signed attempt is stored before it is broadcast, and
 * whatever is stored is broadcast until it is in a block, bid higher when it waits. States of a transaction, as in
 * chainlink-framework's txmgr: unconfirmed → confirmed → final, or lost.
 */
export class TransactionManager {
  readonly #rpc: RpcClient;
  readonly #store: TransactionStore;
  readonly #chainId: bigint;
  readonly #fees: FeePolicy;
  readonly #finalityDepth: number;
  readonly #logger: Logger;
  readonly #senders = new Map<string, Sender>();
  #events: TransactionEvents | undefined;
  #head: Head | undefined;
  #busy: Promise<void> = Promise.resolve();
  #finalizedTo = 0;

  constructor(options: {
    rpc: RpcClient;
    store: TransactionStore;
    chainId: bigint;
    keys: readonly SendingKey[];
    fees: FeePolicy;
    finalityDepth: number;
    logger: Logger;
  }) {
    this.#rpc = options.rpc;
    this.#store = options.store;
    this.#chainId = options.chainId;
    this.#fees = options.fees;
    this.#finalityDepth = options.finalityDepth;
    this.#logger = options.logger;
    for (const key of options.keys) {
      this.#senders.set(key.address, {
        key,
        nextNonce: 0,
        waiting: new Map(),
        mined: new Map(),
        problem: undefined,
        launched: Promise.resolve(),
        gap: 0,
        next: undefined,
      });
    }
  }

  get addresses(): string[] {
    return [...this.#senders.keys()];
  }

  /** Takes up what an earlier process left. */
  async start(events: TransactionEvents, head: Head): Promise<void> {
    this.#events = events;
    this.#head = head;
    for (const stored of await this.#store.open()) {
      const sender = this.#senders.get(stored.sender);
      if (sender === undefined) {
        this.#logger.error(
          { sender: stored.sender, nonce: stored.nonce },
          "an open transaction's sending key is not configured any more: it cannot be sent again",
        );
        continue;
      }
      const sent: Sent = { ...stored, broadcastAt: 0, missed: 0, problem: undefined };
      (stored.state === "confirmed" ? sender.mined : sender.waiting).set(stored.nonce, sent);
    }
    for (const sender of this.#senders.values()) {
      const [stored, pending] = await Promise.all([
        this.#store.nonceAfterStored(sender.key.address),
        this.#rpc.call<string>("eth_getTransactionCount", [sender.key.address, "pending"]),
      ]);
      sender.nextNonce = Math.max(stored, Number(pending));
      const again = [...sender.waiting.values()];
      if (again.length > 0) {
        this.#logger.info(
          { sender: sender.key.address, count: again.length },
          "broadcasting stored transactions again",
        );
        await this.#broadcast(sender, again);
      }
    }
    // Blocks may have been taken back while no process watched.
    await this.#recheck(0);
    for (const sender of this.#senders.values()) {
      for (const sent of [...sender.mined.values()].filter((one) => events.awaits(one))) {
        const receipt = await this.#receipt(sent);
        if (receipt !== undefined) await events.mined(sent, receipt);
      }
    }
  }

  /**
   * Stores transactions, with consecutive nonces for each sender, in the order given, and begins to broadcast them: resolves
   * when they are stored, for from then on they are broadcast until they are in a block.
   */
  send(outgoing: readonly Outgoing[]): Promise<void> {
    return this.#inTurn(async () => {
      const made: { sender: Sender; stored: NewTransaction }[] = [];
      const nonces = new Map<Sender, number>();
      const bid = firstBid(this.#fees, this.#head);
      for (const one of outgoing) {
        const sender = this.#senders.get(one.sender)!;
        const nonce = nonces.get(sender) ?? sender.nextNonce;
        nonces.set(sender, nonce + 1);
        const { purpose, runId, detail, to, data, gasLimit } = one;
        const attempt = signAttempt(sender.key, { chainId: this.#chainId, nonce, to, data, gasLimit }, bid);
        made.push({ sender, stored: { sender: one.sender, nonce, purpose, runId, detail, ...attempt } });
      }
      const ids = await this.#store.insert(made.map(({ stored }) => stored));
      if (ids.size < made.length) {
        throw new BijuliError("not-ready", "a run was changed by another process: no transaction is made");
      }
      for (const [sender, nonce] of nonces) sender.nextNonce = nonce;
      const bySender = new Map<Sender, Sent[]>();
      for (const { sender, stored } of made) {
        const { hash, raw, maxFee, tip } = stored;
        const sent: Sent = {
          id: ids.get(hash)!,
          sender: stored.sender,
          nonce: stored.nonce,
          purpose: stored.purpose,
          runId: stored.runId,
          detail: stored.detail,
          attempts: [{ hash, raw, maxFee, tip }],
          blockNumber: undefined,
          blockHash: undefined,
          broadcastAt: 0,
          missed: 0,
          problem: undefined,
        };
        sender.waiting.set(stored.nonce, sent);
        const list = bySender.get(sender);
        if (list === undefined) bySender.set(sender, [sent]);
        else list.push(sent);
      }
      for (const [sender, list] of bySender) this.#launch(sender, list);
    });
  }

  /** Looks which transactions the new block holds, and bids those higher that wait too long. */
  onHead(head: Head): Promise<void> {
    return this.#inTurn(async () => {
      this.#head = head;
      const senders = [...this.#senders.values()];
      await Promise.all(senders.map((sender) => this.#follow(sender, head)));
      if (senders.some(({ gap }) => gap > 0 && gap % GAP_HEADS === 0)) await this.#recheck(-1);
      if (head.number - this.#finalizedTo >= Math.max(this.#finalityDepth, 16)) {
        this.#finalizedTo = head.number;
        await this.#finalize(head.number - this.#finalityDepth);
      }
    });
  }

  /** Blocks above `ancestor` are no longer part of the chain. */
  onReorg(ancestor: number): Promise<void> {
    return this.#inTurn(() => this.#recheck(ancestor));
  }

  /** How many transactions of a sender are not in a block. */
  inFlight(sender?: string): number {
    if (sender !== undefined) return this.#senders.get(sender)?.waiting.size ?? 0;
    return [...this.#senders.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  /** What is wrong with sending, in words. */
  problems(): string[] {
    const found: string[] = [];
    for (const { key, problem, waiting } of this.#senders.values()) {
      if (problem !== undefined) found.push(`sender ${key.address}: ${problem}`);
      const lowest = waiting.get(Math.min(...waiting.keys()));
      if (lowest?.problem !== undefined) found.push(`transaction ${lowest.nonce} of ${key.address}: ${lowest.problem}`);
    }
    return found;
  }

  async idle(): Promise<void> {
    await this.#busy;
    await Promise.all([...this.#senders.values()].map(({ launched }) => launched));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#busy.then(work);
    this.#busy = mine.catch(() => {});
    return mine;
  }

  /** Broadcasts after what was stored before, so that the pool gets nonces in their order. */
  #launch(sender: Sender, list: readonly Sent[]): void {
    sender.launched = sender.launched.then(() => this.#broadcast(sender, list));
  }

  async #broadcast(sender: Sender, list: readonly Sent[]): Promise<void> {
    const number = this.#head?.number ?? 0;
    await Promise.all(
      list.map(async (sent) => {
        sent.broadcastAt = number;
        try {
          await this.#rpc.call("eth_sendRawTransaction", [sent.attempts.at(-1)!.raw]);
          sent.problem = undefined;
          sent.underbid = false;
          sender.problem = undefined;
        } catch (error) {
          this.#judge(sender, sent, error);
        }
      }),
    );
  }

  #judge(sender: Sender, sent: Sent, error: unknown): void {
    const said = explain(error);
    // It is in the pool or in a block already: the receipt will tell.
    if (error instanceof RpcError && /already known|already imported|nonce too low|known transaction/i.test(said))
      return;
    if (/replacement transaction underpriced/i.test(said)) return;
    sent.problem = said;
    sent.underbid = /underpriced|less than block base fee|fee cap less than|max fee per gas less/i.test(said);
    if (/insufficient funds/i.test(said)) sender.problem = "not enough ether to send";
    this.#logger.warn(
      { sender: sent.sender, nonce: sent.nonce, run: sent.runId, cause: said },
      "a broadcast was refused",
    );
  }

  async #follow(sender: Sender, head: Head): Promise<void> {
    if (sender.waiting.size === 0) return;
    const used = Number(await this.#rpc.call<string>("eth_getTransactionCount", [sender.key.address, "latest"]));
    const candidates = [...sender.waiting.values()]
      .filter((sent) => sent.nonce < used)
      .sort((a, b) => a.nonce - b.nonce);
    await this.#collect(sender, candidates);
    const lowest = Math.min(...sender.waiting.keys());
    // Nonces before it that count as mined, while the chain has them still to come.
    sender.gap = lowest > used && lowest !== Number.POSITIVE_INFINITY ? sender.gap + 1 : 0;
    const stuck = sender.waiting.get(lowest);
    if (stuck === undefined || stuck.nonce < used) return;
    // Counted from when it came to be the next: those that wait behind others are not stuck.
    if (sender.next?.nonce !== lowest) sender.next = { nonce: lowest, since: head.number };
    const waited = head.number - Math.max(stuck.broadcastAt, sender.next.since);
    if (stuck.underbid && waited >= 1) await this.#bump(sender, stuck);
    else if (stuck.problem !== undefined && waited >= 1) await this.#broadcast(sender, [...sender.waiting.values()]);
    else if (waited >= this.#fees.bumpAfter) await this.#bump(sender, stuck);
  }

  async #collect(sender: Sender, candidates: readonly Sent[]): Promise<void> {
    const receipts = await Promise.all(candidates.map((sent) => this.#receipt(sent)));
    const found: { sent: Sent; receipt: RpcReceipt }[] = [];
    for (const [index, sent] of candidates.entries()) {
      const receipt = receipts[index];
      // Of a block that has not been followed yet nobody would notice that a reorg took it back.
      if (receipt !== undefined && Number(receipt.blockNumber) > (this.#head?.number ?? 0)) continue;
      if (receipt !== undefined) {
        sent.missed = 0;
        sent.blockNumber = Number(receipt.blockNumber);
        sent.blockHash = receipt.blockHash;
        sent.problem = undefined;
        found.push({ sent, receipt });
        continue;
      }
      // The count may come from a node that is ahead of the one that was asked for the receipt.
      if (++sent.missed < 10) continue;
      sender.waiting.delete(sent.nonce);
      this.#logger.error(
        { sender: sent.sender, nonce: sent.nonce, run: sent.runId },
        "a foreign transaction took this nonce",
      );
      await this.#store.settle([{ id: sent.id, state: "lost" }]);
      await this.#events!.lost(sent);
    }
    const outcomes = await Promise.allSettled(found.map(({ sent, receipt }) => this.#events!.mined(sent, receipt)));
    const settled: Settlement[] = [];
    for (const [index, { sent, receipt }] of found.entries()) {
      const outcome = outcomes[index]!;
      if (outcome.status === "rejected") continue;
      sender.waiting.delete(sent.nonce);
      sender.mined.set(sent.nonce, sent);
      settled.push({
        id: sent.id,
        state: "confirmed",
        blockNumber: Number(receipt.blockNumber),
        blockHash: receipt.blockHash,
        hash: receipt.transactionHash,
        outcome: outcome.value,
      });
    }
    await this.#store.settle(settled);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #receipt(sent: Sent): Promise<RpcReceipt | undefined> {
    const found = await Promise.all(
      sent.attempts.map(({ hash }) => this.#rpc.call<RpcReceipt | null>("eth_getTransactionReceipt", [hash])),
    );
    return found.find((receipt) => receipt !== null) ?? undefined;
  }

  /** Uses a nonce up with a transaction that does nothing, for what it was meant for is gone. */
  async #void(sender: Sender, sent: Sent): Promise<void> {
    const bid = replacingBid(this.#fees, this.#head, sent.attempts.at(-1)!);
    const attempt = emptyAttempt(sender.key, this.#chainId, sent.nonce, bid);
    await this.#store.insertAttempt(sent.id, attempt);
    sent.attempts.push(attempt);
    sent.voided = true;
    this.#logger.info(
      { sender: sent.sender, nonce: sent.nonce, run: sent.runId },
      "its request is gone: its nonce is used up",
    );
  }

  /** Bids higher for the same nonce. */
  async #bump(sender: Sender, sent: Sent): Promise<void> {
    const last = sent.attempts.at(-1)!;
    const bid = higherBid(this.#fees, this.#head, last);
    if (bid === undefined) {
      await this.#broadcast(sender, [sent]);
      sent.problem = `stuck: ${last.maxFee} wei per gas is not enough, and the cap is ${this.#fees.maxFee}`;
      return;
    }
    const attempt = replaceAttempt(sender.key, last, bid);
    await this.#store.insertAttempt(sent.id, attempt);
    sent.attempts.push(attempt);
    this.#logger.info(
      { sender: sent.sender, nonce: sent.nonce, run: sent.runId, maxFee: bid.maxFee.toString() },
      "bidding higher",
    );
    // All of them: a pool may have dropped the later ones with the one that waits.
    await this.#broadcast(sender, [...sender.waiting.values()]);
  }

  /** Looks again at what was mined above `ancestor`: what is no longer there is broadcast again. */
  async #recheck(ancestor: number): Promise<void> {
    for (const sender of this.#senders.values()) {
      const suspects = [...sender.mined.values()].filter((sent) => (sent.blockNumber ?? 0) > ancestor);
      const receipts = await Promise.all(suspects.map((sent) => this.#receipt(sent)));
      const gone: Sent[] = [];
      for (const [index, sent] of suspects.entries()) {
        const receipt = receipts[index];
        if (receipt !== undefined && receipt.blockHash === sent.blockHash) continue;
        sender.mined.delete(sent.nonce);
        sender.waiting.set(sent.nonce, sent);
        sent.blockNumber = undefined;
        sent.blockHash = undefined;
        await this.#store.settle([{ id: sent.id, state: "unconfirmed" }]);
        await this.#events!.unmined(sent);
        if (receipt === undefined) gone.push(sent);
      }
      for (const sent of sender.waiting.values()) {
        if (!sent.voided && (await this.#events!.stale(sent))) await this.#void(sender, sent);
      }
      if (gone.length > 0) {
        this.#logger.warn(
          { sender: sender.key.address, count: gone.length },
          "a reorg took transactions back: sending them again",
        );
      }
      // All of them, in their order: a pool may have dropped those that followed.
      await this.#broadcast(
        sender,
        [...sender.waiting.values()].sort((a, b) => a.nonce - b.nonce),
      );
    }
  }

  async #finalize(upTo: number): Promise<void> {
    for (const sender of this.#senders.values()) {
      for (const [nonce, sent] of sender.mined) if ((sent.blockNumber ?? 0) <= upTo) sender.mined.delete(nonce);
    }
    await this.#store.finalize(upTo);
  }
}
