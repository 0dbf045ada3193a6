import { BijuliError } from "@bijuli/protocol";
import type { AdapterClient } from "./adapterClient.ts";
import { MAX_LOTS_A_READING, type Meter } from "./meter.ts";
import { pause } from "./pause.ts";
import type { Store } from "./store.ts";

const LOOK_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Delivers every closed lot to the adapter, in order, for a meter that the adapter cannot reach. */
export class Pusher {
  readonly #meter: Meter;
  readonly #adapter: AdapterClient;
  readonly #store: Store;

  constructor(meter: Meter, adapter: AdapterClient, store: Store) {
    this.#meter = meter;
    this.#adapter = adapter;
    this.#store = store;
  }

  /** Pushes until aborted; what fails is tried again, ever less often. */
  async run(signal: AbortSignal, onFailure: (error: Error) => void): Promise<void> {
    let pauseMs = LOOK_MS;
    while (!signal.aborted) {
      try {
        await this.push(signal);
        pauseMs = LOOK_MS;
      } catch (error) {
        onFailure(error as Error);
        const lasting = error instanceof BijuliError && error.code === "push-refused";
        pauseMs = lasting ? LONGEST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
      await pause(pauseMs, signal);
    }
  }

  /** Pushes the lots that were closed since the last one pushed. */
  async push(signal?: AbortSignal): Promise<void> {
    const { newestLot, firstLot } = this.#meter;
    if (newestLot === undefined || firstLot === undefined) return;
    const pushed = this.#store.get("pushedLot");
    const oldest = newestLot - BigInt(MAX_LOTS_A_READING) + 1n;
    let lot = pushed === undefined ? firstLot : BigInt(pushed) + 1n;
    if (lot < oldest) lot = oldest;
    // An adapter that was away for longer than the store keeps lots: what is archived cannot be pushed any more.
    const { oldestLot } = this.#meter;
    if (oldestLot !== undefined && lot < oldestLot) lot = oldestLot;
    for (; lot <= newestLot && !signal?.aborted; lot++) {
      await this.#adapter.push(await this.#meter.reading(lot));
      this.#store.set({ pushedLot: lot.toString() });
    }
  }
}
