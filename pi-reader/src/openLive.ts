import { BijuliError } from "@bijuli/protocol";
import { type Checkpoint, LiveSource, type LiveSourceOptions } from "./liveSource.ts";
import { type Sensor, SensorFault } from "./sensor.ts";
import type { I2cBus } from "./sensors/bus.ts";
import { calibrated, calibrationHash, readCalibration } from "./sensors/calibration.ts";
import { isSensorKind, openSensor } from "./sensors/open.ts";
import type { Store } from "./store.ts";

export interface OpenLiveOptions
  extends Pick<
    LiveSourceOptions,
    "timebase" | "lotSeconds" | "sampleMs" | "gapLimitMs" | "counterToleranceBps" | "onFault" | "onFinding"
  > {
  /** READER_SOURCE. */
  source: string;
  /** READER_CALIBRATION. */
  calibration?: string | undefined;
  store: Store;
  openBus: (number: number) => Promise<I2cBus>;
}

/** What /identity shows of a calibration. */
export interface CalibrationIdentity {
  version: number;
  hash: string;
}

const SCAN = "`scan` shows which chips answer";
const MODBUS_REMEDY = "check meter, unit, wiring, and the line's settings or the host";

/** Splits READER_SOURCE; kind is undefined where it names no sensor. */
export function sensorOf(source: string): { kind: Parameters<typeof openSensor>[0]; options: string } | undefined {
  const colon = source.indexOf(":");
  const kind = colon < 0 ? source : source.slice(0, colon);
  return isSensorKind(kind) ? { kind, options: colon < 0 ? "" : source.slice(colon + 1) } : undefined;
}

/**
 * Samples that are always further apart than the gap limit are never joined: such a meter would count nothing at all,
 * and its lots would only say that there were gaps. Twice the time between them bridges one that is missing.
 */
function checkPace({ windowMs = 0 }: Sensor, { sampleMs, gapLimitMs }: OpenLiveOptions): void {
  const apartMs = Math.ceil(Math.max(sampleMs, windowMs));
  if (gapLimitMs >= 2 * apartMs) return;
  const why = windowMs > sampleMs ? "the sensor's averaging takes" : "READER_SAMPLE_MS is";
  throw new BijuliError("bad-settings", `READER_GAP_LIMIT_MS=${gapLimitMs} is too short: ${why} ${apartMs} ms`, {
    remedy: `set it to ${2 * apartMs} at least, or sample faster`,
  });
}

/**
 * Opens the sensor and takes up the lot that the store's checkpoint kept open. A meter that has closed lots starts without
 * its sensor as well: they are asked for all the same, and what it measures goes on as soon as it answers.
 * @throws BijuliError bad-settings when it samples too slowly for the gap limit; sensor-absent when the chip of a new meter does not answer, which may pass; wrong-sensor when another one does
 */
export async function openLive(
  options: OpenLiveOptions,
): Promise<{ source: LiveSource; calibration: CalibrationIdentity | undefined }> {
  const { kind, options: json } = sensorOf(options.source)!;
  const raw = await openSensor(kind, json, options.openBus);
  const calibration = options.calibration === undefined ? undefined : readCalibration(options.calibration);
  const sensor = calibration === undefined ? raw : calibrated(raw, calibration);
  checkPace(sensor, options);
  const { store } = options;
  const newest = store.newest()?.lot;
  let unopened: SensorFault | undefined;
  try {
    await sensor.open();
  } catch (cause) {
    if (!(cause instanceof SensorFault)) {
      await sensor.close().catch(() => {});
      throw cause;
    }
    const wrong = cause.kind === "wrong-chip";
    if (wrong || newest === undefined) {
      await sensor.close().catch(() => {});
      throw new BijuliError(wrong ? "wrong-sensor" : "sensor-absent", cause.message, {
        remedy: kind === "modbus" ? MODBUS_REMEDY : wrong ? SCAN : `check wiring, supply and address; ${SCAN}`,
      });
    }
    unopened = cause;
  }
  const first = store.get("firstLot");
  const kept = store.get("checkpoint");
  const checkpoint = kept === undefined ? undefined : (JSON.parse(kept) as Checkpoint);
  const next = newest === undefined ? (first === undefined ? undefined : BigInt(first)) : newest + 1n;
  return {
    source: new LiveSource({ ...options, sensor, next, checkpoint, unopened }),
    calibration:
      calibration === undefined ? undefined : { version: calibration.version, hash: calibrationHash(calibration) },
  };
}
