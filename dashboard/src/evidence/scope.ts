import type { Hex } from "@bijuli/protocol";
import type { BillCharter, BillRequest } from "./bill.ts";
import type { Header } from "./block.ts";
import type { Span } from "./charges.ts";
import { type ChargedClearing, clearingsBetween } from "./clearings.ts";
import type { Concern } from "./evidence-events.ts";
import { type AccountPlace, MarketReader } from "./market-state.ts";
import type { ProvenChain } from "./proven-chain.ts";
import { type RegistryFacts, registryFacts } from "./registry-state.ts";
import { DoesNotHold } from "./witness.ts";

/** What the proven state says a bill is about: whose accounts, which clearings, which meters, and so which events. */
export interface Scope extends RegistryFacts {
  place: AccountPlace;
  /** The block at which the account is opened. */
  opened: Header;
  feeder: Hex;
  /** The account's own, and everybody else's whose money is counted. */
  spans: Map<number, Span>;
  /** The first lot that was settled between the two blocks, for plants and the distributor. */
  settledFrom: bigint;
  clearings: ChargedClearing[];
  charters: BillCharter[];
  /** account → its meters, each with the first lot that it is read for, of the consumers that the bill is about. */
  consumers: Map<number, Map<Hex, bigint>>;
  /** The accounts of the plants that the bill is about. */
  plants: Set<number>;
  /** The first and the last lot of the clearings. */
  reach: [bigint, bigint];
  concern: Concern;
}

/**
 * Reads a bill's scope out of the state at the trusted block, and at the block before its first transaction.
 * @throws DoesNotHold also where the account is not charged for the lots asked for between the two
 */
export async function scopeOf(
  chain: ProvenChain,
  { registry, chainId }: { registry: Hex; chainId: bigint },
  { account, from, to, before, debtors }: Pick<BillRequest, "account" | "from" | "to" | "before" | "debtors">,
): Promise<Scope> {
  const head = chain.head.number;
  const code = await chain.code(head, registry, `the code of the MeterRegistry at ${registry}`);
  const facts = registryFacts(code, registry, chainId);
  const opened = chain.header(before);
  if (before >= head) throw new DoesNotHold(`the bill is opened at block ${before} and closed at block ${head}`);

  const market = new MarketReader(chain, facts.market);
  const place = await market.place(head, account);
  const feeder = { number: place.feederNumber, id: await market.feederId(head, place.feederNumber) };
  const spans = new Map<number, Span>();
  const know = async (accounts: Iterable<number>) => {
    for (const one of accounts) {
      if (spans.has(one)) continue;
      const after = await market.stand(head, one);
      const had = await market.stand(before, one);
      // who was not yet listed begins at its first lot, with the register that its first reading tells
      const unlisted = had.cursor === 0n && after.cursor !== 0n;
      const cursor = unlisted ? (await market.firstLot(head, one)) - 1n : had.cursor;
      spans.set(one, { account: one, before: { ...had, cursor, fresh: had.fresh || unlisted }, after });
    }
  };
  await know([account, ...debtors]);
  const own = spans.get(account)!;
  const settledFrom = (await market.settled(before, feeder.id)) + 1n;
  const [first, last] =
    place.role === "consumer"
      ? [own.before.cursor + 1n, own.after.cursor]
      : [settledFrom, await market.settled(head, feeder.id)];
  if (from < first || to > last || from > to) {
    throw new DoesNotHold(
      `lots ${from} to ${to}: between blocks ${before} and ${head}, account ${account} is charged for lots ${first} to ${last}`,
    );
  }

  const everyone = place.role === "distributor";
  // a consumer's meter stands in its account, unless another took its place: then the charters' lists tell from when on
  const listed = everyone || (place.role === "consumer" && own.after.replacedFrom !== 0n);
  const consumers = new Map<number, Map<Hex, bigint>>();
  if (place.role === "consumer" && !listed) consumers.set(account, new Map([[place.meterId, 0n]]));
  let reach = first;
  let tiled = await clearingsBetween(market, head, feeder, [reach, last], listed);
  for (;;) {
    for (const { charter } of tiled.clearings) {
      for (const one of charter.consumers) {
        if (!everyone && one.account !== account) continue;
        const meters = consumers.get(one.account) ?? new Map<Hex, bigint>();
        const known = meters.get(one.meterId);
        if (known === undefined || charter.fromLot < known) meters.set(one.meterId, charter.fromLot);
        consumers.set(one.account, meters);
      }
    }
    await know(consumers.keys());
    // a consumer that was behind is charged for lots that were settled earlier
    let lowest = reach;
    for (const one of consumers.keys()) {
      const { before: had, after: has } = spans.get(one)!;
      if (had.cursor < has.cursor && had.cursor + 1n < lowest) lowest = had.cursor + 1n;
    }
    if (lowest === reach) break;
    reach = lowest;
    tiled = await clearingsBetween(market, head, feeder, [reach, last], listed);
  }
  const { clearings, charters } = tiled;

  const plants = clearings
    .flatMap(({ charter }) => charter.plants)
    .filter((plant) => everyone || (place.role === "plant" && plant.account === account));
  await know(plants.map((plant) => plant.account));
  return {
    ...facts,
    place,
    opened,
    feeder: feeder.id,
    spans,
    settledFrom,
    clearings,
    charters,
    consumers,
    plants: new Set(plants.map((plant) => plant.account)),
    reach: [reach, last],
    concern: {
      feeder: feeder.id,
      clearings: new Set(clearings.map(({ proven }) => proven.last)),
      suppliers: new Set(
        clearings.flatMap(({ charter }) => [...charter.plants, charter.distributor].map(({ meterId }) => meterId)),
      ),
      consumers: new Set([...consumers.values()].flatMap((meters) => [...meters.keys()])),
      paid: new Set(plants.map(({ meterId }) => meterId)),
      account,
      debtors: new Set(debtors),
      before,
    },
  };
}
