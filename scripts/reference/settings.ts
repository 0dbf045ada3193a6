import { ADAPTER_SETTINGS } from "../../adapter/src/settings.ts";
import { dashboardSettings } from "../../dashboard/src/server/settings.ts";
import { nodeSettings } from "../../jobs/src/settings.ts";
import { readerSettings } from "../../pi-reader/src/settings.ts";
import { settingsTable } from "../../protocol/src/index.ts";

const parts = {
  "npx bijuli reader serve": readerSettings,
  "npx bijuli adapter": ADAPTER_SETTINGS,
  "npx bijuli node start": nodeSettings,
  "npx bijuli dashboard": dashboardSettings,
};

/** Every process' settings: the same definitions that parse the environment. */
export async function settingsReference(): Promise<string> {
  return [
    "Environment variables. What is unknown to a part is left alone; what is wrong ends its start with exit code 2 and one line each. A secret may also come from the file that NAME_FILE names.",
    ...Object.entries(parts).map(([command, settings]) => `## ${command}\n\n${settingsTable(settings)}`),
  ].join("\n\n");
}
