import { type Hex, recoverReadingSigner } from "@bijuli/protocol";
import {
  type Bill,
  type BillBlock,
  type BillLot,
  type BillRequest,
  type ConsumerPart,
  type PlantPart,
  sumOf,
} from "./bill.ts";
import type { Header } from "./block.ts";
import { balance, chargeConsumer, payPlant, type Span } from "./charges.ts";
import { clearingsBetween, type PricedLot, priceAgain, startOf } from "./clearings.ts";
import { type ProvenEvent, provenEvents, shown } from "./evidence-events.ts";
import { MarketReader } from "./market-state.ts";
import type { ProvenChain } from "./proven-chain.ts";
import { ReadingBook, type Recover } from "./reading-book.ts";
import { keysOf, registryFacts } from "./registry-state.ts";
import { DoesNotHold } from "./witness.ts";

/** What is trusted, besides keccak256 and secp256k1. */
export interface Trust {
  registry: Hex;
  /** The block at which the bill ends. */
  blockHash: Hex;
}

/**
 * Makes a bill from the signatures up: every number in it follows from signed readings and from what the trusted block
 * proves. Whoever makes a bill runs this over a node, whoever checks one over the file's witness: it is the same bill,
 * or it is none.
 * @throws DoesNotHold naming the first thing that does not
 */
