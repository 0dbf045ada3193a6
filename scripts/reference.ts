// Writes docs/reference/ from the code: what can be set, asked, called and typed. `--check` only compares (test/reference.test.ts).
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { commandsReference } from "./reference/commands.ts";
import { endpointsReference } from "./reference/endpoints.ts";
import { settingsReference } from "./reference/settings.ts";
import { contractReference } from "./reference/solidity.ts";

const folder = new URL("../docs/reference/", import.meta.url);

const contract = (title: string, ...files: string[]): string =>
  contractReference(
    title,
    files.map((file) => new URL(`../contracts/src/${file}.sol`, import.meta.url).pathname),
  );

/** File name below docs/reference → its text. */
export async function references(): Promise<Record<string, string>> {
  const pages: Record<string, [title: string, ...parts: string[]]> = {
    "settings.md": ["Settings", await settingsReference()],
    "commands.md": ["Commands", await commandsReference()],
    "endpoints.md": ["HTTP endpoints", endpointsReference()],
    "contracts.md": [
      "Contracts: functions, events, errors",
      "Energies are Units (0.1 µkWh), money is wei, prices are wei per kWh, times are unix seconds. What they mean together: [contracts/README.md](../../contracts/README.md).",
      contract(
        "EnergyMarket",
        "EnergyMarket",
        "Openings",
        "Participants",
        "MarketBase",
        "interfaces/IEnergyMarket",
        "interfaces/IMarketErrors",
      ),
      contract("MeterRegistry", "MeterRegistry", "interfaces/IMeterRegistry"),
      contract("EnergyToken", "EnergyToken"),
      contract("LotReadingClient", "LotReadingClient"),
    ],
  };
  const note = "Made by `node scripts/reference.ts` from the code; a test holds it to that. Do not edit.";
  return Object.fromEntries(
    Object.entries(pages).map(([name, [title, ...parts]]) => [
      name,
      `${[`# ${title}`, note, ...parts].join("\n\n").replace(/[ \t]+$/gm, "")}\n`,
    ]),
  );
}

if (import.meta.main) {
  const check = process.argv.includes("--check");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(await references())) {
    const file = new URL(name, folder);
    if (!check) writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text) {
      process.stderr.write(`docs/reference/${name} is not what the code says: run node scripts/reference.ts\n`);
      process.exitCode = 1;
    }
  }
}
