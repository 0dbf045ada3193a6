#!/usr/bin/env node
import { parseArgs } from "node:util";
import { BijuliError, ExitCode } from "@bijuli/protocol";
import { readAddressBook } from "../deployment/address-book.ts";
import { chosenNetwork, NETWORK_OPTIONS } from "./chosen-network.ts";
import { main } from "./command.ts";
import { connect } from "./connection.ts";
import { charter, consent, create, fundLink, join, list, operators, register, replace } from "./feeder-acts.ts";
import { Desk } from "./feeder-desk.ts";
import { show } from "./feeder-show.ts";
import { openKey } from "./key.ts";

const HELP = `bijuli feeder COMMAND --network NAME [options]

Sets a feeder up on a network where bijuli deploy has been. Each command looks first: what is there already is left as
it is, what the contracts would refuse is said in words, and nothing is sent then.

The regulator:
  register --reader URL --capacity-watts W     registers a meter, from its reader's /identity
  register --opening FILE --capacity-watts W   the same from a file that holds it, or only its signed opening reading
  create NAME                                  creates a feeder
  charter FILE [--from-lot N]                  sets terms, distributor, and plants with their prices
  list FILE [--from-lot N]                     lists the file's consumers, of those that have joined
  replace FEEDER --serial OLD --by NEW [--from-lot N]
                                               another registered meter takes the place of a member's; its account stays
  operators FEEDER --seat OPERATOR,JOB,LINK …  who serves its requests: "own" or an address, the job's UUID, LINK each
A participant:
  join FEEDER --serial S --role ROLE [--limit WEI] [--deposit ETHER]
                                               joins with a meter as plant, distributor or consumer; --limit is the
                                               highest price per kWh (a plant's: the lowest) it consents to, or "any"
  consent FEEDER --serial S --role ROLE [--limit WEI] [--days N]
                                               signs the same and prints it; sends nothing
Anyone:
  join --consent FILE                          sends a consent that somebody signed
  fund-link FEEDER LINK                        pays LINK into a feeder's balance
  show [FEEDER] [--json]                       terms, operators, members, cursors, balances, LINK; needs no key

FEEDER is its name or its id. FILE is a feeder of its own or a grid file; --feeder NAME picks one of several.

  --network NAME, --networks FILE, --rpc-url URL, --chain-id ID   as for bijuli deploy
  --book FILE          the address book (deployments/NAME.json)
  --keystore FILE      the key, encrypted; its password from the file that BIJULI_KEYSTORE_PASSWORD_FILE names, or asked
                       for. Without it: BIJULI_KEY from the environment.
  READER_TOKEN         in the environment: the reader's bearer token

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or input, 75 try again later (also: scheduled, while the
AccessManager delays the regulator).
`;

const options = {
  ...NETWORK_OPTIONS,
  reader: { type: "string" },
  opening: { type: "string" },
  "capacity-watts": { type: "string" },
  serial: { type: "string" },
  by: { type: "string" },
  role: { type: "string" },
  limit: { type: "string" },
  deposit: { type: "string" },
  consent: { type: "string" },
  days: { type: "string" },
  "from-lot": { type: "string" },
  feeder: { type: "string" },
  seat: { type: "string", multiple: true },
} as const;

const COMMANDS = { register, create, join, consent, charter, list, replace, operators, "fund-link": fundLink, show };

const secrets = new Map<string, string>();

async function run(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true });
  const [name, ...rest] = positionals;
  if (values.help || name === undefined) {
    process[values.help ? "stdout" : "stderr"].write(HELP);
    return values.help ? ExitCode.OK : ExitCode.USAGE;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new BijuliError("usage", `there is no command ${JSON.stringify(name)}`, { remedy: "--help lists them" });
  }
  const command = COMMANDS[name as keyof typeof COMMANDS];
  const { network, bookFile } = chosenNetwork(values, env, secrets);
  const book = readAddressBook(bookFile);
  const provider = await connect({ ...network, chainId: network.chainId ?? BigInt(book.chainId) });
  try {
    const { chainId } = await provider.getNetwork();
    if (chainId.toString() !== book.chainId) {
      throw new BijuliError("wrong-chain", `the address book is of chain ${book.chainId}, this is chain ${chainId}`);
    }
    if ((await provider.getCode(book.market)) === "0x") {
      throw new BijuliError("deployment-differs", `there is no market at ${book.market} on this chain`, {
        remedy: "bijuli deploy",
      });
    }
    const key = { keystore: values.keystore, network: network.name, chainId };
    const wallet = command === show ? undefined : await openKey(key, "BIJULI_KEY", env);
    return await command(new Desk(book, provider, wallet, network.confirmations ?? 1), rest, values, env);
  } finally {
    provider.destroy();
  }
}

await main(() => run(process.argv.slice(2), process.env), secrets);
