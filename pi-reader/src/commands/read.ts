import { parseArgs } from "node:util";
import { ExitCode, loadSettings, openClock, settingsHelp } from "@bijuli/protocol";
import { microToNumber } from "../decimal.ts";
import { openSource } from "../openSource.ts";
import { readerSettings } from "../settings.ts";
import { type Command, usageError } from "./command.ts";

const { READER_SOURCE, LOT_SECONDS, BIJULI_CLOCK } = readerSettings;
const settings = { READER_SOURCE, LOT_SECONDS, BIJULI_CLOCK };

export const read: Command = {
  help: `read --once: prints what the source shows at this moment, as JSON; signs and stores nothing

Settings (environment):
${settingsHelp(settings)}
`,
  async run(args) {
    const { values } = parseArgs({ args, options: { once: { type: "boolean" } }, strict: true });
    if (!values.once) throw usageError("read needs --once");
    const { READER_SOURCE: source, LOT_SECONDS: lotSeconds, BIJULI_CLOCK: clockFile } = loadSettings(settings);
    const clock = openClock(clockFile);
    const live = openSource(source, clock, lotSeconds, clock.nowMs()).live();
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
