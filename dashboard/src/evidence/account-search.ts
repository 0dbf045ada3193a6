import { feederName } from "@bijuli/dashboard/ledger";
import { BijuliError, type Hex } from "@bijuli/protocol";
import { type FoundEvent, LogSearch, metersOf, registryView } from "./log-search.ts";
import { ROLES, type Role } from "./market-state.ts";
import type { Rpc } from "./rpc-supplier.ts";

/** An account, as its node tells of it. */
export interface FoundAccount {
  account: number;
  role: Role;
  owner: Hex;
  meterId: Hex;
  feeder: Hex;
  /** The feeder's name. */
  name: string;
}

/** The accounts of an owner, or with a meter. */
export async function accountsOf(
  rpc: Rpc,
  registry: Hex,
  by: { owner: Hex } | { meterId: Hex },
  since = 0,
): Promise<FoundAccount[]> {
  const { search, head } = await searchOf(rpc, registry, since);
  const joined = await search.find(["Joined"], "meterId" in by ? [undefined, undefined, by.meterId] : [], [0, head]);
  const accounts: FoundAccount[] = [];
  for (const { args } of joined) {
    if ("owner" in by && args.owner.toLowerCase() !== by.owner) continue;
    const [feeder] = await search.find(["FeederCreated"], [args.feeder], [0, head]);
    accounts.push({
      account: Number(args.account),
      role: ROLES[Number(args.role)]!,
      owner: args.owner,
      meterId: args.meterId,
      feeder: args.feeder,
      name: feeder ? feederName(feeder) : args.feeder,
    });
  }
  return accounts;
}

/**
 * The lots that an account has been charged for.
 * @param since the deployment's block, before which nothing is looked for
 * @throws BijuliError no-such-account, not-cleared when there are none yet
 */
export async function chargedLots(
  rpc: Rpc,
  registry: Hex,
  account: number,
  since = 0,
): Promise<{ first: bigint; last: bigint; lotSeconds: number }> {
  const { search, head } = await searchOf(rpc, registry, since);
  const [joined] = await search.find(["Joined"], [BigInt(account)], [0, head]);
  if (!joined) throw new BijuliError("no-such-account", `the market has no account ${account}`);
  const { feeder, role } = joined.args;
  const meters = await metersOf(search, account, head);
  const consumer = ROLES[Number(role)] === "consumer";
  const names = consumer ? ["ConsumersListed", "ConsumersDelisted"] : ["Chartered"];
  const changes = await search.find(names, [feeder], [0, head]);
  const named = ({ args }: FoundEvent) =>
    consumer
      ? args.accounts.includes(BigInt(account))
      : args.distributor === BigInt(account) ||
        args.plants.some((seat: { account: bigint }) => seat.account === BigInt(account));
  const listed = changes.find(named);
  // another account may have the meter, or the place, from there on
  const left = [
    ...(await search.find(["Left"], [BigInt(account)], [0, head])),
    ...changes.slice(changes.indexOf(listed!) + 1).filter((change) => named(change) === consumer),
  ].map(({ args }): bigint => args.fromLot);
  const cleared = consumer
    ? await search.find(["ConsumerCleared"], [feeder, meters], [0, head])
    : await search.find(["DistributorCleared"], [feeder], [0, head]);
  const last = cleared.findLast(({ args }) => left.every((lot) => args.lot < lot))?.args.lot;
  if (!listed || last === undefined || last < listed.args.fromLot) {
    throw new BijuliError("not-cleared", `account ${account} has not been charged for any lot yet`);
  }
  const lotSeconds = Number(await registryView(rpc, registry, "lotSeconds", []));
  return { first: listed.args.fromLot, last, lotSeconds };
}

/** The first lot that begins at a time (unix seconds) or later. */
export const lotAfter = (time: number, lotSeconds: number): bigint => BigInt(Math.ceil(time / lotSeconds));

/** The last lot that is over at a time (unix seconds). */
export const lotBeforeTime = (time: number, lotSeconds: number): bigint => BigInt(Math.floor(time / lotSeconds)) - 1n;

async function searchOf(rpc: Rpc, registry: Hex, since: number): Promise<{ search: LogSearch; head: number }> {
  const [market] = await registryView(rpc, registry, "market", []);
  return { search: new LogSearch(rpc, market, since), head: Number(await rpc("eth_blockNumber", [])) };
}
