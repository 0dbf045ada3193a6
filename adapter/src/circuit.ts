/** How often a reader is left alone after it failed, ms of real time. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** Failures in a row before a reader is left alone at all. */
const TOLERATED = 3;

export type CircuitState = "closed" | "open" | "half-open";

/**
 * Keeps a reader that does not answer from holding up every request: after a few failures in a row it is left alone for
 * a pause that doubles up to ten seconds, with jitter so that a thousand readers do not come back in one instant. One
 * attempt then decides (half-open).
 */
export class Circuit {
  #failures = 0;
  #openUntil = 0;
  #probing = false;

  state(now = performance.now()): CircuitState {
    if (this.#failures < TOLERATED) return "closed";
    return now < this.#openUntil ? "open" : "half-open";
  }

  /** Real ms until the next attempt is allowed; 0 when one is. The attempt it allows in half-open is the only one. */
  wait(now = performance.now()): number {
    if (this.#failures < TOLERATED) return 0;
    if (now < this.#openUntil) return this.#openUntil - now;
    if (this.#probing) return FIRST_PAUSE_MS;
    this.#probing = true;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
  }

  failed(now = performance.now()): void {
    this.#failures++;
    this.#probing = false;
    if (this.#failures < TOLERATED) return;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - TOLERATED), LONGEST_PAUSE_MS);
    this.#openUntil = now + pause * (0.75 + Math.random() / 2);
  }
}
