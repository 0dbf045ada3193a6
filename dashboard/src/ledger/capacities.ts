import type { Hex } from "@bijuli/protocol";

/** What a meter's rated power allows in a lot, as histories by lot. */
export class Capacities {
  readonly #histories = new Map<Hex, { fromLot: bigint; capacity: bigint }[]>();

  /** @param capacity Units a lot, from `fromLot` on */
  set(meterId: Hex, fromLot: bigint, capacity: bigint): void {
    const history = this.#histories.get(meterId) ?? [];
    history.push({ fromLot, capacity });
    this.#histories.set(meterId, history);
  }

  /** A lot's energy, cut to what the meter's capacity allows. */
  cut(meterId: Hex, lot: bigint, energy: bigint): bigint {
    const capacity = this.#histories.get(meterId)?.findLast(({ fromLot }) => fromLot <= lot)?.capacity;
    return capacity !== undefined && energy > capacity ? capacity : energy;
  }
}
