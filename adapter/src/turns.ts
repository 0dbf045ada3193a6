/**
 * Hands out turns for work that keeps the process busy for a moment (recovering a signer takes 2 ms): one at a time,
 * with a round of the event loop between two, so that cached answers wait for one such piece of work at most and not
 * for a thousand. What a request waits for goes before what a poll brings.
 */
export class Turns {
  readonly #urgent: (() => void)[] = [];
  readonly #others: (() => void)[] = [];
  #scheduled = false;

  /** Resolves when it is the caller's turn; the work must follow at once. */
  take(urgent: boolean): Promise<void> {
    return new Promise((resolve) => {
      (urgent ? this.#urgent : this.#others).push(resolve);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const next = this.#urgent.shift() ?? this.#others.shift();
      next?.();
      if (this.#urgent.length > 0 || this.#others.length > 0) this.#schedule();
    });
  }
}
