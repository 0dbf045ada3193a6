import { keccak256, toUtf8Bytes } from "ethers";

/** A seeded generator: a failing run is repeated by its seed. */
export class Random {
  #state: bigint;

  constructor(seed: string) {
    this.#state = BigInt(keccak256(toUtf8Bytes(seed)));
  }

  /** Uniform over 64 bits (SplitMix64). */
  next(): bigint {
    const mask = 2n ** 64n - 1n;
    this.#state = (this.#state + 0x9e3779b97f4a7c15n) & mask;
    let z = this.#state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return z ^ (z >> 31n);
  }

  /** 0 … end − 1, for ends far below 2^64. */
  below(end: bigint): bigint {
    return end <= 0n ? 0n : this.next() % end;
  }

  int(end: number): number {
    return Number(this.below(BigInt(end)));
  }

  chance(probability: number): boolean {
    return this.int(1_000_000) < probability * 1_000_000;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)]!;
  }

  shuffle<T>(from: readonly T[]): T[] {
    const list = [...from];
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [list[i], list[j]] = [list[j]!, list[i]!];
    }
    return list;
  }
}
