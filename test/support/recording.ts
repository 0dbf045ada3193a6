import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

/*
 * What a recording says about each lot, worked out from the CSV alone by the shortest arithmetic that is exact, and
 * with nothing imported from the code under test: milliwatt-seconds in bigint, 360 to a Unit.
 */

export interface ExpectedMeter {
  /** lot → Units: the difference of floor(cumulative sum) at its ends. */
  energy: Map<bigint, bigint>;
  /** Lots of which some part was not measured. */
  gaps: Set<bigint>;
  firstLot: bigint;
}

const GAP = 256;
const LOT = 300n;
const STEP = 60n;

/** @param path a CSV with a row a minute and a power column of at most three decimals */
export function readRecording(path: string): ExpectedMeter {
  const [header, ...lines] = readFileSync(path, "utf8").trim().split(/\r?\n/);
  const column = header!.split(",").indexOf("power");
  let sum = 0n;
  const atEnd = new Map<bigint, bigint>();
  const covered = new Map<bigint, bigint>();
  for (const line of lines) {
    const cells = line.split(",");
    const time = BigInt(Date.parse(cells[0]!) / 1000);
    const lot = time / LOT;
    const [whole, decimals = ""] = cells[column]!.split(".");
    if (whole !== "") {
      sum += BigInt(whole! + decimals.padEnd(3, "0")) * STEP;
      covered.set(lot, (covered.get(lot) ?? 0n) + STEP);
    }
    atEnd.set(lot, sum);
  }
  const lots = [...atEnd.keys()];
  const energy = new Map<bigint, bigint>();
  const gaps = new Set<bigint>();
  let before = 0n;
  for (const lot of lots) {
    const register = atEnd.get(lot)! / 360n;
    energy.set(lot, register - before);
    before = register;
    if ((covered.get(lot) ?? 0n) < LOT) gaps.add(lot);
  }
  return { energy, gaps, firstLot: lots[0]! };
}

/** The recordings of a grid file's only feeder, by serial, with its terms. */
export function readHousehold(gridFile: string) {
  const grid = JSON.parse(readFileSync(gridFile, "utf8"));
  const [feeder] = grid.feeders;
  const read = (meter: { serial: string; source: { replay: string } }) => ({
    serial: meter.serial,
    ...readRecording(resolve(dirname(gridFile), meter.source.replay)),
  });
  return {
    terms: feeder.terms as Record<string, number>,
    plants: feeder.plants.map((plant: never) => ({
      ...read(plant),
      price: BigInt((plant as { pricePerKWh: string }).pricePerKWh),
    })) as (ReturnType<typeof read> & { price: bigint })[],
    distributor: read(feeder.distributor),
    consumers: feeder.consumers.map(read) as ReturnType<typeof read>[],
  };
}

/** SPEC's one lot, restated for the test with plain integers; all fields as the --json line spells them. */
export function expectedLines(gridFile: string, count: number) {
  const WAD = 10n ** 18n;
  const { terms, plants, distributor, consumers } = readHousehold(gridFile);
  const bps = (name: string) => (BigInt(terms[name] ?? 0) * WAD) / 10_000n;
  const sums = new Map<string, bigint>();
  const money = (serial: string, energy: bigint, price: bigint): string => {
    const before = sums.get(serial) ?? 0n;
    const after = before + energy * price;
    sums.set(serial, after);
    return (after / 10n ** 7n - before / 10n ** 7n).toString();
  };
  return Array.from({ length: count }, (_, i) => {
    const lot = distributor.firstLot + BigInt(i);
    const of = (meter: ExpectedMeter) => meter.energy.get(lot)!;
    const sent = plants.reduce((sum, plant) => sum + of(plant), 0n);
    const value = plants.reduce((sum, plant) => sum + of(plant) * plant.price, 0n);
    const received = of(distributor);
    const used = consumers.reduce((sum, consumer) => sum + of(consumer), 0n);
    const lost = sent > received ? sent - received : 0n;
    const available = sent < received ? sent : received;
    const actualLoss = sent === 0n ? 0n : (lost * WAD + sent - 1n) / sent;
    const over = actualLoss - bps("idealLossBps") - bps("toleranceBps");
    const excessLoss = over > 0n ? over : 0n;
    const raw = WAD + bps("idealLossBps") + bps("serviceBps") - (excessLoss * BigInt(terms.penaltyBps ?? 0)) / 10_000n;
    const factor = raw > 0n ? raw : 0n;
    const price = sent === 0n ? 0n : (value * factor) / (sent * WAD);
    const all = [...plants, distributor, ...consumers];
    return {
      feeder: "household",
      lot: lot.toString(),
      sent: sent.toString(),
      received: received.toString(),
      lost: lost.toString(),
      available: available.toString(),
      actualLoss: actualLoss.toString(),
      excessLoss: excessLoss.toString(),
      factor: factor.toString(),
      pricePerKWh: price.toString(),
      plants: plants.map((plant) => ({
        serial: plant.serial,
        energy: of(plant).toString(),
        paid: money(plant.serial, of(plant), plant.price),
      })),
      distributor: { serial: distributor.serial, energy: received.toString() },
      consumers: consumers.map((consumer) => ({
        serial: consumer.serial,
        energy: of(consumer).toString(),
        charged: money(consumer.serial, of(consumer), price),
      })),
      delivered: (available < used ? available : used).toString(),
      unaccounted: (available > used ? available - used : 0n).toString(),
      overdrawn: (used > available ? used - available : 0n).toString(),
      quality: all.some((meter) => meter.gaps.has(lot)) ? GAP : 0,
    };
  });
}
