import { type Hex, type LotReading, lotEnd } from "@bijuli/protocol";
import { concat } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  FIRST_LOT,
  LOT_SECONDS,
  type Member,
  PLANT,
  type TestFeeder,
  World,
} from "../../../contracts/test/support/feeder.ts";
import { Random } from "../../../contracts/test/support/random.ts";

/** Lots of a clearing: a day. */
const DAY = 288;

/**
 * A feeder of two plants and four consumers on a real chain, with so many days of five-minute lots cleared through the
 * real contracts: daily course, noise, and now and then a thief.
 */
export async function longHistory(
  days: number,
  onDay: (day: number) => void,
): Promise<{ world: World; feeder: TestFeeder }> {
  const world = await World.create();
  const feeder = await world.feeder({
    name: "valley",
    plants: [33n * 10n ** 12n, 41n * 10n ** 12n],
    consumers: 4,
    deposit: 1_000n * 10n ** 18n,
    link: 0n,
    operators: false,
    terms: { lotsPerClearing: DAY, tokensPerConsumer: false },
  });
  const random = new Random("a year");
  const registers = new Map<Member, bigint>();
  const record = (member: Member, lot: bigint, energies: bigint[]): Hex => {
    const forward = energies.reduce((sum, energy) => sum + energy, registers.get(member) ?? 0n);
    registers.set(member, forward);
    const change: Partial<LotReading> = { energies, forward };
    return member.meter.record(lot, DAY, change);
  };
  for (let day = 0; day < days; day++) {
    const last = FIRST_LOT + BigInt((day + 1) * DAY - 1);
    const used = feeder.consumers.map((_, i) =>
      Array.from({ length: DAY }, (_, at) => {
        const course = BigInt(Math.round(300_000 * (1 + 0.6 * Math.sin((at / DAY) * 2 * Math.PI - 2))));
        return (course * BigInt(i + 1)) / 2n + random.below(60_000n);
      }),
    );
    const received = Array.from({ length: DAY }, (_, at) => {
      const sum = used.reduce((total, energies) => total + energies[at]!, 0n);
      const stolen = day % 41 === 40 && at > 200 ? sum / 10n : 0n;
      return (sum * 101n) / 100n + stolen;
    });
    const sent = received.map((energy, at) => {
      const loss = 88n + random.below(10n) + (day % 60 === 59 && at < 100 ? 80n : 0n);
      return (energy * 1_000n) / (1_000n - loss);
    });
    await world.after(last);
    await world.send(world.market.openLots!(feeder.id, last, { gasLimit: 16_000_000n }));
    const first = sent.map((energy) => (energy * 7n) / 10n);
    const second = sent.map((energy, at) => energy - first[at]!);
    const pages: [number, Hex[]][] = [
      [PLANT, [record(feeder.plants[0]!, last, first), record(feeder.plants[1]!, last, second)]],
      [DISTRIBUTOR, [record(feeder.distributor, last, received)]],
      [CONSUMERS, feeder.consumers.map((member, i) => record(member, last, used[i]!))],
    ];
    for (const [stage, records] of pages)
      await feeder.submit(stage, last, concat(records) as Hex, 0, { gasLimit: 16_000_000n });
    onDay(day + 1);
  }
  return { world, feeder };
}

/** The lots that so many days hold, and the last one's end. */
export const spanOf = (days: number) => ({
  lots: days * DAY,
  end: Number(lotEnd(FIRST_LOT + BigInt(days * DAY - 1), LOT_SECONDS)),
});
