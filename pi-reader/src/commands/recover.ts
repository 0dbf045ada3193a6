import { parseArgs } from "node:util";
import { BijuliError, ExitCode, loadSettings, settingsHelp } from "@bijuli/protocol";
import { AdapterClient } from "../adapterClient.ts";
import { storeIdentity } from "../exportFile.ts";
import { recoverLots } from "../knownLot.ts";
import { readerSettings } from "../settings.ts";
import { Store } from "../store.ts";
import type { Command } from "./command.ts";

const { READER_STORE, READER_ADAPTER_URL, READER_ADAPTER_TOKEN } = readerSettings;
const settings = { READER_STORE, READER_ADAPTER_URL, READER_ADAPTER_TOKEN };

export const recover: Command = {
  help: `recover: brings an old copy of a store up to what the meter has signed since, as its adapter knows it

Only readings with the meter's own signature are taken, and only where they go on from the store's last lot.

Settings (environment):
${settingsHelp(settings)}
`,
  async run(args) {
    parseArgs({ args, options: {}, strict: true });
    const values = loadSettings(settings);
    if (values.READER_ADAPTER_URL === undefined) {
      throw new BijuliError("bad-settings", `READER_ADAPTER_URL is missing: ${READER_ADAPTER_URL.description}`);
    }
    const store = Store.open(values.READER_STORE);
    try {
      const identity = storeIdentity(store);
      const adapter = new AdapterClient({
        url: values.READER_ADAPTER_URL,
        token: values.READER_ADAPTER_TOKEN,
        ...identity,
      });
      const lots = await recoverLots(store, adapter);
      console.log(JSON.stringify({ serial: identity.serial, recovered: lots, newest: store.newest()?.lot.toString() }));
    } finally {
      store.close();
    }
    return ExitCode.OK;
  },
};
