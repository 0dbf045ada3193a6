import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { BijuliError, ExitCode, type Hex, isHex, meterIdOf } from "@bijuli/protocol";
import { AbiCoder, formatEther, getAddress, parseEther } from "ethers";
import { z } from "zod";
import { marginWarning } from "../deployment/margin.ts";
import { say } from "./command.ts";
import { type Desk, done, feederId, ROLES } from "./feeder-desk.ts";
import { readFeederFile, termsOf } from "./feeder-file.ts";
import { readOpening } from "./opening.ts";

/** Consumers are listed in portions that fit a block. */
const PORTION = 100;
const ANY_PRICE = 2n ** 64n - 1n;

export interface Options {
  reader?: string | undefined;
  opening?: string | undefined;
  "capacity-watts"?: string | undefined;
  serial?: string | undefined;
  role?: string | undefined;
  limit?: string | undefined;
  deposit?: string | undefined;
  consent?: string | undefined;
  days?: string | undefined;
  "from-lot"?: string | undefined;
  feeder?: string | undefined;
  seat?: string[] | undefined;
  by?: string | undefined;
}

const usage = (message: string) => new BijuliError("usage", message, { remedy: "--help says more" });

/** Registers a meter with what it signed itself. */
export async function register(desk: Desk, _: readonly string[], options: Options, env: NodeJS.ProcessEnv) {
  if (!options.reader === !options.opening) throw usage("register takes --reader URL or --opening FILE");
  const watts = whole("capacity-watts", options["capacity-watts"], 10n ** 10n);
  const from = { reader: options.reader, file: options.opening, token: env.READER_TOKEN };
  const { serial, signer, reading, signature } = await readOpening(from, desk.book);
  if (options.serial !== undefined && meterIdOf(options.serial) !== reading.meterId) {
    throw new BijuliError("bad-identity", `the meter there is ${serial ?? reading.meterId}, not ${options.serial}`);
  }
  const name = serial ?? options.serial ?? reading.meterId;
  if (await desk.registry.getFunction("isMeter")(reading.meterId)) {
    const [known] = await desk.registry.getFunction("signerAt")(reading.meterId, reading.lot + 1n);
    if (known === getAddress(signer)) return done(`nothing to do: ${name} is registered with signer ${signer}`);
    throw new BijuliError("refused", `${name} is registered already, with signer ${known} and not ${signer}`);
  }
  const { meterId, lot, lotSeconds, forward, reverse, quality } = reading;
  const tuple = { meterId, lot, lotSeconds, forward, reverse, quality, energies: energiesOf(reading.energies) };
  const capacity = capacityUnits(watts, desk.book.lotSeconds);
  const args = [signer, capacity, tuple, signature];
  await desk.act(`registering ${name}`, desk.registry, "registerMeter", args, { restricted: true });
  return done(`${name} is registered: meter ${meterId}, signer ${signer}, from lot ${lot + 1n}, ${watts} W`);
}

export async function create(desk: Desk, [name, ...rest]: readonly string[]) {
  if (!name || rest.length > 0) throw usage("create takes one NAME");
  const feeder = feederId(name);
  if (await exists(desk, feeder)) return done(`nothing to do: the feeder ${name} is ${feeder}`);
  await desk.act(`creating ${name}`, desk.market, "createFeeder", [name], { restricted: true });
  return done(`the feeder ${name} is ${feeder}`);
}

/** A participant's own transaction; or, with its signed consent, anybody's. */
export async function join(desk: Desk, [name, ...rest]: readonly string[], options: Options) {
  if (options.consent !== undefined) return joinFor(desk, options.consent);
  if (!name || rest.length > 0) throw usage("join takes one FEEDER");
  const wish = await wishOf(desk, name, options);
  const owner = desk.wallet.address;
  for (const one of (await desk.joined(wish.feeder, wish.meterId)).reverse()) {
    if (one.owner !== owner || one.role !== wish.role || one.priceLimit !== wish.priceLimit) continue;
    const { endLot } = await desk.market.getFunction("accountOf")(one.account);
    if (endLot === 0n) return done(`nothing to do: ${owner} has joined ${name} as account ${one.account}`);
  }
  const deposit = ether("deposit", options.deposit);
  const args = [wish.feeder, wish.meterId, wish.role, wish.priceLimit];
  const receipt = await desk.act(`joining ${name}`, desk.market, "join", args);
  const account: bigint = desk.found(receipt, desk.market, "Joined")!.account;
  say(`${owner} is account ${account} of ${name}: ${ROLES[wish.role]} with meter ${wish.meterId}`);
  if (deposit > 0n) {
    await desk.act("the deposit", desk.market, "deposit", [account], { value: deposit });
    say(`${formatEther(deposit)} ether deposited`);
  }
  process.stdout.write(`${account}\n`);
  return ExitCode.OK;
}

