/** Two clocks that cannot be read at once: nanoseconds of one that never steps, Unix milliseconds of one that may. */
export interface Clocks {
  monotonicNs(): bigint;
  wallMs(): number;
}

/** Readings this close together are one moment; on a Pi they take some microseconds. */
const CLOSE_NS = 200_000n;
/** A process is held up between two readings now and then, not as often as this in a row. */
const TRIES = 10;

/**
 * Both clocks at one moment. Held up between the two readings, by other processes or the collector of garbage, a process
 * would take the delay for a wall clock that was set, and move the end of a lot by it: the wall clock is read between
 * two readings of the monotonic one, again while these are far apart.
 */
export function atOneMoment(clocks: Clocks): { monotonicNs: bigint; wallMs: number } {
  let beforeNs = clocks.monotonicNs();
  let closest: { monotonicNs: bigint; wallMs: number; apartNs: bigint } | undefined;
  for (let tries = 0; tries < TRIES; tries++) {
    const wallMs = clocks.wallMs();
    const afterNs = clocks.monotonicNs();
    const apartNs = afterNs - beforeNs;
    if (closest === undefined || apartNs < closest.apartNs) {
      closest = { monotonicNs: beforeNs + apartNs / 2n, wallMs, apartNs };
    }
    if (apartNs <= CLOSE_NS) break;
    beforeNs = afterNs;
  }
  return closest!;
}
