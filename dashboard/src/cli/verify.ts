#!/usr/bin/env node
// `bijuli verify FILE`: checks a bill offline, from the signatures up.
import { parseArgs } from "node:util";
import { ExitCode } from "@bijuli/protocol";
import { accountName, type Bill, energyText, etherText, isBillOf, verifyBill } from "../evidence/index.ts";
import { hexOption, main, readJson, say, usage } from "./command.ts";

const HELP = `bijuli verify FILE [--registry 0x…] [--block-hash 0x…] [--account ACCOUNT]

Checks a bill that \`bijuli bill\` wrote, offline: makes it again from the meters' signatures and from what the block's
hash proves, and compares. The first thing that does not hold is named.

  --registry 0x…      the MeterRegistry's address, as its regulator published it
  --block-hash 0x…    the hash of the block at which the bill is closed, as any block explorer or node tells it
                      Without these two, the file's own are taken: then all is consistent, but whether the block and
                      the registry are the real ones is only the file's claim.
  --account ACCOUNT   whose bill it must be: the account's number, its owner's address, or its meter's serial

Exit codes: 0 it holds, 1 it does not, 2 wrong usage or no bill.
`;

const options = {
  registry: { type: "string" },
  "block-hash": { type: "string" },
  account: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true });
  if (values.help) {
    process.stdout.write(HELP);
    return ExitCode.OK;
  }
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) throw usage("verify takes one FILE");
  const registry = hexOption("registry", values.registry, 20);
  const blockHash = hexOption("block-hash", values["block-hash"], 32);
  const name = values.account === undefined ? undefined : accountName(values.account);
  const verdict = await verifyBill(readJson(file), {
    ...(registry ? { registry } : {}),
    ...(blockHash ? { blockHash } : {}),
  });
  if (!verdict.holds) {
    say(`${file} does not hold: ${verdict.first}`);
    return ExitCode.FATAL;
  }
  if (name !== undefined && !isBillOf(verdict.bill, name)) {
    say(`${file} is not the bill of ${values.account}: ${whose(verdict.bill)}`);
    return ExitCode.FATAL;
  }
  process.stdout.write(`${summary(verdict.bill)}\n`);
  for (const name of verdict.claimed) {
    const { bill } = verdict;
    const [what, value, option] =
      name === "registry"
        ? ["the MeterRegistry's address", bill.registry, "--registry"]
        : ["the block's hash", bill.block.hash, "--block-hash"];
    process.stdout.write(`only claimed by the file: ${what} ${value}; compare it yourself, or give ${option}\n`);
  }
  return ExitCode.OK;
}

const whose = ({ role, account, owner, meterId }: Bill): string =>
  `${role}, account ${account}, owner ${owner}, meter ${meterId}`;
const time = (seconds: number): string => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");

function summary(bill: Bill): string {
  const { account, role, from, to, lots, lotSeconds, totals, money, transactions, block } = bill;
  const { owes, earns, energy } = totals;
  return [
    `the bill holds: ${role}, account ${account}, lots ${from} to ${to} (${lots.length}), ${energyText(energy)}`,
    `it is that of ${whose(bill)}, from ${time(lots[0]!.start)} to ${time(lots.at(-1)!.start + lotSeconds)}`,
    `owes ${etherText(owes)}, earns ${etherText(earns)}; balance ${etherText(money.closing.balance)}, arrears ${etherText(money.closing.owed)}`,
    `proved by ${transactions.length} transactions up to block ${block.number} (${time(block.timestamp)})`,
  ].join("\n");
}

await main(run);