/** Signs a consent and prints it: somebody else sends it. */
export async function consent(desk: Desk, [name, ...rest]: readonly string[], options: Options) {
  if (!name || rest.length > 0) throw usage("consent takes one FEEDER");
  const wish = await wishOf(desk, name, options);
  const days = options.days === undefined ? 7n : whole("days", options.days, 366n);
  const message = {
    owner: desk.wallet.address,
    ...wish,
    nonce: `${BigInt(`0x${randomBytes(16).toString("hex")}`)}`,
    deadline: `${BigInt(await desk.now()) + days * 86_400n}`,
  };
  const { domain, types } = consentType(desk);
  const signature = await desk.wallet.signTypedData(domain, types, message);
  const shown = { ...message, priceLimit: `${wish.priceLimit}`, signature };
  process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
  return done(`it binds ${message.owner} to nothing but this; join --consent FILE sends it, within ${days} days`);
}

const consentShape = z.strictObject({
  owner: z.custom<Hex>((value) => isHex(value, 20)),
  feeder: z.custom<Hex>((value) => isHex(value, 32)),
  meterId: z.custom<Hex>((value) => isHex(value, 32)),
  role: z.int().min(0).max(2),
  priceLimit: z.string().regex(/^[0-9]{1,20}$/),
  nonce: z.string().regex(/^[0-9]{1,78}$/),
  deadline: z.string().regex(/^[0-9]{1,20}$/),
  signature: z.custom<Hex>((value) => isHex(value)),
});

async function joinFor(desk: Desk, path: string) {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new BijuliError("bad-charter", `${path}: no consent can be read from it`);
  }
  const parsed = consentShape.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new BijuliError("bad-charter", `${path} is no consent: ${issue.path.join(".")} ${issue.message}`);
  }
  const { owner, feeder, meterId, role, priceLimit, nonce, deadline, signature } = parsed.data;
  const args = [owner, feeder, meterId, role, priceLimit, nonce, deadline, signature];
  const receipt = await desk.act(`joining for ${owner}`, desk.market, "joinFor", args);
  const account: bigint = desk.found(receipt, desk.market, "Joined")!.account;
  process.stdout.write(`${account}\n`);
  return done(`${owner} is account ${account}: ${ROLES[role as 0 | 1 | 2]} with meter ${meterId}`);
}

/** Sets terms, distributor and plants for lots not yet begun. */
export async function charter(desk: Desk, [path, ...rest]: readonly string[], options: Options) {
  if (!path || rest.length > 0) throw usage("charter takes one FILE");
  const file = readFeederFile(path, options.feeder);
  const feeder = feederId(file.name);
  const warning = marginWarning(file.name, file.terms);
  if (warning) say(`warning: ${warning}`);
  const distributor = (await desk.accountFor(feeder, identified(file.distributor), 1)).account;
  const plants = [];
  for (const plant of file.plants) {
    const { account } = await desk.accountFor(feeder, identified(plant), 0);
    plants.push({ account, pricePerKWh: BigInt(plant.pricePerKWh) });
  }
  const terms = termsOf(file);
  if (await sameCharter(desk, feeder, terms, distributor, plants)) {
    return done(`nothing to do: the charter of ${file.name} is that already`);
  }
  const fromLot = await fromLotOf(desk, options);
  const args = [feeder, fromLot, terms, distributor, plants];
  await desk.act(`the charter of ${file.name}`, desk.market, "setCharter", args, { restricted: true });
  return done(
    `${file.name} has its charter from lot ${fromLot} on: distributor ${distributor}, ${plants.length} plants`,
  );
}

