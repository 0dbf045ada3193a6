import { existsSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, loadSettings, settingsHelp } from "@bijuli/protocol";
import { decimalProblem, formatMicro, MICRO, parseMicro } from "../decimal.ts";
import { sensorOf } from "../openLive.ts";
import { divideRound } from "../sensors/bus.ts";
import { type Calibration, calibrationHash, checkCalibratable, readCalibration } from "../sensors/calibration.ts";
import { openLinuxBus } from "../sensors/linuxBus.ts";
import { openSensor } from "../sensors/open.ts";
import { readerSettings } from "../settings.ts";
import { type Command, usageError } from "./command.ts";

const { READER_SOURCE } = readerSettings;
const settings = { READER_SOURCE };
const NONE: Calibration = { version: 0, voltage: { offset: "0", gain: "1" }, current: { offset: "0", gain: "1" } };

export const calibrate: Command = {
  help: `calibrate (zero | gain) --out FILE [--volts V] [--amperes A] [--samples N] [--note TEXT]: compares the sensor with a reference

  zero         with no current: what the sensor shows becomes the current's offset
  gain         at load, against a reference: --volts and --amperes are what the reference shows
  --out FILE   the calibration, for READER_CALIBRATION; what it already holds is kept, its version goes up by one
  --samples N  how many samples are averaged [100]
First zero, then gain. Stop the reader while it runs: a sensor has one reader.

Settings (environment):
${settingsHelp(settings)}
`,
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      options: {
        out: { type: "string" },
        volts: { type: "string" },
        amperes: { type: "string" },
        samples: { type: "string", default: "100" },
        note: { type: "string" },
      },
      allowPositionals: true,
      strict: true,
    });
    const [step] = positionals;
    if (positionals.length !== 1 || (step !== "zero" && step !== "gain"))
      throw usageError("calibrate needs zero or gain");
    if (values.out === undefined) throw usageError("calibrate needs --out");
    const volts = reference("--volts", values.volts);
    const amperes = reference("--amperes", values.amperes);
    if (step === "gain" && volts === undefined && amperes === undefined) {
      throw usageError("calibrate gain needs --volts or --amperes");
    }
    if (step === "zero" && (volts ?? amperes) !== undefined) throw usageError("calibrate zero takes no reference");
    const samples = Number(values.samples);
    if (!(Number.isInteger(samples) && samples >= 1 && samples <= 100_000)) {
      throw usageError(`--samples ${values.samples} is not a number from 1 to 100000`);
    }
    const named = sensorOf(loadSettings(settings).READER_SOURCE);
    if (named === undefined) throw usageError("READER_SOURCE names no sensor");

    const before = existsSync(values.out) ? readCalibration(values.out) : NONE;
    const shown = await means(named, samples);
    const after: Calibration = { ...before, version: before.version + 1 };
    if (values.note !== undefined) after.note = values.note;
    if (step === "zero") {
      after.current = { ...before.current, offset: formatMicro(shown.current) };
    } else {
      if (volts !== undefined) after.voltage = gain("voltage", before.voltage, shown.voltage, volts);
      if (amperes !== undefined) after.current = gain("current", before.current, shown.current, amperes);
    }
    // Complete or not at all, whatever happens meanwhile.
    writeFileSync(`${values.out}.new`, `${JSON.stringify(after, null, 2)}\n`);
    renameSync(`${values.out}.new`, values.out);
    console.log(JSON.stringify({ ...after, hash: calibrationHash(after) }));
    return ExitCode.OK;
  },
};

function reference(name: string, text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  const problem = decimalProblem(text);
  if (problem !== undefined) throw usageError(`${name}: ${problem}`);
  return parseMicro(text);
}

/** The gain that makes what was shown what the reference shows. */
function gain(what: string, before: Calibration["voltage"], shown: bigint, truth: bigint): Calibration["voltage"] {
  const raw = shown - parseMicro(before.offset);
  const factor = raw === 0n ? 0n : divideRound(truth * MICRO, raw);
  // A reference that differs by a fifth is a slip, or another sensor.
  if (factor < 800_000n || factor > 1_200_000n) {
    throw new BijuliError(
      "bad-calibration",
      `the ${what} differs too much: the sensor shows ${formatMicro(raw)}, the reference ${formatMicro(truth)}`,
      {
        remedy: "check units, sign and wiring, and the shunt's resistance in READER_SOURCE",
      },
    );
  }
  return { ...before, gain: formatMicro(factor) };
}

async function means({ kind, options }: NonNullable<ReturnType<typeof sensorOf>>, samples: number) {
  const sensor = await openSensor(kind, options, openLinuxBus);
  try {
    checkCalibratable(sensor);
    await sensor.open();
    let voltage = 0n;
    let current = 0n;
    for (let i = 0; i < samples; i++) {
      const sample = await sensor.sample();
      voltage += sample.voltage ?? 0n;
      current += sample.current ?? 0n;
    }
    return { voltage: divideRound(voltage, BigInt(samples)), current: divideRound(current, BigInt(samples)) };
  } finally {
    await sensor.close();
  }
}
