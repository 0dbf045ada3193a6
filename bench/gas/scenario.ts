import type { Hex } from "@bijuli/protocol";
import { lotEnd } from "@bijuli/protocol";
import { AbiCoder, type Contract, type ContractTransactionReceipt, concat, type LogDescription } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  LOT_SECONDS,
  PLANT,
  type TestFeeder,
  World,
} from "../../contracts/test/support/feeder.ts";
import { Random } from "../../contracts/test/support/random.ts";

/** EIP-7825: no transaction may have more. */
const MOST_GAS = 2n ** 24n;

/** What a clearing is measured with. */
export interface Setting {
  plants: number;
  consumers: number;
  tokensPerConsumer: boolean;
}

export type Route = "operator" | "submit";
export type StageName = "plant" | "distributor" | "consumers";
const STAGES: Record<StageName, number> = { plant: PLANT, distributor: DISTRIBUTOR, consumers: CONSUMERS };

/** One transaction as it was mined. */
export interface Sent {
  hash: string;
  gas: number;
  data: string;
  receipt: ContractTransactionReceipt;
  /** How many members it cleared, and whether it was the stage's last. */
  members: number;
  last: boolean;
}

/** A page of a stage as the market asked for it. */
interface Page {
  stage: number;
  first: number;
  count: number;
  request: LogDescription;
}

export interface Clearing {
  setting: Setting;
  lots: number;
  /** Bytes that the highest energy of each plant takes. */
  plantBytes: number[];
  opening: Sent[];
  requests: number;
  stages: Record<Route, Record<StageName, Sent[]>>;
  pages: Record<StageName, number>;
}

/** Looks at transactions while the chain still holds them: an opening's, and those of the Operator's route. */
export type Look = (of: "opening" | StageName, lots: number, sent: readonly Sent[]) => Promise<void>;

/** One chain on which every setting starts from the same state, so that none depends on what was measured before. */
export class Scenarios {
  readonly world: World;
  #blank: Awaited<ReturnType<World["chain"]["helpers"]["takeSnapshot"]>>;

  private constructor(world: World, blank: Awaited<ReturnType<World["chain"]["helpers"]["takeSnapshot"]>>) {
    this.world = world;
    this.#blank = blank;
  }

  static async create(): Promise<Scenarios> {
    const world = await World.create();
    return new Scenarios(world, await world.chain.helpers.takeSnapshot());
  }

  async blank(): Promise<World> {
    await this.#blank.restore();
    // a snapshot does not hold the clock, which runs on with the measuring: put back, or the first lot would begin
    const { time } = this.world.chain.helpers;
    await time.setNextBlockTimestamp((await time.latest()) + 1);
    this.world.receipts.length = 0;
    return this.world;
  }

  /**
   * Clears `lots` lots at once, in each of the given lengths, by both routes. What is measured is the feeder's second
   * clearing: the first pays for slots that are written over ever after.
   * @param options.first measure the feeder's first clearing instead
   */
  async measure(
    setting: Setting,
    lengths: readonly number[],
    options: { first?: boolean; look?: Look } = {},
  ): Promise<Clearing[]> {
    const world = await this.blank();
    const feeder = await world.feeder({
      name: "gas",
      plants: Array.from({ length: setting.plants }, (_, i) => 33_000_000_000_000n + 1_000_000_000_000n * BigInt(i)),
      consumers: setting.consumers,
      terms: { tokensPerConsumer: setting.tokensPerConsumer },
      deposit: 10n * ETHER,
    });
    const ready = await world.chain.helpers.takeSnapshot();
    const clearings: Clearing[] = [];
    for (const lots of lengths) {
      await ready.restore();
      for (const { meter } of [...feeder.plants, feeder.distributor, ...feeder.consumers]) meter.energies.clear();
      clearings.push(await new Run(world, feeder, setting, lots).measure(options));
    }
    return clearings;
  }

  close(): Promise<void> {
    return this.world.close();
  }
}

/** A feeder's clearings of so many lots each. */
class Run {
  readonly #world: World;
  readonly #feeder: TestFeeder;
  readonly #setting: Setting;
  readonly #lots: number;

  constructor(world: World, feeder: TestFeeder, setting: Setting, lots: number) {
    this.#world = world;
    this.#feeder = feeder;
    this.#setting = setting;
    this.#lots = lots;
  }

