import { parseArgs } from "node:util";
import { ExitCode, loadSettings, openClock, settingsHelp } from "@bijuli/protocol";
import { microToNumber } from "../decimal.ts";
import { sensorOf } from "../openLive.ts";
import { openSource } from "../openSource.ts";
import { calibrated, readCalibration } from "../sensors/calibration.ts";
import { openLinuxBus } from "../sensors/linuxBus.ts";
import { openSensor } from "../sensors/open.ts";
import { readerSettings } from "../settings.ts";
import { type Command, usageError } from "./command.ts";

const { READER_SOURCE, READER_CALIBRATION, LOT_SECONDS, BIJULI_CLOCK } = readerSettings;
const settings = { READER_SOURCE, READER_CALIBRATION, LOT_SECONDS, BIJULI_CLOCK };

export const read: Command = {
  help: `read --once: prints what the source shows at this moment, as JSON; signs and stores nothing

Settings (environment):
${settingsHelp(settings)}
`,
  async run(args) {
    const { values } = parseArgs({ args, options: { once: { type: "boolean" } }, strict: true });
    if (!values.once) throw usageError("read needs --once");
    const loaded = loadSettings(settings);
    const clock = openClock(loaded.BIJULI_CLOCK);
    const named = sensorOf(loaded.READER_SOURCE);
    const live = named
      ? await sampleOnce(named, loaded.READER_CALIBRATION)
      : openSource(loaded.READER_SOURCE, clock, loaded.LOT_SECONDS, clock.nowMs()).live();
    const shown = (value: bigint | undefined) => (value === undefined ? null : microToNumber(value));
    console.log(
      JSON.stringify({
        time: new Date(clock.nowMs()).toISOString(),
        voltage: shown(live?.voltage),
        current: shown(live?.current),
        power: shown(live?.power),
      }),
    );
    return ExitCode.OK;
  },
};

async function sampleOnce(
  { kind, options }: NonNullable<ReturnType<typeof sensorOf>>,
  calibration: string | undefined,
) {
  const raw = await openSensor(kind, options, openLinuxBus);
  const sensor = calibration === undefined ? raw : calibrated(raw, readCalibration(calibration));
  try {
    await sensor.open();
    return await sensor.sample();
  } finally {
    await sensor.close();
  }
}
