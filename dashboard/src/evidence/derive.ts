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
import { balance, chargeConsumer, payPlant } from "./charges.ts";
import { type PricedLot, priceAgain, startOf } from "./clearings.ts";
import { type ProvenEvent, provenEvents, shown } from "./evidence-events.ts";
import type { Role } from "./market-state.ts";
import type { ProvenChain } from "./proven-chain.ts";
import { ReadingBook, type Recover } from "./reading-book.ts";
import { keysOf, openingOf } from "./registry-state.ts";
import { scopeOf } from "./scope.ts";
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
  const scope = await scopeOf(chain, { registry, chainId }, request);
  const { market, lotSeconds, place, feeder, spans, clearings, charters, concern } = scope;
  const readings = new ReadingBook(request.readings, { chainId, registry }, lotSeconds, recover);
  for (const meterId of new Set([...concern.suppliers, ...concern.consumers])) {
    const { number } = chain.head;
    readings.know({
      meterId,
      opening: await openingOf(chain, number, registry, meterId),
      keys: await keysOf(chain, number, registry, meterId, scope.reach),
    });
  }
  const events = await provenEvents(chain, market, request.transactions, concern);
  const lots = new Map<bigint, PricedLot>();
  for (const clearing of clearings) {
    const its = events.filter(({ args }) => args.lot === clearing.proven.last);
    for (const priced of priceAgain(clearing, readings, its)) lots.set(priced.lot, priced);
  }

  for (const { lot, cleared, plants } of lots.values()) {
    // what the account's owner agreed to: for a plant the lowest price, for all others the highest
    if (place.role === "consumer" && cleared.pricePerKWh > place.priceLimit) beyondLimit(lot, cleared.pricePerKWh);
    for (const plant of plants) {
      const beyond =
        place.role === "plant" ? plant.pricePerKWh < place.priceLimit : plant.pricePerKWh > place.priceLimit;
      if (beyond && (place.role === "distributor" || plant.account === account)) beyondLimit(lot, plant.pricePerKWh);
    }
  }
  const named = (name: string) => events.filter((event) => event.name === name);
  const charges = [...scope.consumers].map(([one, meters]) =>
    chargeConsumer(meters, spans.get(one)!, lots, readings, named("ConsumerCleared")),
  );
  const settled = [...lots.values()].filter(({ lot }) => lot >= scope.settledFrom);
  const payments = new Map(
    [...scope.plants].map((one) => [one, payPlant(spans.get(one)!, settled, named("PlantPaid"))]),
  );
  const watched = [account, ...request.debtors].map((one) => spans.get(one)!);
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
    market,
    lotSeconds,
    feeder,
    account,
    role: place.role,
    owner: place.owner,
    meterId: place.meterId,
    priceLimit: place.priceLimit,
    from,
    to,
    block: blockOf(chain.head),
    before: blockOf(scope.opened),
    meters: readings.meters,
    charters,
    transactions: transactionsOf(events),
    events: events.map(shown),
    lots: shownLots,
    totals: {
      energy: sumOf(shownLots.map((lot) => energyOfAccount(lot, account, place.role))),
      owes: place.role === "consumer" ? used : place.role === "distributor" ? delivered : 0n,
      earns: place.role === "plant" ? delivered : place.role === "distributor" ? used : 0n,
    },
    money: { opening: watched[0]!.before, ...moved, closing: watched[0]!.after },
  };
}

/** What a lot says of one account: what it used, sent, or received, in Units. */
export function energyOfAccount({ consumers, plants, received }: BillLot, account: number, role: Role): bigint {
  if (role === "distributor") return received;
  return (role === "plant" ? plants : consumers).find((one) => one.account === account)?.energy ?? 0n;
}

function beyondLimit(lot: bigint, price: bigint): never {
  throw new DoesNotHold(`lot ${lot}: ${price} wei per kWh is not within what the account's owner agreed to`);
}

const blockOf = ({ number, hash, timestamp }: Header): BillBlock => ({ number, hash, timestamp });

function transactionsOf(events: readonly ProvenEvent[]): Bill["transactions"] {
  return [...new Map(events.map(({ transaction }) => [transaction.hash, transaction])).values()];
}
