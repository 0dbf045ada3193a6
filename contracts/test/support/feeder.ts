import { type Hex, lotEnd, lotStart, readingDomain } from "@bijuli/protocol";
import type { HardhatEthersSigner } from "@nomicfoundation/hardhat-ethers/types";
import {
  AbiCoder,
  Contract,
  type ContractTransactionReceipt,
  concat,
  type LogDescription,
  toUtf8Bytes,
  zeroPadBytes,
} from "ethers";
import { EnergyMarketAbi, EnergyTokenAbi, LinkTokenAbi, MeterRegistryAbi, OperatorAbi } from "../../abi/index.ts";
import { type AddressBook, deploy } from "../../src/index.ts";
import { type Chain, startChain } from "./chain.ts";
import { TestMeter } from "./meter.ts";

export const LOT_SECONDS = 300;
/** The first lot that the tests clear. */
export const FIRST_LOT = 5_900_000n;
export const ETHER = 10n ** 18n;
export const PLANT = 0;
export const DISTRIBUTOR = 1;
export const CONSUMERS = 2;
export const ANY_PRICE = 2n ** 64n - 1n;
export const SPEC_ID = zeroPadBytes(toUtf8Bytes("b1a110000e1e4c7a9d0f10751ead1465"), 32) as Hex;

export const TERMS = {
  idealLossBps: 940,
  serviceBps: 500,
  penaltyBps: 10_000,
  toleranceBps: 10,
  maxPricePerKWh: 0n,
  reserve: 0n,
  graceSeconds: 600,
  estimateSeconds: 3_600,
  abandonSeconds: 7_200,
  openDelay: 0,
  repeatSeconds: 120,
  freeRepeats: 3,
  lotsPerClearing: 1,
  tokensPerConsumer: true,
};
export type Terms = typeof TERMS;

export interface Member {
  meter: TestMeter;
  owner: HardhatEthersSigner;
  account: bigint;
}

export interface FeederPlan {
  plants?: readonly bigint[];
  consumers?: number;
  terms?: Partial<Terms>;
  deposit?: bigint;
  capacity?: bigint;
  name?: string;
  link?: bigint;
  operators?: boolean;
}

/** Everything deployed on a fresh chain, whose clock stands in the lot before FIRST_LOT. */
export class World {
  readonly chain: Chain;
  readonly book: AddressBook;
  readonly regulator: HardhatEthersSigner;
  readonly node: HardhatEthersSigner;
  readonly owners: HardhatEthersSigner[];
  readonly market: Contract;
  readonly registry: Contract;
  readonly token: Contract;
  readonly link: Contract;
  readonly operator: Contract;
  readonly receipts: ContractTransactionReceipt[] = [];

  private constructor(chain: Chain, book: AddressBook, signers: HardhatEthersSigner[]) {
    this.chain = chain;
    this.book = book;
    const [regulator, node, ...owners] = signers;
    this.regulator = regulator!;
    this.node = node!;
    this.owners = owners;
    this.market = new Contract(book.market, EnergyMarketAbi, regulator!);
    this.registry = new Contract(book.registry, MeterRegistryAbi, regulator!);
    this.token = new Contract(book.token, EnergyTokenAbi, regulator!);
    this.link = new Contract(book.link, LinkTokenAbi, regulator!);
    this.operator = new Contract(book.operator, OperatorAbi, node!);
  }

  static async create(): Promise<World> {
    const chain = await startChain(lotStart(FIRST_LOT - 1n, LOT_SECONDS));
    const signers = await chain.ethers.getSigners();
    const book = await deploy(signers[0]!, { lotSeconds: LOT_SECONDS, nodes: [signers[1]!.address] });
    return new World(chain, book, signers);
  }

  get domain() {
    return readingDomain({ chainId: this.book.chainId, registry: this.book.registry });
  }

  meter(serial: string, start = 0n, firstLot = FIRST_LOT): TestMeter {
    return new TestMeter(serial, this.domain, LOT_SECONDS, firstLot, start);
  }

