import type { Hex } from "@bijuli/protocol";

/** A feeder's terms as the market's Chartered event tells them. Loss and service in bps, money in wei, times in seconds. */
export interface Terms {
  idealLossBps: number;
  serviceBps: number;
  penaltyBps: number;
  toleranceBps: number;
  maxPricePerKWh: bigint;
  reserve: bigint;
  graceSeconds: number;
  lotsPerClearing: number;
  tokensPerConsumer: boolean;
}

/** A member of a feeder: an account and the meter it is counted by. */
export interface Member {
  account: number;
  meterId: Hex;
}

export interface PlantMember extends Member {
  /** wei per kWh. */
  pricePerKWh: bigint;
}

/** What holds from one lot on: terms and members, in the order in which pages name them. */
export interface Charter {
  fromLot: bigint;
  terms: Terms;
  distributor: Member | undefined;
  plants: PlantMember[];
  consumers: Member[];
}

/**
 * A feeder's history of charters, as its events tell it. Each change makes a new charter from the newest one; one for
 * the same lot replaces it.
 */
export class CharterHistory {
  readonly #charters: Charter[] = [];
  /** Changes of the consumers' list that the Chartered event of the same call will seal. */
  #consumers: Member[] = [];

  /** A consumer that joins goes to the end of the list. */
  listConsumers(members: readonly Member[]): void {
    this.#consumers = [...this.#consumers, ...members];
  }

  /** A consumer that goes leaves its place to the last one, as in FeederCharters.delist. */
  delistConsumers(accounts: readonly number[]): void {
    const list = [...this.#consumers];
    for (const account of accounts) {
      const at = list.findIndex((member) => member.account === account);
      const last = list.pop();
      if (at >= 0 && at < list.length && last !== undefined) list[at] = last;
    }
    this.#consumers = list;
  }

  /** Another meter takes the place of a consumer's. */
  replaceConsumer(account: number, meterId: Hex): void {
    this.#consumers = this.#consumers.map((member) => (member.account === account ? { account, meterId } : member));
  }

  /** Seals what holds from a lot on. */
  charter(charter: Omit<Charter, "consumers">): void {
    if (this.#charters.at(-1)?.fromLot === charter.fromLot) this.#charters.pop();
    this.#charters.push({ ...charter, consumers: this.#consumers });
  }

  /** The charter that holds in a lot. */
  at(lot: bigint): Charter | undefined {
    return this.#charters.findLast((charter) => charter.fromLot <= lot);
  }
}
