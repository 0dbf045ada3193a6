import { BijuliError, ExitCode, formatKWh } from "@bijuli/protocol";
import { formatEther } from "ethers";
import { marginWarning } from "../deployment/margin.ts";
import { type Desk, feederId, ROLES } from "./feeder-desk.ts";

/** A feeder as the chain has it: terms, operators, members with their cursors and balances, LINK. */
export async function show(desk: Desk, [name, ...rest]: readonly string[], options: { json?: boolean | undefined }) {
  if (rest.length > 0) throw new BijuliError("usage", "show takes one FEEDER, or none to see which there are");
  const state = name === undefined ? await feeders(desk) : await feederState(desk, name);
  const text = options.json ? JSON.stringify(state) : lines(state).join("\n");
  process.stdout.write(`${text}\n`);
  return ExitCode.OK;
}

async function feeders(desk: Desk) {
  const created = await desk.events(desk.market, "FeederCreated");
  const meters = await desk.events(desk.registry, "MeterRegistered");
  return {
    market: desk.book.market,
    registry: desk.book.registry,
    feeders: created.map(({ args }) => ({ name: args.name, feeder: args.feeder })),
    meters: meters.map(({ args }) => ({ meterId: args.meterId, signer: args.signer, fromLot: `${args.fromLot}` })),
  };
}

async function feederState(desk: Desk, name: string) {
  const feeder = feederId(name);
  const [created] = await desk.events(desk.market, "FeederCreated", feeder);
  if (!created) {
    throw new BijuliError("unknown", `there is no feeder ${name}`, { remedy: "show without a name lists them" });
  }
  const view = (method: string, ...args: unknown[]) => desk.market.getFunction(method)(...args);
  const [state, charters, seats] = await Promise.all([
    view("feederOf", feeder),
    desk.events(desk.market, "Chartered", feeder),
    desk.events(desk.market, "OperatorsSet", feeder),
  ]);
  const newest = charters.at(-1)?.args;
  const operators = (seats.at(-1)?.args.operators ?? []) as { operator: string; specId: string; payment: bigint }[];
  const prices = new Map<bigint, bigint>(
    (newest?.plants ?? []).map(({ account, pricePerKWh }: { account: bigint; pricePerKWh: bigint }) => [
      account,
      pricePerKWh,
    ]),
  );
  const members = await Promise.all(
    (await desk.joined(feeder)).map(async ({ account, meterId, role, owner, priceLimit }) => {
      const [at, cursor, balance, arrears, withdrawable] = await Promise.all([
        view("accountOf", account),
        view("cursorOf", account),
        view("balanceOf", account),
        view("arrearsOf", account),
        view("withdrawable", account).catch(() => undefined),
      ]);
      return {
        account: `${account}`,
        role: ROLES[role as 0 | 1 | 2],
        meterId,
        owner,
        priceLimit: `${priceLimit}`,
        ...(prices.has(account) && { pricePerKWh: `${prices.get(account)}` }),
        firstLot: `${at.firstLot}`,
        endLot: `${at.endLot}`,
        clearedThrough: `${cursor.cursor}`,
        register: `${cursor.register}`,
        balance: `${balance}`,
        withdrawable: withdrawable === undefined ? null : `${withdrawable}`,
        owed: `${arrears.owed}`,
      };
    }),
  );
  const next = newest ? await view("nextOpening", feeder).catch(() => undefined) : undefined;
  const terms: Record<string, string> = newest
    ? Object.fromEntries(Object.entries(newest.terms.toObject()).map(([k, v]) => [k, `${v}`]))
    : {};
  const dearest = operators.reduce((most, { payment }) => (payment > most ? payment : most), 0n);
  return {
    name: created.args.name as string,
    feeder,
    openedLot: `${state.openedLot}`,
    clearedLot: `${state.clearedLot}`,
    nextOpening: next ? { lot: `${next.lot}`, notBefore: `${next.notBefore}` } : null,
    paused: state.paused as boolean,
    link: `${state.link}`,
    /** Plant, distributor and at least one page of consumers are asked for in each opening. */
    openingsPaid: dearest === 0n ? null : `${state.link / (3n * dearest)}`,
    operators: operators.map(({ operator, specId, payment }) => ({ operator, specId, payment: `${payment}` })),
    charter: newest
      ? { fromLot: `${newest.fromLot}`, distributor: `${newest.distributor}`, consumers: `${newest.consumers}`, terms }
      : null,
    members,
  };
}

type State = Awaited<ReturnType<typeof feederState>>;

function lines(state: State | Awaited<ReturnType<typeof feeders>>): string[] {
  if ("feeders" in state) {
    return [
      `market ${state.market}, registry ${state.registry}, ${state.meters.length} meters`,
      ...state.feeders.map(({ name, feeder }) => `${name}  ${feeder}`),
    ];
  }
  const { charter } = state;
  const out = [
    `${state.name}  ${state.feeder}${state.paused ? "  OPENINGS ARE PAUSED" : ""}`,
    `opened through lot ${state.openedLot}, plants and distributor cleared through ${state.clearedLot}`,
  ];
  if (state.nextOpening) {
    const at = new Date(Number(state.nextOpening.notBefore) * 1000).toISOString();
    out.push(`next opening: lot ${state.nextOpening.lot}, from ${at} on`);
  }
  out.push(
    `${formatEther(state.link)} LINK${state.openingsPaid === null ? "" : `, enough for about ${state.openingsPaid} openings`}`,
  );
  for (const { operator, payment } of state.operators) out.push(`operator ${operator} at ${formatEther(payment)} LINK`);
  if (state.operators.length === 0) out.push("no operator: nobody is asked for readings");
  if (charter) {
    const terms = Object.entries(charter.terms).map(([term, value]) => `${term} ${value}`);
    out.push(`charter from lot ${charter.fromLot} on, ${charter.consumers} consumers: ${terms.join(", ")}`);
    const { idealLossBps = "0", serviceBps = "0" } = charter.terms;
    const warning = marginWarning(state.name, { idealLossBps: Number(idealLossBps), serviceBps: Number(serviceBps) });
    if (warning) out.push(`warning: ${warning}`);
  } else {
    out.push("no charter yet");
  }
  for (const m of state.members) {
    const where =
      m.endLot !== "0" ? `until lot ${m.endLot}` : m.firstLot === "0" ? "not listed" : `from lot ${m.firstLot}`;
    const price = m.pricePerKWh ? `, ${m.pricePerKWh} wei per kWh` : "";
    const owed = m.owed === "0" ? "" : `, OWES ${formatEther(m.owed)}`;
    out.push(
      `account ${m.account} ${m.role}, meter ${m.meterId}, ${where}, cleared through ${m.clearedThrough} at ${formatKWh(BigInt(m.register))} kWh, ${formatEther(m.balance)} ether${price}${owed}`,
    );
  }
  return out;
}