  async measure({ first, look }: { first?: boolean; look?: Look }): Promise<Clearing> {
    const n = BigInt(this.#lots);
    const lot = FIRST_LOT + n - 1n + (first ? 0n : n);
    this.#draw(first ? this.#lots : 2 * this.#lots);
    if (!first) {
      const { pages } = await this.#open(lot - n);
      for (const page of pages) await this.#deliver("operator", lot - n, page, this.#records(page.stage, lot - n));
    }
    const { sent: opening, pages } = await this.#open(lot);
    await look?.("opening", this.#lots, opening);
    const records = [PLANT, DISTRIBUTOR, CONSUMERS].map((stage) => this.#records(stage, lot));
    const opened = await this.#world.chain.helpers.takeSnapshot();
    const stages = {} as Clearing["stages"];
    for (const route of ["operator", "submit"] as const) {
      if (route === "submit") await opened.restore();
      const done: Record<StageName, Sent[]> = { plant: [], distributor: [], consumers: [] };
      for (const [name, stage] of Object.entries(STAGES) as [StageName, number][]) {
        for (const page of pages.filter((p) => p.stage === stage)) {
          done[name].push(...(await this.#deliver(route, lot, page, records[stage]!)));
        }
        done[name].at(-1)!.last = true;
      }
      await this.#mustBeClosed(lot);
      for (const name of Object.keys(STAGES) as StageName[]) {
        if (route === "operator") await look?.(name, this.#lots, done[name]);
      }
      stages[route] = done;
    }
    const count = (stage: number) => pages.filter((p) => p.stage === stage).length;
    return {
      setting: this.#setting,
      lots: this.#lots,
      plantBytes: this.#feeder.plants.map(({ meter }) => {
        let highest = 0n;
        for (let i = 0n; i < n; i++) if (meter.energy(lot - i) > highest) highest = meter.energy(lot - i);
        return Math.ceil(highest.toString(16).length / 2);
      }),
      opening,
      requests: pages.length,
      stages,
      pages: { plant: count(PLANT), distributor: count(DISTRIBUTOR), consumers: count(CONSUMERS) },
    };
  }

  /** Households of about 10 kWh a day, 8 % lost on the way, half a per cent taken by nobody. */
  #draw(lots: number): void {
    const { consumers, plants } = this.#feeder;
    const random = new Random("gas");
    for (let i = 0n; i < BigInt(lots); i++) {
      const used = consumers.map(() => 100_000n + random.below(500_000n));
      const received = (used.reduce((a, b) => a + b, 0n) * 1_005n) / 1_000n;
      const sent = (received * 100n) / 92n;
      const each = sent / BigInt(plants.length);
      const parts = plants.map((_, p) => (p === 0 ? sent - each * BigInt(plants.length - 1) : each));
      this.#feeder.measure(FIRST_LOT + i, parts, received, used);
    }
  }

  #records(stage: number, lot: bigint): Hex[] {
    return this.#feeder.members(stage).map(({ meter }) => meter.record(lot, this.#lots));
  }

  /** Opens, at an exact second, until every page is asked for. */
  async #open(lot: bigint): Promise<{ sent: Sent[]; pages: Page[] }> {
    const world = this.#world;
    const { plants, consumers } = this.#feeder;
    const members = plants.length + 1 + consumers.length;
    const sent: Sent[] = [];
    const pages: Page[] = [];
    let asked = 0;
    while (asked < members) {
      // the expiry that the Operator is given back with an answer is calldata: a zero byte in it would show
      const at = lotEnd(lot, LOT_SECONDS) + 60n + BigInt(sent.length);
      await world.chain.helpers.time.setNextBlockTimestamp(at);
      const receipt = await world.send(world.market.openLots!(this.#feeder.id, lot, { gasLimit: MOST_GAS }));
      const requests = receipt.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
      for (const { args } of world.events(receipt, "StageRequested")) {
        const request = requests.find((r) => r.args.requestId === args.requestId)!;
        pages.push({ stage: Number(args.stage), first: Number(args.first), count: Number(args.count), request });
        asked += Number(args.count);
      }
      sent.push(await this.#sent(receipt, 0));
    }
    return { sent, pages };
  }

  /** Delivers a page; what the gas of a transaction does not suffice for is submitted in further ones. */
  async #deliver(route: Route, lot: bigint, page: Page, records: readonly Hex[]): Promise<Sent[]> {
    const world = this.#world;
    const sent: Sent[] = [];
    for (let done = 0; done < page.count; ) {
      const first = page.first + done;
      const bytes = concat(records.slice(first, page.first + page.count));
      const call =
        route === "operator" && done === 0
          ? this.#fulfil(page.request, bytes)
          : world.market.submit!(this.#feeder.id, lot, page.stage, first, bytes, { gasLimit: MOST_GAS });
      const receipt = await world.send(call);
      const name = ["PlantCleared", "DistributorCleared", "ConsumerCleared"][page.stage]!;
      const cleared = world.events(receipt, name).length;
      if (cleared === 0) throw new Error(`stage ${page.stage} of lot ${lot}: member ${first} was not cleared`);
      done += cleared;
      sent.push(await this.#sent(receipt, cleared));
    }
    return sent;
  }

  #fulfil(request: LogDescription, records: string): Promise<Awaited<ReturnType<Contract["getFunction"]>>> {
    const { requestId, payment, callbackAddr, callbackFunctionId, cancelExpiration } = request.args;
    const data = AbiCoder.defaultAbiCoder().encode(["bytes32", "bytes"], [requestId, records]);
    return this.#world.operator.fulfillOracleRequest2!(
      requestId,
      payment,
      callbackAddr,
      callbackFunctionId,
      cancelExpiration,
      data,
      { gasLimit: MOST_GAS },
    );
  }

  async #sent(receipt: ContractTransactionReceipt, members: number): Promise<Sent> {
    const { data } = (await this.#world.chain.ethers.provider.getTransaction(receipt.hash))!;
    return { hash: receipt.hash, gas: Number(receipt.gasUsed), data, receipt, members, last: false };
  }

  /** A number that was measured on a clearing that did not end as it should means nothing. */
  async #mustBeClosed(lot: bigint): Promise<void> {
    const { stage } = await this.#world.market.clearingOf!(this.#feeder.id, lot);
    const supply = await this.#world.token.totalSupply!();
    if (stage !== 3n || supply !== 0n) throw new Error(`lot ${lot} was not closed: stage ${stage}, supply ${supply}`);
  }
}
