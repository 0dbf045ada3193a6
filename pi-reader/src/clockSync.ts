/** A wall clock that moves this much against the monotonic one was set; slewing moves both. */
const SET_MS = 1000;

/**
 * Whether the wall clock is synchronised. The system is asked now and then only, for it takes a process; what it said
 * before the clock was set says nothing of the clock as it is since: whoever set it, it counts as unsynchronised until
 * the system says otherwise.
 */
export class ClockSync {
  readonly #ask: () => Promise<boolean>;
  readonly #offsetMs: () => number;
  #said: { synchronised: boolean; offsetMs: number };

  /**
   * @param ask asks the system
   * @param offsetMs wall clock less monotonic clock, in milliseconds
   */
  constructor(ask: () => Promise<boolean>, offsetMs: () => number) {
    this.#ask = ask;
    this.#offsetMs = offsetMs;
    this.#said = { synchronised: false, offsetMs: offsetMs() };
  }

  /** Asks now. */
  async look(): Promise<void> {
    const offsetMs = this.#offsetMs();
    const synchronised = await this.#ask();
    this.#said = { synchronised, offsetMs };
    // Was it set while the question was under way, nobody knows which clock the answer meant.
    this.#noticeSetting();
  }

  get synchronised(): boolean {
    this.#noticeSetting();
    return this.#said.synchronised;
  }

  #noticeSetting(): void {
    const offsetMs = this.#offsetMs();
    if (Math.abs(offsetMs - this.#said.offsetMs) <= SET_MS) return;
    this.#said = { synchronised: false, offsetMs };
    void this.look();
  }
}
