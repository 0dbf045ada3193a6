import {
  type Charter,
  Clearing,
  idealReceipt,
  type Member,
  type Supply,
  withCorrection,
} from "@bijuli/dashboard/ledger";
import { type ClearedLot, decodeEnergies, type Hex, lotEnd } from "@bijuli/protocol";
import { type BillCharter, sumOf } from "./bill.ts";
import { decodeCharter, decodeChunk } from "./charter-code.ts";
import type { ProvenEvent } from "./evidence-events.ts";
import type { MarketReader, ProvenClearing } from "./market-state.ts";
import type { ReadingBook } from "./reading-book.ts";
import { DoesNotHold } from "./witness.ts";

/** A clearing of a bill: as the chain's state proves it, with its charter. */
export interface ChargedClearing {
  proven: ProvenClearing;
  charter: Charter & { distributor: Member };
}

/** A lot's arithmetic, as the readings make it, which is what the chain holds. */
export interface PricedLot {
  lot: bigint;
  clearing: ChargedClearing;
  cleared: ClearedLot;
  received: bigint;
  receivedMeasured: boolean;
  penaltyWaived: boolean;
  plants: { account: number; meterId: Hex; energy: bigint; pricePerKWh: bigint; measured: boolean }[];
}

/**
 * The clearings that hold the lots `first` … `last`, oldest first. Each begins where the one before it ends: none can
 * be left out.
 * @param last the last lot of a clearing
 * @param consumers whether the charters' consumers are wanted
 */
export async function clearingsBetween(
  market: MarketReader,
  block: number,
  feeder: { number: bigint; id: Hex },
  [first, last]: readonly [bigint, bigint],
  consumers: boolean,
): Promise<{ clearings: ChargedClearing[]; charters: BillCharter[] }> {
  const clearings: ChargedClearing[] = [];
  const charters = new Map<number, Charter & { distributor: Member }>();
  for (let end = last; end >= first; ) {
    const proven = await market.clearing(block, feeder.number, end);
    let charter = charters.get(proven.charter);
    if (!charter) {
      charter = await charterOf(market, block, feeder, proven.charter, consumers);
      charters.set(proven.charter, charter);
    }
    if (charter.fromLot > proven.first) {
      throw new DoesNotHold(`the clearing that ends with lot ${end} begins before its charter holds`);
    }
    clearings.unshift({ proven, charter });
    end = proven.first - 1n;
  }
  return {
    clearings,
    charters: [...charters]
      .sort(([a], [b]) => a - b)
      .map(([index, { fromLot, terms, distributor, plants }]) => ({ index, fromLot, terms, distributor, plants })),
  };
}

async function charterOf(
  market: MarketReader,
  block: number,
  feeder: { number: bigint; id: Hex },
  index: number,
  withConsumers: boolean,
): Promise<Charter & { distributor: Member }> {
  const what = `charter ${index}`;
  const { code, fromLot } = await market.charter(block, feeder.number, index);
  const { chunks, consumerCount, feeder: id, distributor, ...charter } = decodeCharter(code, what);
  if (id !== feeder.id || !distributor) throw new DoesNotHold(`${what} is not one of feeder ${feeder.id}`);
  const consumers: Member[] = [];
  if (withConsumers) {
    for (const [i, chunk] of chunks.entries()) {
      consumers.push(...decodeChunk(await market.code(block, chunk, `${what}, consumers ${i}`), what));
    }
    if (consumers.length !== consumerCount)
      throw new DoesNotHold(`${what} names ${consumerCount} consumers, and lists others`);
  }
  return { ...charter, fromLot, distributor, consumers };
}

/**
 * Prices a clearing's lots again, from the meters' readings and the terms, and holds each price against the chain's.
 * @param events the proven events of this clearing
 */
export function priceAgain(
  { proven, charter }: ChargedClearing,
  readings: ReadingBook,
  events: readonly ProvenEvent[],
): PricedLot[] {
  const { first, last } = proven;
  const clearing = new Clearing(charter, last, Number(last - first) + 1, "0x");
  clearing.estimated = proven.estimated;
  clearing.corrected = proven.corrected;
  const the = (name: string, meterId?: Hex): ProvenEvent | undefined =>
    events.find((event) => event.name === name && (meterId === undefined || event.args.meterId === meterId));
  const need = (name: string, meterId?: Hex): ProvenEvent => {
    const event = the(name, meterId);
    if (event) return event;
    throw new DoesNotHold(
      `the clearing that ends with lot ${last}: its event ${name}${meterId ? ` of meter ${meterId}` : ""} is missing`,
    );
  };
  need("LotsOpened");
  if (proven.closed) need("ClearingClosed");

  const supply = (member: Member, cleared: ProvenEvent): Supply => {
    const estimate = the("Estimated", member.meterId);
    if (estimate) {
      const bytes: Hex = estimate.args.energies;
      if (bytes !== "0x") return { signed: undefined, energies: decodeEnergies(bytes) };
      const silent = member === charter.distributor ? idealReceipt(clearing) : clearing.lots.map(() => 0n);
      return { signed: undefined, energies: silent };
    }
    const signed = readings.of(member.meterId, last, first);
    readings.delivered(signed, cleared.input, cleared.transaction.hash);
    const measured = clearing.lots.map((lot) => readings.energy(signed, lot));
    const corrected = the("Corrected", member.meterId);
    if (!corrected) return { signed, energies: measured };
    // what the event adds, and what it carries on, is what had to be added
    const { correction, carried } = corrected.args;
    return { signed, energies: withCorrection(measured, correction + carried).energies };
  };

  for (const plant of charter.plants) {
    const event = need("PlantCleared", plant.meterId);
    const sent = supply(plant, event);
    clearing.plants.set(plant.meterId, sent);
    same(last, `what plant ${plant.meterId} sent`, sumOf(sent.energies!), event.args.energy);
  }
  const event = need("DistributorCleared", charter.distributor.meterId);
  const received = supply(charter.distributor, event);
  clearing.received = received;
  same(last, "what the distributor received", sumOf(received.energies!), event.args.received);
  const estimates = [...clearing.plants.values(), received].filter(({ signed }) => !signed).length;
  if (proven.estimated !== estimates > 0) {
    throw new DoesNotHold(`the clearing that ends with lot ${last}: the chain says otherwise about estimates`);
  }

  return clearing.lots.map((lot, i) => {
    const cleared = clearing.clear(i, []);
    same(lot, "the price per kWh", cleared.pricePerKWh, proven.prices[i]!);
    return {
      lot,
      clearing: { proven, charter },
      cleared,
      received: received.energies![i]!,
      receivedMeasured: received.signed !== undefined,
      penaltyWaived: proven.estimated || i < proven.corrected,
      plants: charter.plants.map(({ account, meterId, pricePerKWh }) => {
        const { energies, signed } = clearing.plants.get(meterId)!;
        return { account, meterId, energy: energies![i]!, pricePerKWh, measured: signed !== undefined };
      }),
    };
  });
}

/** First second of a lot, as a number. */
export const startOf = (lot: bigint, lotSeconds: number): number => Number(lotEnd(lot - 1n, lotSeconds));

/** That what the readings make is what the chain says. */
export function same(lot: bigint, what: string, ours: bigint, chains: bigint): void {
  if (ours !== chains)
    throw new DoesNotHold(`lot ${lot}: ${what} is ${chains} on the chain; the readings make it ${ours}`);
}
