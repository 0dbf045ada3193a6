import type { Hex } from "@bijuli/protocol";
import type { ProvenChain } from "./proven-chain.ts";
import { addressOf, bitsOf, bytes32Of, mapped } from "./storage.ts";
import { DoesNotHold } from "./witness.ts";

/*
 * The market's storage, as MarketState.sol lays it out: read out of a proven state, so that what a bill says of the
 * chain is what the chain holds, and nothing of it can be left out.
 */

const STATE = 8n;
const FEEDERS = STATE + 1n;
const FEEDER_IDS = STATE + 2n;
const CHARTERS = STATE + 3n;
const CLEARINGS = STATE + 4n;
const ACCOUNTS = STATE + 6n;
/** PriceList.sol: so many prices stand in a slot, more become code. */
const INLINE_PRICES = 4;

export const ROLES = ["plant", "distributor", "consumer"] as const;
export type Role = (typeof ROLES)[number];

/** Who an account belongs to, and where. */
export interface AccountPlace {
  owner: Hex;
  /** wei per kWh: what its owner agreed to. For a plant the lowest, else the highest. */
  priceLimit: bigint;
  feederNumber: bigint;
  role: Role;
  meterId: Hex;
}

/** How an account stands at a block. */
export interface AccountStand {
  /** wei. */
  balance: bigint;
  /** Units, at the end of `cursor`. */
  register: bigint;
  /** The last lot that it was cleared for. */
  cursor: bigint;
  /** Money below one wei, in 10^-7 wei. */
  remainder: bigint;
  /** The first lot of the meter that took the place of another; 0: it always had the one. */
  replacedFrom: bigint;
  /** Nothing was cleared yet, and no opening reading fixes the register. */
  fresh: boolean;
  /** wei: arrears, and what was paid of them that the creditors have not collected. */
  owed: bigint;
  pot: bigint;
  /** Who is owed, while it is one only; 0 otherwise. */
  creditor: number;
  pooled: boolean;
}

export interface ProvenClearing {
  first: bigint;
  last: bigint;
  charter: number;
  closed: boolean;
  /** An estimate took part, so no penalty applies. */
  estimated: boolean;
  /** So many of its first lots carry a late reading's correction; no penalty applies there. */
  corrected: number;
  /** wei per kWh, oldest lot first. */
  prices: bigint[];
}

export class MarketReader {
  readonly #chain: ProvenChain;
  readonly #market: Hex;

  constructor(chain: ProvenChain, market: Hex) {
    this.#chain = chain;
    this.#market = market;
  }

  async place(block: number, account: number): Promise<AccountPlace> {
    const what = `the place of account ${account}`;
    const slot = mapped(BigInt(account), ACCOUNTS);
    const word = await this.#word(block, slot + 1n, what);
    const owner = addressOf(word);
    if (BigInt(owner) === 0n) throw new DoesNotHold(`there is no account ${account}`);
    return {
      owner,
      priceLimit: bitsOf(word, 160, 64),
      feederNumber: bitsOf(word, 224, 24),
      role: ROLES[Number(bitsOf(word, 248, 8))]!,
      meterId: bytes32Of(await this.#word(block, slot + 2n, what)),
    };
  }

  async stand(block: number, account: number): Promise<AccountStand> {
    const what = `what account ${account} had at block ${block}`;
    const slot = mapped(BigInt(account), ACCOUNTS);
    const word = await this.#word(block, slot, what);
    const seat = await this.#word(block, slot + 3n, what);
    const owed = await this.#word(block, slot + 4n, what);
    const debt = await this.#word(block, slot + 5n, what);
    return {
      balance: bitsOf(word, 0, 96),
      register: bitsOf(word, 96, 64),
      cursor: bitsOf(word, 160, 40),
      remainder: bitsOf(word, 200, 24),
      replacedFrom: bitsOf(seat, 208, 40),
      fresh: bitsOf(word, 224, 1) === 1n,
      owed: bitsOf(owed, 0, 128),
      pot: bitsOf(owed, 128, 128),
      creditor: owed === 0n ? 0 : Number(bitsOf(debt, 0, 32)),
      pooled: bitsOf(debt, 96, 8) === 1n,
    };
  }

  /** The first lot that an account takes part in; 0: it is not listed yet. */
  async firstLot(block: number, account: number): Promise<bigint> {
    const what = `the first lot of account ${account}`;
    return bitsOf(await this.#word(block, mapped(BigInt(account), ACCOUNTS) + 3n, what), 0, 40);
  }

  async feederId(block: number, number: bigint): Promise<Hex> {
    return bytes32Of(await this.#word(block, mapped(number, FEEDER_IDS), `the feeder ${number}`));
  }

  /** The last lot through which plants and distributor are settled. */
  async settled(block: number, feeder: Hex): Promise<bigint> {
    return bitsOf(await this.#word(block, mapped(feeder, FEEDERS), `feeder ${feeder} at block ${block}`), 40, 40);
  }

  /** A settled clearing, by its last lot: a word of ClearingHead.sol, and its prices where it has several lots. */
  async clearing(block: number, feederNumber: bigint, last: bigint): Promise<ProvenClearing> {
    const what = `the clearing that ends with lot ${last}`;
    const slot = mapped((feederNumber << 40n) | last, CLEARINGS);
    const head = await this.#word(block, slot, what);
    const lots = bitsOf(head, 0, 1) === 1n ? 1 : Number(bitsOf(head, 224, 11));
    if (lots === 0) throw new DoesNotHold(`no clearing ends with lot ${last}`);
    const stage = bitsOf(head, 1, 2);
    if (stage < 2n) throw new DoesNotHold(`the clearing that ends with lot ${last} has no prices yet`);
    return {
      first: last - BigInt(lots - 1),
      last,
      charter: Number(bitsOf(head, 4, 22)),
      closed: stage === 3n,
      estimated: bitsOf(head, 3, 1) === 1n,
      corrected: Number(bitsOf(head, 78, lots === 1 ? 1 : 11)),
      prices:
        lots === 1
          ? [bitsOf(head, 192, 64)]
          : await this.#prices(block, await this.#word(block, slot + 1n, what), lots, what),
    };
  }

  /** PriceList.sol: up to four in a word, the first lowest; more as code, `width` bytes each. */
  async #prices(block: number, packed: bigint, lots: number, what: string): Promise<bigint[]> {
    if (lots <= INLINE_PRICES) return Array.from({ length: lots }, (_, i) => bitsOf(packed, 64 * i, 64));
    const width = 2 * Number(packed >> 160n);
    const code = await this.#chain.code(block, addressOf(packed), `the prices of ${what}`);
    return Array.from({ length: lots }, (_, i) => BigInt(`0x${code.slice(4 + i * width, 4 + (i + 1) * width)}`));
  }

  /** A charter's code and the first lot that it holds for. */
  async charter(block: number, feederNumber: bigint, index: number): Promise<{ code: Hex; fromLot: bigint }> {
    const what = `charter ${index}`;
    const word = await this.#word(block, mapped((feederNumber << 24n) | BigInt(index), CHARTERS), what);
    return { code: await this.#chain.code(block, addressOf(word), what), fromLot: bitsOf(word, 160, 40) };
  }

  code(block: number, address: Hex, what: string): Promise<Hex> {
    return this.#chain.code(block, address, what);
  }

  #word(block: number, slot: bigint, what: string): Promise<bigint> {
    return this.#chain.storage(block, this.#market, slot, what);
  }
}
