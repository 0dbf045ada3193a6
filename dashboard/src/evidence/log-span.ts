/** A range that short is refused for another reason. */
const SHORTEST = 16;

/** How many blocks one question for logs spans: nodes refuse ranges that are too long, each in its own words. */
export class LogSpan {
  /** The longest range that has not been refused. */
  #blocks: number;

  constructor(blocks = Number.MAX_SAFE_INTEGER) {
    this.#blocks = blocks;
  }

  /** The last block of the next question. */
  end(from: number, to: number): number {
    return Math.min(to, from + this.#blocks - 1);
  }

  /** After a node's refusal. @returns whether a shorter range is worth a try */
  shorter(from: number, to: number): boolean {
    this.#blocks = Math.floor((to - from + 1) / 2);
    return this.#blocks >= SHORTEST;
  }
}
