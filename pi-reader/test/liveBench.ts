import type { Timebase } from "../src/liveSource.ts";
import type { Sensor, SensorFault, SensorSample } from "../src/sensor.ts";

export const MS = 1_000_000n;
export const S = 1_000_000_000n;

/** A machine whose clocks the test moves: monotonic time only forward, the wall clock anywhere. */
export class BenchTimebase implements Timebase {
  nowNs = 12_345_678_901n;
  /** Wall ns − monotonic ns. */
  offsetNs: bigint;
  synced = true;

  constructor(wall: string) {
    this.offsetNs = BigInt(Date.parse(wall)) * MS - this.nowNs;
  }
  monotonicNs(): bigint {
    return this.nowNs;
  }
  wallMs(): number {
    return Number((this.nowNs + this.offsetNs) / 1000n) / 1000;
  }
  synchronised(): boolean {
    return this.synced;
  }
  pass(ns: bigint): void {
    this.nowNs += ns;
  }
  step(ns: bigint): void {
    this.offsetNs += ns;
  }
}

/** A load given as a function of monotonic nanoseconds; it can break. */
export class BenchSensor implements Sensor {
  readonly description = { kind: "bench" };
  readonly #timebase: BenchTimebase;
  power: (ns: bigint) => bigint;
  broken: SensorFault | undefined;

  constructor(timebase: BenchTimebase, power: (ns: bigint) => bigint) {
    this.#timebase = timebase;
    this.power = power;
  }
  async open(): Promise<void> {
    if (this.broken) throw this.broken;
  }
  async sample(): Promise<SensorSample> {
    if (this.broken) throw this.broken;
    return { power: this.power(this.#timebase.nowNs), windowNs: 0n };
  }
  async close(): Promise<void> {}
}

/** What the samples themselves say: the sum of the trapezoids between them, each direction for itself, in µW · ns / 2. */
export class SampleLog {
  net = 0n;
  #last: { atNs: bigint; power: bigint } | undefined;
  readonly #gapLimitNs: bigint;

  constructor(gapLimitNs: bigint) {
    this.#gapLimitNs = gapLimitNs;
  }
  add(readNs: bigint, power: bigint): void {
    const atNs = readNs - (readNs & 1n);
    if (this.#last && atNs - this.#last.atNs <= this.#gapLimitNs) {
      this.net += ((power + this.#last.power) * (atNs - this.#last.atNs)) / 2n;
    }
    this.#last = { atNs, power };
  }
  /** A restart: the next sample continues nothing. */
  cut(): void {
    this.#last = undefined;
  }
}
