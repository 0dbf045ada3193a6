#!/usr/bin/env node
// `bijuli bill`: writes an account's bill with everything that it follows from.
import { renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { BijuliError, ExitCode, type Hex, isHex, meterIdOf } from "@bijuli/protocol";
import {
  accountName,
  accountsOf,
  type Bill,
  chargedLots,
  collectBill,
  EXPORTS,
  type ExportFormat,
  exportBill,
  lotAfter,
  lotBeforeTime,
  parseBillFile,
  type Rpc,
  verifyBill,
} from "../evidence/index.ts";
import { Rpc as RpcClient } from "../server/rpc.ts";
import { hexOption, main, readJson, usage } from "./command.ts";

const HELP = `bijuli bill --account ACCOUNT --registry 0x… [options]
bijuli bill --in FILE --format csv|greenbutton|html [--out FILE]

Writes the bill of an account with everything behind it: readings and signatures, terms and prices, events and
transactions, and the proofs that they are the chain's. \`bijuli verify\` checks the file offline. With --in, another form
of a bill that was written before; it is checked first.

  --account N         the account's number in the market, or its owner's address, or its meter's serial
  --feeder NAME       which feeder, where the owner or the meter has accounts in several
  --registry 0x…      the MeterRegistry's address; or --book FILE, the deployment's address book
  --since BLOCK       the deployment's block, before which nothing is looked for; the book tells it
  --from LOT|TIME     the first lot, or the time at which it begins (ISO 8601); the account's first unless told
  --to LOT|TIME       the last lot, or the time at which it is over; the last that was charged unless told
  --rpc URL           an Ethereum node's JSON-RPC (http://127.0.0.1:8545, or RPC_URL); for old lots one that keeps old state
  --format FORMAT     json (the bill with its evidence, which can be checked), csv, greenbutton (ESPI 1.1 Atom), html (to print)
  --in FILE           take the bill from a file instead of from a chain
  --out FILE          where to; compressed when it ends in .gz; standard output unless told

Exit codes: 0 written, 1 failed, 2 wrong usage or input, 75 try again later (not yet cleared, node not reachable).
`;

const options = {
  account: { type: "string" },
  feeder: { type: "string" },
  registry: { type: "string" },
  book: { type: "string" },
  since: { type: "string" },
  from: { type: "string" },
  to: { type: "string" },
  rpc: { type: "string" },
  format: { type: "string", default: "json" },
  in: { type: "string" },
  out: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

type Values = ReturnType<typeof parse>["values"];
const parse = (args: string[]) => parseArgs({ args, options, strict: true });

async function run(args: string[]): Promise<number> {
  const { values } = parse(args);
  if (values.help) {
    process.stdout.write(HELP);
    return ExitCode.OK;
  }
  const format = values.format as ExportFormat;
  if (!EXPORTS.includes(format)) throw usage(`--format ${values.format}: there are ${EXPORTS.join(", ")}`);
  const text = values.in === undefined ? await fromChain(values, format) : await fromFile(values.in, format);
  if (values.out === undefined) process.stdout.write(text);
  else write(values.out, text);
  return ExitCode.OK;
}

async function fromFile(path: string, format: ExportFormat): Promise<string> {
  const json = readJson(path);
  const verdict = await verifyBill(json);
  if (!verdict.holds) throw new BijuliError("does-not-hold", `${path} does not hold: ${verdict.first}`);
  return exportBill(format, verdict.bill, parseBillFile(json));
}

async function fromChain(values: Values, format: ExportFormat): Promise<string> {
  if (values.account === undefined) throw usage("--account is missing");
  const book = bookIn(values.book);
  const registry = hexOption("registry", values.registry, 20) ?? book?.registry;
  if (registry === undefined) throw usage("--registry (or --book) is missing");
  if (values.since !== undefined && !/^[0-9]{1,12}$/.test(values.since))
    throw usage("--since must be a block's number");
  const since = values.since === undefined ? (book?.since ?? 0) : Number(values.since);
  const urls = (values.rpc ?? (process.env.RPC_URL || "http://127.0.0.1:8545")).split(",").map((url) => url.trim());
  if (!urls.every((url) => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)))
    throw usage("--rpc (or RPC_URL) must be http or https URLs");
  const client = new RpcClient(urls, 30_000);
  const rpc: Rpc = (method, params) => client.call(method, params);

  const account = await accountNamed(rpc, registry, since, values.account, values.feeder);
  const charged = await chargedLots(rpc, registry, account, since);
  const asked = moment(values.from, "from", (time) => lotAfter(time, charged.lotSeconds)) ?? charged.first;
  // nothing is charged before an account's first lot: a month's bill begins there when it joined within the month
  const from = asked < charged.first ? charged.first : asked;
  const to = moment(values.to, "to", (time) => lotBeforeTime(time, charged.lotSeconds)) ?? charged.last;
  if (from > to) throw usage(`lot ${from}, the first that is charged, lies behind lot ${to}, the last`);
  const { file, bill } = await collectBill(rpc, { registry, account, from, to, since });
  say(bill);
  return exportBill(format, bill, file);
}

async function accountNamed(
  rpc: Rpc,
  registry: Hex,
  since: number,
  name: string,
  feeder: string | undefined,
): Promise<number> {
  const named = accountName(name);
  if ("account" in named && feeder === undefined) return named.account;
  // with a feeder, digits are a serial
  const by = "account" in named ? { meterId: meterIdOf(name) } : named;
  const all = await accountsOf(rpc, registry, by, since);
  const found = feeder === undefined ? all : all.filter((one) => one.name === feeder || one.feeder === feeder);
  if (found.length === 1) return found[0]!.account;
  const where = found.map((one) => `${one.account} (${one.role} in ${one.name})`).join(", ");
  throw new BijuliError(
    "no-such-account",
    found.length === 0 ? `the market has no account of ${name}` : `${name} has several accounts: ${where}`,
    {
      remedy:
        found.length === 0
          ? "give the account's number, its owner's address or its meter's serial"
          : "give one's number",
    },
  );
}

/** What an address book says of the registry and of the deployment's block. */
function bookIn(path: string | undefined): { registry: Hex; since: number } | undefined {
  if (path === undefined) return undefined;
  const { registry, blockNumber } = (readJson(path) ?? {}) as { registry?: unknown; blockNumber?: unknown };
  if (!isHex(registry, 20)) throw new BijuliError("bad-file", `${path} is no address book: registry is missing`);
  return { registry: registry.toLowerCase() as Hex, since: typeof blockNumber === "number" ? blockNumber : 0 };
}

/** A lot's number, or a time. */
function moment(text: string | undefined, name: string, lotAt: (time: number) => bigint): bigint | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,12}$/.test(text)) return BigInt(text);
  const time = Date.parse(text);
  if (!/^[0-9]{4}-/.test(text) || Number.isNaN(time)) {
    throw usage(`--${name} ${JSON.stringify(text)} must be a lot or a time such as 2026-11-01T00:00Z`);
  }
  return lotAt(time / 1000);
}

/** Written at once or not at all. */
function write(path: string, text: string): void {
  try {
    writeFileSync(`${path}.new`, path.endsWith(".gz") ? gzipSync(text) : text, { flush: true });
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw new BijuliError("bad-file", `${path} cannot be written: ${(cause as Error).message}`);
  }
}

function say({ block, registry, lots, transactions }: Bill): void {
  process.stderr.write(
    `${lots.length} lots, ${transactions.length} transactions; check it with --registry ${registry} --block-hash ${block.hash} (block ${block.number})\n`,
  );
}

await main(run);
