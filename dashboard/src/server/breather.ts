/** How long a long piece of work holds the thread at most: the page is answered in between. */
const HELD_MS = 12;

/** Lets others have their turn, once the work has held the thread for long enough. */
export class Breather {
  #since = performance.now();

  async breathe(): Promise<void> {
    if (performance.now() - this.#since < HELD_MS) return;
    // Past the timers and the sockets that are due: an answer often needs several turns.
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
