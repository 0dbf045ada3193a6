import { type Hex, Quality } from "@bijuli/protocol";
import type { LotStatement, MeterLot } from "../ledger/index.ts";
import { Seats } from "./seats.ts";
import { placeOf, type Store, type StoredLog, stored } from "./store.ts";

/** How much an alarm matters. */
export const Severity = { NOTICE: 1, WARNING: 2, ALARM: 3 } as const;
/** Loss above the ideal of this much (WAD) is worth an inspection, and not only its penalty. */
const GRAVE_LOSS = 20_000_000_000_000_000n;
const GRAVE_BITS = Quality.CRITICAL_ERROR | Quality.DATA_INVALID | Quality.SENSOR_FAULT;
const TOLD_BITS = GRAVE_BITS | Quality.CLOCK_INVALID | Quality.GAP | Quality.POWER_DOWN;

/** What is out of the ordinary, as rows. */
export class Alarms {
  readonly #store: Store;
  readonly #seats: Seats;
  readonly #unaccountedBps: bigint;
  /** The place of the log that raised the last one, and how many it has raised. */
  #place = -1n;
  #nth = 0;

  /** @param unaccountedBps unaccounted energy, in bps of what was available, that is worth an alarm */
  constructor(store: Store, unaccountedBps: number) {
    this.#store = store;
    this.#seats = new Seats(store);
    this.#unaccountedBps = BigInt(unaccountedBps);
  }

  /** What a lot's sums tell. @returns how many alarms that is */
  ofLot(log: StoredLog, { feeder, lot, cleared }: LotStatement): number {
    let raised = 0;
    const alarm = (kind: string, severity: number, value: bigint, detail: object) => {
      raised++;
      this.raise(log, { feeder, lot, kind, severity, value, detail });
    };
    if (cleared.excessLoss > 0n) {
      alarm("loss", cleared.excessLoss >= GRAVE_LOSS ? Severity.ALARM : Severity.NOTICE, cleared.excessLoss, {
        lost: String(cleared.lost),
        actualLoss: String(cleared.actualLoss),
      });
    }
    if (cleared.unaccounted * 10_000n > cleared.available * this.#unaccountedBps)
      alarm("unaccounted", Severity.ALARM, cleared.unaccounted, { available: String(cleared.available) });
    if (cleared.overdrawn > 0n) alarm("overdrawn", Severity.WARNING, cleared.overdrawn, {});
    if (cleared.gain > 0n) alarm("gain", Severity.WARNING, cleared.gain, {});
    return raised;
  }

  ofQuality(log: StoredLog, feeder: Hex, lot: bigint, { meterId, signed }: MeterLot): void {
    const quality = (signed?.reading.quality ?? 0) & TOLD_BITS;
    if (quality === 0) return;
    const severity = (quality & GRAVE_BITS) !== 0 ? Severity.WARNING : Severity.NOTICE;
    this.raise(log, { feeder, lot, meter: meterId, kind: "quality", severity, value: BigInt(quality) });
  }

  raise(
    log: StoredLog,
    alarm: {
      feeder?: Hex;
      lot?: bigint;
      meter?: Hex;
      kind: string;
      severity: number;
      value?: bigint;
      detail?: object;
    },
  ): void {
    const place = placeOf(log);
    if (place !== this.#place) {
      this.#place = place;
      this.#nth = 0;
    }
    const feeder = alarm.feeder ?? (alarm.meter && this.#seats.feederOf(alarm.meter));
    this.#store.put("alarm", {
      place,
      nth: this.#nth++,
      feeder: feeder ?? null,
      lot: alarm.lot ?? null,
      meter: alarm.meter ?? null,
      kind: alarm.kind,
      severity: alarm.severity,
      value: alarm.value === undefined ? null : stored(alarm.value),
      detail: JSON.stringify(alarm.detail ?? {}),
      time: log.time,
      tx: log.tx,
    });
  }
}