export async function deriveBill(
  chain: ProvenChain,
  { registry, chainId }: { registry: Hex; chainId: bigint },
  request: BillRequest,
  recover: Recover = recoverReadingSigner,
): Promise<Bill> {
  const { account, from, to } = request;
  const head = chain.head.number;
  const { market: address, lotSeconds } = registryFacts(
    await chain.code(head, registry, `the code of the MeterRegistry at ${registry}`),
    registry,
    chainId,
  );
  const readings = new ReadingBook(request.readings, { chainId, registry }, lotSeconds, recover);
  const opened = chain.header(request.before);
  if (opened.number >= head)
    throw new DoesNotHold(`the bill is opened at block ${opened.number} and closed at block ${head}`);

  const market = new MarketReader(chain, address);
  const place = await market.place(head, account);
  const feeder = { number: place.feederNumber, id: await market.feederId(head, place.feederNumber) };
  const span = async (of: number): Promise<Span> => ({
    account: of,
    before: await market.stand(opened.number, of),
    after: await market.stand(head, of),
  });
  const own = await span(account);
  const settled: [bigint, bigint] = [
    (await market.settled(opened.number, feeder.id)) + 1n,
    await market.settled(head, feeder.id),
  ];
  const [first, last] = place.role === "consumer" ? [own.before.cursor + 1n, own.after.cursor] : settled;
  if (from < first || to > last || from > to) {
    throw new DoesNotHold(
      `lots ${from} to ${to}: between blocks ${opened.number} and ${head}, account ${account} is charged for lots ${first} to ${last}`,
    );
  }

  const everyone = place.role === "distributor";
  const spans = new Map<number, Span>([[account, own]]);
  const know = async (accounts: Iterable<number>) => {
    for (const one of accounts) if (!spans.has(one)) spans.set(one, await span(one));
  };
  await know(request.debtors);
  const members = new Map<number, Hex>();
  if (place.role === "consumer") members.set(account, place.meterId);
  let reach = first;
  let { clearings, charters } = await clearingsBetween(market, head, feeder, [reach, last], everyone);
  while (everyone) {
    // a consumer that was behind is charged for lots that were settled earlier
    for (const { charter } of clearings) for (const one of charter.consumers) members.set(one.account, one.meterId);
    await know(members.keys());
    const behind = [...members.keys()]
      .map((one) => spans.get(one)!)
      .filter(({ before, after }) => before.cursor < after.cursor);
    const lowest = behind.reduce((lot, { before }) => (before.cursor + 1n < lot ? before.cursor + 1n : lot), reach);
    if (lowest === reach) break;
    reach = lowest;
    ({ clearings, charters } = await clearingsBetween(market, head, feeder, [reach, last], everyone));
  }
  const paid = new Map(
    place.role === "consumer"
      ? []
      : clearings.flatMap(({ charter }) =>
          charter.plants
            .filter((plant) => everyone || plant.account === account)
            .map((one) => [one.account, one.meterId]),
        ),
  );
  await know(paid.keys());

  const suppliers = new Set(
    clearings.flatMap(({ charter }) => [...charter.plants, charter.distributor].map(({ meterId }) => meterId)),
  );
  for (const meterId of new Set([...suppliers, ...members.values()])) {
    readings.know(meterId, await keysOf(chain, head, registry, meterId, [reach, last]));
  }

  const events = await provenEvents(chain, address, request.transactions, {
    feeder: feeder.id,
    clearings: new Set(clearings.map(({ proven }) => proven.last)),
    suppliers,
    consumers: new Set(members.values()),
    paid: new Set(paid.values()),
    account,
    debtors: new Set(request.debtors),
    before: opened.number,
  });
  const lots = new Map<bigint, PricedLot>();
  for (const clearing of clearings) {
    const own = events.filter(({ args }) => args.lot === clearing.proven.last);
    for (const priced of priceAgain(clearing, readings, own)) lots.set(priced.lot, priced);
  }

  const named = (name: string) => events.filter((event) => event.name === name);
  const charges = [...members].map(([one, meterId]) =>
    chargeConsumer(meterId, spans.get(one)!, lots, readings, named("ConsumerCleared")),
  );
  const paying = [...lots.values()].filter(({ lot }) => lot >= settled[0]);
  const payments = new Map([...paid.keys()].map((one) => [one, payPlant(spans.get(one)!, paying, named("PlantPaid"))]));
  const watched = [own, ...request.debtors.map((one) => spans.get(one)!)];
  const moved = balance(watched, events, charges, lots);
  readings.allUsed();

  const billed = [...lots.values()].filter(({ lot }) => lot >= from && lot <= to);
  const shownLots = billed.map((priced): BillLot => {
    const consumers = charges.flatMap(({ parts }): ConsumerPart | [] => parts.get(priced.lot) ?? []);
    const plants = priced.plants.map(
      (plant): PlantPart => ({ ...plant, money: payments.get(plant.account)?.get(priced.lot) ?? null }),
    );
    const { cleared, clearing } = priced;
    return {
      lot: priced.lot,
      start: startOf(priced.lot, lotSeconds),
      clearing: clearing.proven.last,
      charter: clearing.proven.charter,
      sent: cleared.sent,
      received: priced.received,
      receivedMeasured: priced.receivedMeasured,
      lost: cleared.lost,
      actualLoss: cleared.actualLoss,
      excessLoss: cleared.excessLoss,
      factor: cleared.factor,
      penaltyWaived: priced.penaltyWaived,
      pricePerKWh: cleared.pricePerKWh,
      plants,
      consumers,
    };
  });
  const used = sumOf(shownLots.flatMap(({ consumers }) => consumers.map(({ money }) => money)));
  const delivered = sumOf(shownLots.flatMap(({ plants }) => plants.map(({ money }) => money ?? 0n)));
  return {
    registry,
    chainId,
    market: address,
    lotSeconds,
    feeder: feeder.id,
    account,
    role: place.role,
    owner: place.owner,
    meterId: place.meterId,
    priceLimit: place.priceLimit,
    from,
    to,
    block: blockOf(chain.head),
    before: blockOf(opened),
    meters: readings.meters,
    charters,
    transactions: transactionsOf(events),
    events: events.map(shown),
    lots: shownLots,
    totals: {
      energy: sumOf(shownLots.map((lot) => energyOfAccount(lot, account))),
      owes: place.role === "consumer" ? used : place.role === "distributor" ? delivered : 0n,
      earns: place.role === "plant" ? delivered : place.role === "distributor" ? used : 0n,
    },
    money: { opening: own.before, ...moved, closing: own.after },
  };
}

/** What a lot says of one account: what it used, sent, or received, in Units. */
export function energyOfAccount({ consumers, plants, received }: BillLot, account: number): bigint {
  const used = consumers.find((one) => one.account === account) ?? plants.find((one) => one.account === account);
  return used?.energy ?? received;
}

const blockOf = ({ number, hash, timestamp }: Header): BillBlock => ({ number, hash, timestamp });

function transactionsOf(events: readonly ProvenEvent[]): Bill["transactions"] {
  return [...new Map(events.map(({ transaction }) => [transaction.hash, transaction])).values()];
}
