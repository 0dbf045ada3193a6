import { parseArgs } from "node:util";
import { ExitCode, loadSettings, meterIdOf, settingsHelp } from "@bijuli/protocol";
import { readKey } from "../keyFile.ts";
import { readerSettings } from "../settings.ts";
import { keySigner } from "../signer.ts";
import type { Command } from "./command.ts";

const { READER_SERIAL, READER_KEY, READER_KEY_FILE, READER_KEY_PASSWORD_FILE } = readerSettings;
const settings = { READER_SERIAL, READER_KEY, READER_KEY_FILE, READER_KEY_PASSWORD_FILE };

export const identity: Command = {
  help: `identity: prints what the regulator registers the meter by: serial, meterId and signer, as JSON

Settings (environment):
${settingsHelp(settings)}
`,
  async run(args) {
    parseArgs({ args, options: {}, strict: true });
    const values = loadSettings(settings);
    const { address } = keySigner(
      await readKey({
        key: values.READER_KEY,
        file: values.READER_KEY_FILE,
        passwordFile: values.READER_KEY_PASSWORD_FILE,
        credentials: process.env.CREDENTIALS_DIRECTORY,
      }),
    );
    console.log(
      JSON.stringify({ serial: values.READER_SERIAL, meterId: meterIdOf(values.READER_SERIAL), signer: address }),
    );
    return ExitCode.OK;
  },
};
