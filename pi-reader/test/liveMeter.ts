import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { LiveSource } from "../src/liveSource.ts";
import { FEMTOJOULES_PER_UNIT } from "../src/measurement.ts";
import { Meter } from "../src/meter.ts";
import type { Sensor, SensorFault, SensorSample } from "../src/sensor.ts";
import { keySigner } from "../src/signer.ts";
import { type ClosedLot, Store } from "../src/store.ts";
import { DOMAIN, KEY, tempFolder } from "./bench.ts";
import { BenchSensor, BenchTimebase, MS, S, SampleLog } from "./liveBench.ts";

export const START = "2026-03-01T12:01:40Z";
const GAP_LIMIT_MS = 5000;

export interface LiveMeterOptions {
  start?: string;
  lotSeconds?: number;
  /** What is measured; by default a load that changes all the time. */
  sensor?: (timebase: BenchTimebase) => Sensor;
}

/** A live meter on a bench, one sample a second unless told, beside a log of what its sensor said. */
export class LiveMeter {
  readonly timebase: BenchTimebase;
  /** The load, where no other sensor was given. */
  readonly load: BenchSensor;
  readonly log = new SampleLog(BigInt(GAP_LIMIT_MS) * MS);
  readonly lotSeconds: number;
  readonly #path: string;
  readonly #sensor: Sensor;
  /** What the log said when the meter's state was last on the disk. */
  #kept = 0n;
  source!: LiveSource;
  store!: Store;
  meter!: Meter;

  constructor(t: TestContext, { start = START, lotSeconds = 300, sensor }: LiveMeterOptions = {}) {
    this.timebase = new BenchTimebase(start);
    this.load = new BenchSensor(this.timebase, (ns) => 400_000_000n + ((ns / 7n) % 911_111_113n));
    this.lotSeconds = lotSeconds;
    this.#sensor = this.#logged(sensor?.(this.timebase) ?? this.load);
    this.#path = join(tempFolder(t), "store.db");
    this.boot();
    t.after(() => this.store.close());
  }

  /** The sensor as the meter sees it: what it says is in the log. */
  #logged(sensor: Sensor): Sensor {
    return {
      description: sensor.description,
      open: () => sensor.open(),
      close: () => sensor.close(),
      sample: async (): Promise<SensorSample> => {
        try {
          const sample = await sensor.sample();
          this.log.add(this.timebase.nowNs - sample.windowNs / 2n, sample.power);
          return sample;
        } catch (error) {
          // What follows a reset does not continue what was before it.
          if ((error as SensorFault).kind !== "absent") this.log.cut();
          throw error;
        }
      },
    };
  }

  boot(): void {
    this.store = Store.open(this.#path);
    const newest = this.store.newest()?.lot;
    const first = this.store.get("firstLot");
    const checkpoint = this.store.get("checkpoint");
    this.source = new LiveSource({
      sensor: this.#sensor,
      timebase: this.timebase,
      lotSeconds: this.lotSeconds,
      sampleMs: 1000,
      gapLimitMs: GAP_LIMIT_MS,
      next: newest === undefined ? (first === undefined ? undefined : BigInt(first)) : newest + 1n,
      checkpoint: checkpoint === undefined ? undefined : JSON.parse(checkpoint),
    });
    this.meter = new Meter({
      serial: "HOUSE-1",
      domain: DOMAIN,
      lotSeconds: this.lotSeconds,
      signer: keySigner(KEY),
      source: this.source,
      store: this.store,
    });
    this.log.cut();
  }

  checkpoint(): void {
    this.store.set({ checkpoint: this.source.checkpoint() });
    this.#kept = this.log.net;
  }

  /** Power goes: nothing more is written, and what was measured since the state was last written is lost. */
  cut(outageNs: bigint): void {
    this.store.close();
    this.timebase.pass(outageNs);
    this.boot();
    this.log.net = this.#kept;
  }

  /** Samples for that many seconds. A sensor that failed is opened again before its next sample. */
  async run(seconds: number, options: { everyNs?: bigint } = {}): Promise<void> {
    const every = options.everyNs ?? S;
    const until = this.timebase.nowNs + BigInt(seconds) * S;
    while (this.timebase.nowNs < until) {
      this.timebase.pass(every);
      if (this.source.health().status !== "ok") await this.#sensor.open().catch(() => {});
      await this.source.cycle();
      const before = this.meter.newestLot;
      await this.meter.closeDue();
      if (this.meter.newestLot !== before) this.#kept = this.log.net;
    }
  }

  lots(): ClosedLot[] {
    return this.meter.lots(0n, 2n ** 62n);
  }

  /** Femtojoules in registers, open lot and backlog, forward less reverse: all that the meter knows. */
  async total(): Promise<bigint> {
    const newest = this.lots().at(-1);
    const closed = newest
      ? (newest.forward - newest.reverse) * FEMTOJOULES_PER_UNIT + newest.forwardRest - newest.reverseRest
      : 0n;
    const { open, backlog } = JSON.parse(this.source.checkpoint());
    const waiting = BigInt(backlog.forward) - BigInt(backlog.reverse);
    return closed + BigInt(open?.tally.forward ?? 0) - BigInt(open?.tally.reverse ?? 0) + waiting;
  }

  async assertExact(): Promise<void> {
    assert.equal(await this.total(), this.log.net);
  }

  /** A value for every lot, and each goes on from the one before. */
  assertConsecutive(): void {
    const lots = this.lots();
    for (let i = 1; i < lots.length; i++) {
      assert.equal(lots[i]!.lot, lots[i - 1]!.lot + 1n);
      assert.equal(lots[i]!.forward, lots[i - 1]!.forward + lots[i]!.energy);
      assert.equal(lots[i]!.reverse, lots[i - 1]!.reverse + lots[i]!.reverseEnergy);
    }
  }
}
