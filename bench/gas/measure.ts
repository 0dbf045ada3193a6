import { type ContractTransactionReceipt, concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  PLANT,
  type TestFeeder,
  World,
} from "../../contracts/test/support/feeder.ts";

/** Gas of the transactions of one clearing, in the steady state: the feeder has cleared before. */
export interface ClearingGas {
  consumers: number;
  lots: number;
  tokensPerConsumer: boolean;
  opening: number;
  plant: number;
  distributor: number;
  /** All pages together. */
  consumerPages: number;
  pages: number;
  total: number;
}

/** How many consumers' records fit an answer of 32,768 bytes. */
export function pageSize(lots: number): number {
  return Math.floor((32_768 - 300) / 2 / (84 + 6 * lots));
}

const sum = (receipts: readonly ContractTransactionReceipt[]): number =>
  receipts.reduce((gas, receipt) => gas + Number(receipt.gasUsed), 0);

/** A household's and a feeder's energies of a lot: three to four bytes, as real ones are. */
function measureLots(feeder: TestFeeder, first: bigint, last: bigint): void {
  for (let lot = first; lot <= last; lot++) {
    const used = feeder.consumers.map((_, i) => 400_000n + ((lot * 7_919n + BigInt(i) * 104_729n) % 900_000n));
    const received = used.reduce((a, b) => a + b, 0n) + 50_000n;
    feeder.measure(lot, [(received * 10_000n) / 9_060n], received, used);
  }
}

async function clearOnce(
  feeder: TestFeeder,
  last: bigint,
  lots: number,
): Promise<Omit<ClearingGas, "consumers" | "lots" | "tokensPerConsumer">> {
  const { world } = feeder;
  const openings = [await feeder.open(last)];
  const size = pageSize(lots);
  const requests = 2 + Math.ceil(feeder.consumers.length / size);
  const asked = () => openings.flatMap((receipt) => world.events(receipt, "StageRequested")).length;
  while (asked() < requests) openings.push(await feeder.open(last));
  const from = (stage: number, first: number) =>
    openings.find((receipt) =>
      world
        .events(receipt, "StageRequested")
        .some(({ args }) => Number(args.stage) === stage && Number(args.first) === first),
    )!;
  const one = async (stage: number, first: number, count: number) => {
    const records = concat(
      feeder
        .members(stage)
        .slice(first, first + count)
        .map(({ meter }) => meter.record(last, lots)),
    );
    const receipt = await feeder.fulfil(from(stage, first), stage, records as `0x${string}`, first);
    const refused = [...world.events(receipt, "ReadingRefused"), ...world.events(receipt, "Deferred")];
    if (refused.length > 0)
      throw new Error(`stage ${stage} did not clear: ${refused[0]!.name} ${refused[0]!.args.toArray()}`);
    return receipt;
  };
  const plant = await one(PLANT, 0, 1);
  const distributor = await one(DISTRIBUTOR, 0, 1);
  const pages: ContractTransactionReceipt[] = [];
  for (let first = 0; first < feeder.consumers.length; first += size) pages.push(await one(CONSUMERS, first, size));
  const total = sum([...openings, plant, distributor, ...pages]);
  return {
    opening: sum(openings),
    plant: sum([plant]),
    distributor: sum([distributor]),
    consumerPages: sum(pages),
    pages: pages.length,
    total,
  };
}

/** Clears each of `plans` once to warm up and once to measure, in one world. */
export async function measureClearings(
  plans: readonly { consumers: number; lots: number; tokensPerConsumer: boolean }[],
): Promise<ClearingGas[]> {
  const results: ClearingGas[] = [];
  const world = await World.create();
  try {
    const feeders: TestFeeder[] = [];
    for (const [i, { consumers, lots, tokensPerConsumer }] of plans.entries()) {
      feeders.push(
        await world.feeder({ name: `bench ${i}`, consumers, terms: { lotsPerClearing: lots, tokensPerConsumer } }),
      );
    }
    for (const [i, plan] of plans.entries()) {
      const feeder = feeders[i]!;
      const warm = FIRST_LOT + BigInt(plan.lots - 1);
      measureLots(feeder, FIRST_LOT, warm + BigInt(plan.lots));
      await clearOnce(feeder, warm, plan.lots);
      results.push({ ...plan, ...(await clearOnce(feeder, warm + BigInt(plan.lots), plan.lots)) });
    }
  } finally {
    await world.close();
  }
  return results;
}