  /** Sends and waits; every receipt is kept, in order, for a ledger. */
  async send(
    call: Promise<{ wait(): Promise<ContractTransactionReceipt | null> }>,
  ): Promise<ContractTransactionReceipt> {
    const receipt = (await (await call).wait())!;
    this.receipts.push(receipt);
    return receipt;
  }

  /** The named events of a receipt. */
  events(receipt: ContractTransactionReceipt, name?: string): LogDescription[] {
    const parsed = receipt.logs.flatMap((log) => {
      const from =
        log.address === this.book.market
          ? this.market
          : log.address === this.book.registry
            ? this.registry
            : log.address === this.book.token
              ? this.token
              : undefined;
      return from?.interface.parseLog(log) ?? [];
    });
    return name ? parsed.filter((event) => event.name === name) : parsed;
  }

  async register(meter: TestMeter, capacity = 10n ** 12n): Promise<void> {
    const { reading, signature } = meter.opening();
    await this.send(
      this.registry.registerMeter!(this.chain.ethers.computeAddress(meter.key), capacity, reading, signature),
    );
  }

  async join(
    feeder: Hex,
    meter: TestMeter,
    role: number,
    owner: HardhatEthersSigner,
    limit: bigint,
    deposit = 0n,
  ): Promise<bigint> {
    const market = this.market.connect(owner) as Contract;
    const receipt = await this.send(market.join!(feeder, meter.meterId, role, limit));
    const account: bigint = this.events(receipt, "Joined")[0]!.args.account;
    if (deposit > 0n) await this.send(market.deposit!(account, { value: deposit }));
    return account;
  }

  /** Sets the clock to `seconds` after the end of `lot`. */
  async after(lot: bigint, seconds = 0n): Promise<void> {
    const at = lotEnd(lot, LOT_SECONDS) + seconds;
    if (at > BigInt(await this.chain.helpers.time.latest())) await this.chain.helpers.time.increaseTo(at);
  }

  async feeder(plan: FeederPlan = {}): Promise<TestFeeder> {
    return TestFeeder.create(this, plan);
  }

  close(): Promise<void> {
    return this.chain.close();
  }
}

/** One feeder with its meters, and how its lots are opened and delivered. */
export class TestFeeder {
  readonly world: World;
  readonly id: Hex;
  readonly plants: Member[];
  readonly distributor: Member;
  readonly consumers: Member[];
  readonly prices: readonly bigint[];
  readonly terms: Terms;

  private constructor(
    world: World,
    id: Hex,
    plants: Member[],
    distributor: Member,
    consumers: Member[],
    prices: readonly bigint[],
    terms: Terms,
  ) {
    this.world = world;
    this.id = id;
    this.plants = plants;
    this.distributor = distributor;
    this.consumers = consumers;
    this.prices = prices;
    this.terms = terms;
  }

  static async create(world: World, plan: FeederPlan): Promise<TestFeeder> {
    const name = plan.name ?? "feeder";
    const prices = plan.plants ?? [33_000_000_000_000n];
    const terms = { ...TERMS, ...plan.terms };
    const deposit = plan.deposit ?? ETHER;
    await world.send(world.market.createFeeder!(name));
    const id = world.chain.ethers.id(name) as Hex;
    let next = 0;
    const member = async (serial: string, role: number, limit: bigint, money: bigint): Promise<Member> => {
      const meter = world.meter(`${name} ${serial}`);
      await world.register(meter, plan.capacity);
      const owner = world.owners[next++ % world.owners.length]!;
      return { meter, owner, account: await world.join(id, meter, role, owner, limit, money) };
    };
    const plants: Member[] = [];
    for (let i = 0; i < prices.length; i++) plants.push(await member(`plant ${i}`, 0, 0n, 0n));
    const distributor = await member("distributor", 1, ANY_PRICE, deposit);
    const consumers: Member[] = [];
    for (let i = 0; i < (plan.consumers ?? 1); i++)
      consumers.push(await member(`consumer ${i}`, 2, ANY_PRICE, deposit));
    const feeder = new TestFeeder(world, id, plants, distributor, consumers, prices, terms);
    await feeder.charter(FIRST_LOT);
    if (consumers.length > 0) {
      for (let at = 0; at < consumers.length; at += 200) {
        await world.send(
          world.market.listConsumers!(
            id,
            FIRST_LOT,
            consumers.slice(at, at + 200).map((c) => c.account),
          ),
        );
      }
    }
    if (plan.operators ?? true) {
      await world.send(
        world.market.setOperators!(id, [{ operator: world.book.operator, specId: SPEC_ID, payment: ETHER / 10n }]),
      );
    }
    const link = plan.link ?? 1_000n * ETHER;
    if (link > 0n) {
      await world.send(
        world.link.transferAndCall!(world.book.market, link, AbiCoder.defaultAbiCoder().encode(["bytes32"], [id])),
      );
    }
    return feeder;
  }