/** Lists the consumers that a file names and that have joined; nobody is taken off. */
export async function list(desk: Desk, [path, ...rest]: readonly string[], options: Options) {
  if (!path || rest.length > 0) throw usage("list takes one FILE");
  const file = readFeederFile(path, options.feeder);
  const feeder = feederId(file.name);
  const wanted: bigint[] = [];
  const missing: string[] = [];
  for (const consumer of file.consumers) {
    try {
      const { account, firstLot } = await desk.accountFor(feeder, identified(consumer), 2);
      if (firstLot === 0n) wanted.push(account);
    } catch (error) {
      if (!(error instanceof BijuliError) || error.code !== "unknown") throw error;
      missing.push(consumer.serial);
    }
  }
  if (wanted.length > 0) {
    const fromLot = await fromLotOf(desk, options);
    for (let at = 0; at < wanted.length; at += PORTION) {
      const portion = wanted.slice(at, at + PORTION);
      await desk.act("listing", desk.market, "listConsumers", [feeder, fromLot, portion], { restricted: true });
    }
    say(`${wanted.length} consumers are listed in ${file.name} from lot ${fromLot} on`);
  } else {
    say(`nothing to do: who joined is listed`);
  }
  if (missing.length === 0) return ExitCode.OK;
  throw new BijuliError("unknown", `not joined yet: ${missing.join(", ")}`, {
    remedy: "their owners run bijuli feeder join; then run this again",
  });
}

/** Says which oracles serve a feeder, in which order, at what price. */
export async function operators(desk: Desk, [name, ...rest]: readonly string[], options: Options) {
  if (!name || rest.length > 0 || !options.seat) throw usage("operators takes one FEEDER and --seat OPERATOR,JOB,LINK");
  const feeder = feederId(name);
  const seats = options.seat.map((text) => seatOf(desk, text));
  const now = (await desk.events(desk.market, "OperatorsSet", feeder)).at(-1)?.args.operators as
    | { operator: string; specId: string; payment: bigint }[]
    | undefined;
  const key = (all: readonly { operator: string; specId: string; payment: bigint }[]) =>
    all.map((seat) => `${seat.operator} ${seat.specId} ${seat.payment}`.toLowerCase()).join();
  if (now && key(now) === key(seats)) return done(`nothing to do: ${name} has these operators`);
  await desk.act(`the operators of ${name}`, desk.market, "setOperators", [feeder, seats], { restricted: true });
  return done(`${name} is served by ${seats.map(({ operator }) => operator).join(", ")}`);
}

/** Puts a registered meter in the place of a member's, for lots not yet begun. */
export async function replace(desk: Desk, [name, ...rest]: readonly string[], options: Options) {
  const { serial, by } = options;
  if (!name || rest.length > 0 || !serial || !by) throw usage("replace takes one FEEDER, --serial OLD and --by NEW");
  const feeder = feederId(name);
  const account: bigint = await desk.market.getFunction("seatOf")(meterIdOf(serial));
  const now = account === 0n ? undefined : await desk.market.getFunction("accountOf")(account);
  if (now?.feeder !== feeder) throw new BijuliError("unknown", `no member of ${name} is read by meter ${serial}`);
  if (now.meterId === meterIdOf(by)) return done(`nothing to do: account ${account} is read by ${by}`);
  const fromLot = await fromLotOf(desk, options);
  const args = [account, meterIdOf(by), fromLot];
  await desk.act(`the meter of account ${account}`, desk.market, "replaceMeter", args, { restricted: true });
  return done(`account ${account} is read by ${by} from lot ${fromLot} on; ${serial} still reads the lots before`);
}

/** Pays LINK into a feeder's balance, from the sender's own. */
export async function fundLink(desk: Desk, [name, amount, ...rest]: readonly string[]) {
  if (!name || !amount || rest.length > 0) throw usage("fund-link takes FEEDER and LINK");
  const feeder = feederId(name);
  const juels = ether("LINK", amount);
  if (juels === 0n) throw usage("LINK must be more than 0");
  const owner = desk.wallet.address;
  const held: bigint = await desk.link.getFunction("balanceOf")(owner);
  if (held < juels) {
    throw new BijuliError("no-funds", `${owner} has ${formatEther(held)} LINK, not ${formatEther(juels)}`);
  }
  const data = AbiCoder.defaultAbiCoder().encode(["bytes32"], [feeder]);
  await desk.act(`LINK for ${name}`, desk.link, "transferAndCall", [desk.market.target, juels, data]);
  const { link } = await desk.market.getFunction("feederOf")(feeder);
  return done(`${name} has ${formatEther(link)} LINK`);
}

// -------------------------------------------------------------------------------------------- what they share

export async function exists(desk: Desk, feeder: Hex): Promise<boolean> {
  return (await desk.events(desk.market, "FeederCreated", feeder)).length > 0;
}

async function wishOf(desk: Desk, name: string, options: Options) {
  const feeder = feederId(name);
  if (!options.serial) throw usage("--serial SERIAL (or 0x and the meterId) says with which meter");
  const role = ROLES.indexOf(options.role as (typeof ROLES)[number]);
  if (role < 0) throw usage(`--role must be ${ROLES.join(", ")}`);
  if (!(await exists(desk, feeder))) throw new BijuliError("unknown", `there is no feeder ${name}`);
  const meterId = isHex(options.serial, 32) ? options.serial : meterIdOf(options.serial);
  return { feeder, meterId, role, priceLimit: limitOf(role, options.limit) };
}

