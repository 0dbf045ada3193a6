import { readFileSync } from "node:fs";
import { BijuliError, type Hex } from "@bijuli/protocol";
import { keccak256 } from "ethers/crypto";
import { z } from "zod";
import { decimalProblem, MICRO, parseMicro } from "../decimal.ts";
import type { Sensor, SensorSample } from "../sensor.ts";
import { divideRound, powerOf } from "./bus.ts";

const decimal = z.string().superRefine((text, context) => {
  const problem = decimalProblem(text);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});
/** A gain of nothing would bill nothing, and a negative one turns the directions round. */
const gain = decimal.refine(
  (text) => decimalProblem(text) !== undefined || parseMicro(text) > 0n,
  "must be above zero",
);
const quantity = z.strictObject({ offset: decimal, gain });
const calibrationShape = z.strictObject({
  version: z.int().min(1),
  /** Free text: who, when, with which reference. */
  note: z.string().optional(),
  voltage: quantity,
  current: quantity,
});

/** What a comparison with a reference found: true value = (measured − offset) · gain, offset in V or A. */
export type Calibration = z.infer<typeof calibrationShape>;

/** The calibration's hash, by which a change of it shows: keccak256 of its JSON with sorted keys. */
export function calibrationHash(calibration: Calibration): Hex {
  const sorted = JSON.stringify(calibration, (_, value) =>
    typeof value === "object" && value !== null
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return keccak256(new TextEncoder().encode(sorted)) as Hex;
}

/** @throws BijuliError bad-calibration, naming the file and the field */
export function readCalibration(path: string): Calibration {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new BijuliError("bad-calibration", `the calibration ${path} cannot be read as JSON`, { cause });
  }
  const parsed = calibrationShape.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BijuliError("bad-calibration", `the calibration ${path}: ${issue.path.join(".")} ${issue.message}`);
}

/**
 * On an AC line voltage × current is not the power, and has no direction: corrected values would not be of it.
 * @throws BijuliError bad-calibration for a meter that measures power by itself
 */
export function checkCalibratable({ measuresPower, description }: Sensor): void {
  if (!measuresPower) return;
  throw new BijuliError(
    "bad-calibration",
    `a ${description.kind} meter measures power by itself: there is nothing to calibrate here`,
    {
      remedy: "leave READER_CALIBRATION unset; the meter itself was calibrated by its maker",
    },
  );
}

/**
 * A sensor whose voltage and current are corrected; its power follows from them.
 * @throws BijuliError bad-calibration, see checkCalibratable
 */
export function calibrated(sensor: Sensor, calibration: Calibration): Sensor {
  checkCalibratable(sensor);
  const correct = (value: bigint, by: { offset: string; gain: string }) =>
    divideRound((value - parseMicro(by.offset)) * parseMicro(by.gain), MICRO);
  return {
    description: sensor.description,
    ...(sensor.windowMs === undefined ? {} : { windowMs: sensor.windowMs }),
    open: () => sensor.open(),
    close: () => sensor.close(),
    ...(sensor.counters === undefined ? {} : { counters: () => sensor.counters!() }),
    async sample(): Promise<SensorSample> {
      const sample = await sensor.sample();
      if (sample.voltage === undefined || sample.current === undefined) return sample;
      const voltage = correct(sample.voltage, calibration.voltage);
      const current = correct(sample.current, calibration.current);
      const uncalibrated = { current: sample.current, power: sample.power };
      return { ...sample, voltage, current, power: powerOf(voltage, current), uncalibrated };
    },
  };
}