  charter(
    fromLot: bigint,
    change: { terms?: Partial<Terms>; prices?: readonly bigint[]; plants?: readonly Member[] } = {},
  ) {
    const prices = change.prices ?? this.prices;
    const seats = (change.plants ?? this.plants).map(({ account }, i) => ({ account, pricePerKWh: prices[i] }));
    return this.world.send(
      this.world.market.setCharter!(
        this.id,
        fromLot,
        { ...this.terms, ...change.terms },
        this.distributor.account,
        seats,
      ),
    );
  }

  /** What was measured in a lot, in Units. */
  measure(lot: bigint, plants: readonly bigint[], received: bigint, used: readonly bigint[]): void {
    plants.forEach((energy, i) => this.plants[i]!.meter.energies.set(lot, energy));
    this.distributor.meter.energies.set(lot, received);
    used.forEach((energy, i) => this.consumers[i]!.meter.energies.set(lot, energy));
  }

  async open(lot: bigint): Promise<ContractTransactionReceipt> {
    await this.world.after(lot);
    return this.world.send(this.world.market.openLots!(this.id, lot, { gasLimit: 16_000_000n }));
  }

  members(stage: number): Member[] {
    return stage === PLANT ? this.plants : stage === DISTRIBUTOR ? [this.distributor] : this.consumers;
  }

  /** The records of a page of a stage, each covering the `n` lots that end with `lot`. */
  records(stage: number, lot: bigint, n: number, first = 0, count = 2 ** 16): Hex {
    return concat(
      this.members(stage)
        .slice(first, first + count)
        .map(({ meter }) => meter.record(lot, n)),
    ) as Hex;
  }

  submit(
    stage: number,
    lot: bigint,
    records: Hex,
    first = 0,
    options: { gasLimit?: bigint } = {},
  ): Promise<ContractTransactionReceipt> {
    // gas is given: an estimate would settle on the least with which the page is deferred
    const gas = { gasLimit: 16_000_000n, ...options };
    return this.world.send(this.world.market.submit!(this.id, lot, stage, first, records, gas));
  }

  /** Opens the lots up to `lot` and submits all their records. */
  async clear(lot: bigint, n: number): Promise<ContractTransactionReceipt[]> {
    const receipts = [await this.open(lot)];
    for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
      if (this.members(stage).length > 0) receipts.push(await this.submit(stage, lot, this.records(stage, lot, n)));
    }
    return receipts;
  }

  /** Fulfils a request that an opening made, as a node does, through the Operator. */
  async fulfil(
    opening: ContractTransactionReceipt,
    stage: number,
    records: Hex,
    first = 0,
  ): Promise<ContractTransactionReceipt> {
    const { world } = this;
    const requests = opening.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
    const asked = world
      .events(opening, "StageRequested")
      .find(({ args }) => Number(args.stage) === stage && Number(args.first) === first)!;
    const request = requests.find(({ args }) => args.requestId === asked.args.requestId)!;
    const { requestId, payment, callbackAddr, callbackFunctionId, cancelExpiration } = request.args;
    const data = AbiCoder.defaultAbiCoder().encode(["bytes32", "bytes"], [requestId, records]);
    return world.send(
      world.operator.fulfillOracleRequest2!(
        requestId,
        payment,
        callbackAddr,
        callbackFunctionId,
        cancelExpiration,
        data,
        { gasLimit: 10_000_000n },
      ),
    );
  }

  balance(member: Member): Promise<bigint> {
    return this.world.market.balanceOf!(member.account);
  }
}