/** Who pays must say up to which price; a plant may ask for a least one. */
function limitOf(role: number, limit: string | undefined): bigint {
  if (limit === "any") return role === 0 ? 0n : ANY_PRICE;
  if (limit === undefined) {
    if (role === 0) return 0n;
    throw usage("--limit WEI says the highest price per kWh that you consent to (or: any)");
  }
  return whole("limit", limit, ANY_PRICE);
}

function consentType(desk: Desk) {
  const domain = {
    name: "Bijuli Market",
    version: "1",
    chainId: BigInt(desk.book.chainId),
    verifyingContract: desk.book.market,
  };
  const fields = { owner: "address", feeder: "bytes32", meterId: "bytes32", role: "uint8", priceLimit: "uint64" };
  const all = { ...fields, nonce: "uint256", deadline: "uint256" };
  return { domain, types: { Consent: Object.entries(all).map(([name, type]) => ({ name, type })) } };
}

const identified = (meter: { serial: string; account?: string | undefined }) => ({
  serial: meter.serial,
  account: meter.account,
  meterId: meterIdOf(meter.serial),
});

/** The next lot with half a minute to spare: a change must be mined before its lot begins. */
async function fromLotOf(desk: Desk, options: Options): Promise<bigint> {
  if (options["from-lot"] !== undefined) return whole("from-lot", options["from-lot"], 2n ** 40n);
  const soon = BigInt(await desk.now()) + 30n;
  return soon / BigInt(desk.book.lotSeconds) + 1n;
}

async function sameCharter(
  desk: Desk,
  feeder: Hex,
  terms: ReturnType<typeof termsOf>,
  distributor: bigint,
  plants: readonly { account: bigint; pricePerKWh: bigint }[],
): Promise<boolean> {
  const now = (await desk.events(desk.market, "Chartered", feeder)).at(-1)?.args;
  if (!now || now.distributor !== distributor || now.plants.length !== plants.length) return false;
  const sameTerms = Object.entries(terms).every(([name, value]) => String(now.terms[name]) === String(value));
  const samePlants = plants.every(
    ({ account, pricePerKWh }, i) => now.plants[i].account === account && now.plants[i].pricePerKWh === pricePerKWh,
  );
  return sameTerms && samePlants;
}

/** `own`, or an Operator's address; a job's UUID, or a specId; LINK a request. */
function seatOf(desk: Desk, text: string): { operator: Hex; specId: Hex; payment: bigint } {
  const [operator = "", job = "", payment = "", ...rest] = text.split(",");
  const digits = job.replaceAll("-", "").toLowerCase();
  const isUuid = /^[0-9a-f]{32}$/.test(digits);
  if (rest.length > 0 || !(operator === "own" || isHex(operator, 20)) || !(isUuid || isHex(job, 32))) {
    throw usage(
      `--seat ${JSON.stringify(text)} must be OPERATOR,JOB,LINK: "own" or an address, a UUID or specId, LINK`,
    );
  }
  return {
    operator: operator === "own" ? desk.book.operator : (operator as Hex),
    specId: isUuid ? `0x${Buffer.from(digits, "ascii").toString("hex")}` : (job as Hex),
    payment: ether("seat", payment),
  };
}

/** What a rated power allows in a lot, in Units: watts · seconds / 0.36 J, rounded up. */
export function capacityUnits(watts: bigint, lotSeconds: number): bigint {
  return (watts * BigInt(lotSeconds) * 100n + 35n) / 36n;
}

function energiesOf(energies: readonly bigint[]): Hex {
  return `0x${energies.map((energy) => energy.toString(16).padStart(12, "0")).join("")}`;
}

function whole(name: string, value: string | undefined, most: bigint): bigint {
  if (value !== undefined && /^(0|[1-9][0-9]{0,29})$/.test(value) && BigInt(value) <= most) return BigInt(value);
  throw usage(
    `--${name} ${value === undefined ? "is needed:" : `${JSON.stringify(value)} must be`} a whole number up to ${most}`,
  );
}

function ether(name: string, value: string | undefined): bigint {
  if (value === undefined) return 0n;
  try {
    const amount = parseEther(value);
    if (amount >= 0n) return amount;
  } catch {
    // Said below.
  }
  throw usage(`${name} ${JSON.stringify(value)} must be a decimal number with at most 18 places`);
}
