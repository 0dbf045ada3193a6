import { after, before, describe, test } from "node:test";
import type { Contract } from "ethers";
import { World } from "./support/feeder.ts";
import { deployFixture } from "./support/fixture.ts";
import { Random } from "./support/random.ts";
import { Walk } from "./support/walk.ts";

const DEEP = process.env.BIJULI_DEEP === "1";
const SEQUENCES = DEEP ? 40 : 6;
const STEPS = DEEP ? 160 : 60;
const SEED = process.env.BIJULI_SEED ?? "invariants";

describe("whatever is done, in whatever order, the properties hold after every step", () => {
  let world: World;
  let lens: Contract;
  let restore: () => Promise<void>;
  before(async () => {
    world = await World.create();
    lens = await deployFixture(world.regulator, "MarketLens");
    const snapshot = await world.chain.helpers.takeSnapshot();
    restore = async () => {
      await snapshot.restore();
      // the chain's clock runs on with the machine's: put it back too
      await world.chain.helpers.time.setNextBlockTimestamp((await world.chain.helpers.time.latest()) + 1);
    };
  });
  after(() => world.close());

  test(`${SEQUENCES} sequences of ${STEPS} random actions (seed ${SEED})`, async (t) => {
    const began = performance.now();
    const counts = new Map<string, number>();
    for (let sequence = 0; sequence < SEQUENCES; sequence++) {
      await restore();
      const walk = new Walk(world, new Random(`${SEED} ${sequence}`), lens);
      let step = 0;
      try {
        await walk.begin();
        for (; step < STEPS; step++) await walk.step();
        await walk.finish();
      } catch (error) {
        throw new Error(`BIJULI_SEED="${SEED}", sequence ${sequence}, step ${step}: ${(error as Error).message}`, {
          cause: error,
        });
      }
      for (const [name, count] of walk.counts) counts.set(name, (counts.get(name) ?? 0) + count);
    }
    const steps = [...counts.values()].reduce((a, b) => a + b, 0);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    t.diagnostic(`${SEQUENCES} sequences, ${steps} actions in ${seconds} s`);
    t.diagnostic([...counts].map(([name, count]) => `${name} ${count}`).join(", "));
  });
});
