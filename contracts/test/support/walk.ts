import assert from "node:assert/strict";
import { clearLot, type Hex, lotEnd, MISSING_RECORD, Money } from "@bijuli/protocol";
import { AbiCoder, type Contract, type ContractTransactionReceipt, concat, dataSlice, SigningKey } from "ethers";
import {
  CONSUMERS,
  DISTRIBUTOR,
  ETHER,
  FIRST_LOT,
  LOT_SECONDS,
  type Member,
  PLANT,
  type TestFeeder,
  type World,
} from "./feeder.ts";
import type { Random } from "./random.ts";
import { reasonOf } from "./refused.ts";

const WATT_HOUR = 10_000n; // Units
const STRANGER = new SigningKey(`0x${"5e".repeat(32)}`);
const GAS = { gasLimit: 16_000_000n };
const CAPACITY = 4_000n * WATT_HOUR;

interface Seen {
  balance: bigint;
  owed: bigint;
  pot: bigint;
  withdrawable: bigint;
  cursor: bigint;
  carried: bigint;
}

interface Clearing {
  feeder: Walked;
  firstLot: bigint;
  lot: bigint;
  consumers: Member[];
  /** Units minted for it, while its plants are being cleared. */
  minted: bigint;
  available: bigint;
  stage: number;
  spoilt: boolean; // an estimate or a correction took part, so its price is not plain
}

interface Request {
  clearing: Clearing;
  stage: number;
  first: number;
  count: number;
  args: Record<string, unknown>;
}

interface Walked {
  feeder: TestFeeder;
  clearings: Clearing[];
  charters: { from: bigint }[];
  paused: boolean;
  left: Set<Member>;
}

/**
 * A random walk over two feeders: every action is drawn, its outcome is predicted, and after each one all properties are
 * checked. Nothing that is predicted to go through may revert.
 */
export class Walk {
  readonly world: World;
  readonly random: Random;
  readonly lens: Contract;
  readonly #feeders: Walked[] = [];
  readonly #members: Member[] = []; // by account − 1
  readonly #home = new Map<Member, Walked>();
  readonly #requests: Request[] = [];
  // what the events said
  readonly #worth = new Map<bigint, bigint>(); // account → Σ deposits − withdrawals + payments − charges
  readonly #charged = new Map<bigint, bigint>();
  readonly #paid = new Map<bigint, bigint>();
  readonly #energy = new Map<bigint, bigint>(); // of plants: what entered clearings
  readonly #clearedTo = new Map<bigint, bigint>();
  readonly #prices = new Map<string, bigint>();
  #ether = 0n;
  #forced = 0n;
  #minted = 0n;
  #burned = 0n;
  #seen: Seen[] = [];
  readonly counts = new Map<string, number>();

  constructor(world: World, random: Random, lens: Contract) {
    this.world = world;
    this.random = random;
    this.lens = lens;
  }

  // ------------------------------------------------------------------------------------------ set-up

  async begin(): Promise<void> {
    const { random, world } = this;
    for (let i = 0; i < 2; i++) {
      world.receipts.length = 0;
      const plants = Array.from({ length: 1 + random.int(3) }, () => 20n * 10n ** 12n + random.below(40n * 10n ** 12n));
      const feeder = await world.feeder({
        name: `walk ${i}`,
        plants,
        consumers: 1 + random.int(4),
        capacity: CAPACITY,
        deposit: random.chance(0.3) ? 1n : random.below(2n * 10n ** 14n) + 1n,
        link: random.below(60n) * ETHER + ETHER,
        terms: {
          graceSeconds: 300,
          estimateSeconds: 600,
          abandonSeconds: 1_200,
          repeatSeconds: 60,
          freeRepeats: 2,
          lotsPerClearing: 1 + random.int(2),
          tokensPerConsumer: random.chance(0.5),
          reserve: random.chance(0.5) ? 0n : random.below(10n ** 13n),
        },
      });
      const walked: Walked = { feeder, clearings: [], charters: [{ from: FIRST_LOT }], paused: false, left: new Set() };
      this.#feeders.push(walked);
      for (const member of [...feeder.plants, feeder.distributor, ...feeder.consumers]) {
        this.#members[Number(member.account) - 1] = member;
        this.#home.set(member, walked);
      }
      for (const receipt of world.receipts) this.#read(receipt);
    }
    await this.check();
  }

  /** Energies are drawn when a lot is first needed: sometimes nothing, sometimes more than a meter can carry. */
  #measure({ feeder }: Walked, lot: bigint): void {
    const { random } = this;
    if (feeder.distributor.meter.energies.has(lot)) return;
    const plants = feeder.plants.map(() => (random.chance(0.1) ? 0n : random.below(3_000n * WATT_HOUR)));
    if (random.chance(0.03)) plants[0] = CAPACITY + random.below(1_000n);
    const sent = plants.reduce((a, b) => a + b, 0n);
    const received = random.chance(0.1) ? random.below(CAPACITY) : (sent * (8_000n + random.below(2_000n))) / 10_000n;
    const used = feeder.consumers.map(() => random.below(received / BigInt(feeder.consumers.length) + 2n));
    if (random.chance(0.1)) used[0] = random.below(CAPACITY + 2_000n);
    feeder.measure(lot, plants, received > CAPACITY ? CAPACITY : received, used);
  }

  // ------------------------------------------------------------------------------------------ one step

  async step(): Promise<void> {
    const actions: [number, string, () => Promise<boolean>][] = [
      [12, "open", () => this.#open()],
      [30, "submit", () => this.#submit()],
      [14, "fulfil", () => this.#fulfil()],
      [6, "submit with little gas", () => this.#submitPoorly()],
      [6, "deposit", () => this.#deposit()],
      [8, "withdraw", () => this.#withdraw()],
      [3, "withdraw too much", () => this.#withdrawTooMuch()],
      [4, "collect", () => this.#collect()],
      [3, "force ether", () => this.#force()],
      [4, "close", () => this.#close()],
      [5, "estimate", () => this.#estimate()],
      [3, "abandon", () => this.#abandon()],
      [3, "change the reserve", () => this.#reserve()],
      [4, "repeat a request", () => this.#repeat()],
      [2, "cancel a request", () => this.#cancel()],
      [2, "pause", () => this.#pause()],
      [1, "leave", () => this.#leave()],
      [6, "wait", () => this.#wait()],
    ];
    for (;;) {
      let at = this.random.int(actions.reduce((sum, [weight]) => sum + weight, 0));
      const [, name, act] = actions.find(([weight]) => {
        at -= weight;
        return at < 0;
      })!;
      if (!(await act())) continue; // there is nothing to do it to
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
      return this.check();
    }
  }

  get #market(): Contract {
    return this.world.market;
  }

  #as(member: Member): Contract {
    return this.#market.connect(member.owner) as Contract;
  }

  /** Sends what must go through. */
  async #must(what: string, send: () => Promise<ContractTransactionReceipt>): Promise<ContractTransactionReceipt> {
    try {
      const receipt = await send();
      this.#read(receipt);
      return receipt;
    } catch (error) {
      throw new Error(`${what} must not revert: ${reasonOf(error)}`, { cause: error });
    }
  }

  /** Sends what must be refused, for this reason. */
  async #mustNot(what: string, reasons: string[], send: () => Promise<unknown>): Promise<void> {
    try {
      await send();
    } catch (error) {
      const reason = reasonOf(error);
      assert.ok(
        reasons.some((name) => reason.startsWith(`${name}(`)),
        `${what}: expected ${reasons.join(" or ")}, got ${reason}`,
      );
      return;
    }
    assert.fail(`${what}: expected ${reasons.join(" or ")}, but it went through`);
  }

  #tx(name: string, ...args: unknown[]): Promise<ContractTransactionReceipt> {
    return this.world.send(this.#market[name]!(...args, GAS));
  }

  async #open(): Promise<boolean> {
    const walked = this.random.pick(this.#feeders);
    const { feeder } = walked;
    const [least, notBefore]: [bigint, bigint] = await this.#market.nextOpening!(feeder.id);
    if (least > FIRST_LOT + 60n) return false;
    const next = walked.charters.find(({ from }) => from > least);
    let lot = least + BigInt(this.random.int(3));
    if (next && lot >= next.from) lot = next.from - 1n;
    const openedTo = walked.clearings.at(-1)?.lot ?? FIRST_LOT - 1n;
    const first = walked.charters.find(({ from }) => from > openedTo + 1n);
    if (first && lot >= first.from) lot = first.from - 1n;
    assert.ok(notBefore > 0n);
    if (walked.paused) {
      await this.#mustNot("opening while paused", ["OpeningsArePaused"], () => this.#tx("openLots", feeder.id, lot));
      return true;
    }
    await this.world.after(lot, BigInt(this.random.int(400)));
    for (let at = openedTo + 1n; at <= lot; at++) this.#measure(walked, at);
    const { link } = await this.#market.feederOf!(feeder.id);
    if (link < ETHER) {
      await this.world.send(
        this.world.link.transferAndCall!(
          this.world.book.market,
          20n * ETHER,
          AbiCoder.defaultAbiCoder().encode(["bytes32"], [feeder.id]),
        ),
      );
    }
    const receipt = await this.#must("an opening", () => this.#tx("openLots", feeder.id, lot));
    const accounts: bigint[] = (await this.#market.membersOf!(feeder.id, lot, CONSUMERS)).accounts;
    const clearing: Clearing = {
      feeder: walked,
      firstLot: openedTo + 1n,
      lot,
      consumers: accounts.map((account) => this.#members[Number(account) - 1]!),
      minted: 0n,
      available: 0n,
      stage: 0,
      spoilt: false,
    };
    walked.clearings.push(clearing);
    this.#note(receipt, clearing);
    return true;
  }

  /** Keeps the requests that a receipt holds, for an operator to fulfil. */
  #note(receipt: ContractTransactionReceipt, clearing: Clearing): void {
    const { world } = this;
    const sent = receipt.logs.flatMap((log) => world.operator.interface.parseLog(log) ?? []);
    for (const { args } of world.events(receipt, "StageRequested")) {
      const request = sent.find((one) => one.name === "OracleRequest" && one.args.requestId === args.requestId);
      assert.ok(request, "what was announced was requested");
      const [stage, first, count] = [Number(args.stage), Number(args.first), Number(args.count)];
      this.#requests.push({ clearing, stage, first, count, args: request.args.toObject() });
    }
  }

  #membersOf(clearing: Clearing, stage: number): Member[] {
    const { feeder } = clearing.feeder;
    return stage === PLANT ? feeder.plants : stage === DISTRIBUTOR ? [feeder.distributor] : clearing.consumers;
  }

  /** Any clearing and stage; more often one whose turn it is. */
  #pickPage(): { clearing: Clearing; stage: number } | undefined {
    const walked = this.random.pick(this.#feeders);
    if (walked.clearings.length === 0) return undefined;
    if (this.random.chance(0.7)) {
      const clearing = walked.clearings.find(({ stage }) => stage < 2) ?? walked.clearings.at(-1)!;
      const open = this.random.chance(0.4) ? this.random.pick(walked.clearings) : clearing;
      return { clearing: open, stage: Math.min(open.stage, CONSUMERS) };
    }
    return { clearing: this.random.pick(walked.clearings), stage: this.random.int(3) };
  }

  /** Records of members, mostly good ones. */
  #records(clearing: Clearing, members: Member[], badness: number): Hex {
    const { random } = this;
    const { lot } = clearing;
    const lots = Number(lot - clearing.firstLot) + 1;
    const records = members.map(({ meter, account }) => {
      const { cursor } = this.#seen[Number(account) - 1]!;
      const n = lot > cursor ? Number(lot - cursor) : lots;
      if (!random.chance(badness)) return meter.record(lot, n);
      switch (random.int(8)) {
        case 0:
          return MISSING_RECORD;
        case 1:
          return meter.record(lot, n + 1 + random.int(3));
        case 2:
          return meter.record(lot, Math.max(1, n - 1));
        case 3:
          return meter.record(lot, n, { forward: meter.register(lot) + 1n });
        case 4:
          return meter.record(lot - 1n, n);
        case 5: {
          const key = meter.key;
          meter.key = STRANGER;
          const forged = meter.record(lot, n);
          meter.key = key;
          return forged;
        }
        case 6:
          return meter.record(lot, n, { quality: random.int(0x800) });
        default:
          return meter.record(lot, lots);
      }
    });
    const whole = concat(records) as Hex;
    const bytes = whole.length / 2 - 1;
    return random.chance(badness / 8) && bytes > 3 ? (dataSlice(whole, 0, 1 + random.int(bytes - 2)) as Hex) : whole;
  }

  async #submit(): Promise<boolean> {
    const page = this.#pickPage();
    if (!page) return false;
    const members = this.#membersOf(page.clearing, page.stage);
    const first = this.random.int(members.length + 1);
    const count = 1 + this.random.int(members.length);
    const records = this.#records(page.clearing, members.slice(first, first + count), 0.25);
    const { feeder } = page.clearing.feeder;
    await this.#must("a submission", () =>
      this.#tx("submit", feeder.id, page.clearing.lot, page.stage, first, records),
    );
    return true;
  }

  /** With any gas at all: either it goes through, or it runs out and nothing has changed. */
  async #submitPoorly(): Promise<boolean> {
    const page = this.#pickPage();
    if (!page) return false;
    const records = this.#records(page.clearing, this.#membersOf(page.clearing, page.stage), 0.1);
    const { feeder } = page.clearing.feeder;
    const gasLimit = 60_000n + this.random.below(1_200_000n);
    try {
      this.#read(
        await this.world.send(this.#market.submit!(feeder.id, page.clearing.lot, page.stage, 0, records, { gasLimit })),
      );
    } catch (error) {
      assert.match(String(error), /out of gas|intrinsic|requires at least/i);
    }
    return true;
  }

  async #fulfil(): Promise<boolean> {
    if (this.#requests.length === 0) return false;
    const at = this.random.int(Math.min(4, this.#requests.length));
    const [{ clearing, stage, first, count, args }] = this.#requests.splice(at, 1) as [Request];
    const members = this.#membersOf(clearing, stage).slice(first, first + count);
    const data = AbiCoder.defaultAbiCoder().encode(
      ["bytes32", "bytes"],
      [args.requestId, this.random.chance(0.04) ? "0xdeadbeef" : this.#records(clearing, members, 0.15)],
    );
    const receipt = await this.#must("a fulfilment", () =>
      this.world.send(
        this.world.operator.fulfillOracleRequest2!(
          args.requestId,
          args.payment,
          args.callbackAddr,
          args.callbackFunctionId,
          args.cancelExpiration,
          data,
          GAS,
        ),
      ),
    );
    // Operator swallows a reverting callback: the consumer's own event says that it did not revert
    assert.equal(this.world.events(receipt, "ChainlinkFulfilled").length, 1, "a callback must not revert");
    return true;
  }

  #anyone(): Member {
    return this.random.pick(this.#members);
  }

  async #deposit(): Promise<boolean> {
    const member = this.#anyone();
    const value = 1n + this.random.below(this.random.chance(0.3) ? 1_000n : 10n ** 14n);
    await this.#must("a deposit", () => this.world.send(this.#market.deposit!(member.account, { value })));
    return true;
  }

  async #withdraw(): Promise<boolean> {
    const member = this.#anyone();
    const free = this.#seen[Number(member.account) - 1]!.withdrawable;
    if (free === 0n) return false;
    const amount = this.random.chance(0.3) ? free : 1n + this.random.below(free);
    const to = "0x00000000000000000000000000000000000000d0";
    await this.#must("a withdrawal above the reserve", () =>
      this.world.send(this.#as(member).withdraw!(member.account, to, amount)),
    );
    return true;
  }

  async #withdrawTooMuch(): Promise<boolean> {
    const member = this.#anyone();
    const free = this.#seen[Number(member.account) - 1]!.withdrawable;
    const amount = free + 1n + this.random.below(1_000n);
    await this.#mustNot("a withdrawal of more than is free", ["ReserveKept", "BalanceTooLow"], () =>
      this.world.send(this.#as(member).withdraw!(member.account, member.owner.address, amount)),
    );
    await this.#mustNot("a withdrawal by a stranger", ["NotOwner"], () =>
      this.world.send(this.#market.withdraw!(member.account, member.owner.address, 1n)),
    );
    return true;
  }

  async #collect(): Promise<boolean> {
    const [debtor, creditor] = [this.#anyone(), this.#anyone()];
    await this.#must("collecting", () => this.#tx("collect", debtor.account, creditor.account));
    return true;
  }

  /** A contract that destroys itself in favour of the market; what a block's producer is paid arrives as silently. */
  async #force(): Promise<boolean> {
    const value = 1n + this.random.below(10n ** 15n);
    const data = `0x73${this.world.book.market.slice(2)}ff`;
    await this.world.send(this.world.regulator.sendTransaction({ data, value, gasLimit: 100_000n }) as never);
    this.#forced += value;
    return true;
  }

  #pickClearing(): Clearing | undefined {
    const walked = this.random.pick(this.#feeders);
    return walked.clearings.length > 0 ? this.random.pick(walked.clearings) : undefined;
  }

  async #later(clearing: Clearing, seconds: number): Promise<boolean> {
    const latest = BigInt(await this.world.chain.helpers.time.latest());
    // the next block is a second later
    return latest + 1n >= lotEnd(clearing.lot, LOT_SECONDS) + BigInt(seconds);
  }

  async #close(): Promise<boolean> {
    const clearing = this.#pickClearing();
    if (!clearing) return false;
    const { feeder } = clearing.feeder;
    const call = () => this.#tx("close", feeder.id, clearing.lot);
    if (clearing.stage !== 2) await this.#mustNot("closing", ["WrongStage"], call);
    else if (await this.#later(clearing, 300)) await this.#must("closing after the grace time", call);
    else await this.#mustNot("closing before the grace time", ["TooEarly"], call);
    return true;
  }

  #inTurn(clearing: Clearing): boolean {
    return clearing.feeder.clearings.find(({ stage }) => stage < 2) === clearing;
  }

  /** A clearing and a stage to go on with; mostly the one whose turn it is, when it has been silent for long enough. */
  async #silent(stages: number, seconds: bigint): Promise<{ clearing: Clearing; stage: number } | undefined> {
    const clearing = this.#pickClearing();
    const inTurn = clearing?.feeder.clearings.find(({ stage }) => stage < 2);
    if (!clearing || !inTurn || this.random.chance(0.3)) {
      return clearing && { clearing, stage: this.random.int(stages) };
    }
    if (this.random.chance(0.7)) await this.world.after(inTurn.lot, seconds);
    return { clearing: inTurn, stage: inTurn.stage };
  }

  async #estimate(): Promise<boolean> {
    const page = await this.#silent(2, 600n);
    if (!page) return false;
    const { clearing, stage } = page;
    const lots = Number(clearing.lot - clearing.firstLot) + 1;
    const { feeder } = clearing.feeder;
    const first = stage === PLANT ? this.random.int(feeder.plants.length) : 0;
    const energies = `0x${Array.from({ length: lots }, () =>
      this.random
        .below(1_500n * WATT_HOUR)
        .toString(16)
        .padStart(12, "0"),
    ).join("")}`;
    const call = () => this.#tx("estimate", feeder.id, clearing.lot, stage, first, energies);
    if (!this.#inTurn(clearing)) await this.#mustNot("an estimate out of turn", ["NotInTurn"], call);
    else if (clearing.stage !== stage) await this.#mustNot("an estimate", ["WrongStage"], call);
    else if (stage === PLANT && this.#clearedTo.get(feeder.plants[first]!.account) === clearing.lot)
      await this.#mustNot("an estimate of what was read", ["AlreadyCleared"], call);
    else if (!(await this.#later(clearing, 600))) await this.#mustNot("an early estimate", ["TooEarly"], call);
    else {
      clearing.spoilt = true;
      await this.#must("an estimate", call);
    }
    return true;
  }

  async #abandon(): Promise<boolean> {
    const page = await this.#silent(3, 1_200n);
    if (!page) return false;
    const { clearing, stage } = page;
    const call = () => this.#tx("abandon", clearing.feeder.feeder.id, clearing.lot, stage);
    if (!this.#inTurn(clearing)) await this.#mustNot("abandoning out of turn", ["NotInTurn"], call);
    else if (clearing.stage !== stage) await this.#mustNot("abandoning", ["WrongStage"], call);
    else if (!(await this.#later(clearing, 1_200))) await this.#mustNot("abandoning early", ["TooEarly"], call);
    else {
      clearing.spoilt = true;
      await this.#must("abandoning", call);
    }
    return true;
  }

  async #reserve(): Promise<boolean> {
    const walked = this.random.pick(this.#feeders);
    const now = BigInt(await this.world.chain.helpers.time.latest()) / BigInt(LOT_SECONDS);
    let from = now + 1n + this.random.below(4n);
    const newest = walked.charters.at(-1)!.from;
    if (from < newest) from = newest;
    await this.#must("a change of terms", () =>
      walked.feeder.charter(from, { terms: { reserve: this.random.below(2n * 10n ** 13n) } }),
    );
    if (from > newest) walked.charters.push({ from });
    return true;
  }

  async #repeat(): Promise<boolean> {
    const clearing = this.#pickClearing();
    if (!clearing) return false;
    const stage = this.random.int(3);
    const { feeder } = clearing.feeder;
    try {
      const receipt = await this.#tx("requestStage", feeder.id, clearing.lot, stage, 0);
      this.#read(receipt);
      this.#note(receipt, clearing);
    } catch (error) {
      // the caller has not approved LINK for what is beyond the free ones
      assert.match(
        reasonOf(error),
        /^(NothingToRequest|RepeatTooEarly|LinkTooLow|PageOutOfRange)\(|exceeds allowance|insufficient allowance/,
      );
    }
    return true;
  }

  async #cancel(): Promise<boolean> {
    if (this.#requests.length === 0) return false;
    const at = this.random.int(this.#requests.length);
    const { args } = this.#requests[at]!;
    try {
      this.#read(await this.#tx("cancelRequest", args.requestId, args.payment, args.cancelExpiration));
      this.#requests.splice(at, 1);
    } catch (error) {
      assert.match(String(error), /Request is not expired/);
    }
    return true;
  }

  async #pause(): Promise<boolean> {
    const walked = this.random.pick(this.#feeders);
    walked.paused = !walked.paused && this.random.chance(0.5);
    await this.#must("pausing", () => this.#tx("pauseOpenings", walked.feeder.id, walked.paused));
    return true;
  }

  async #leave(): Promise<boolean> {
    const walked = this.random.pick(this.#feeders);
    const stays = walked.feeder.consumers.filter((member) => !walked.left.has(member));
    if (stays.length < 2) return false;
    const member = this.random.pick(stays);
    const receipt = await this.#must("leaving", () => this.world.send(this.#as(member).leave!(member.account, GAS)));
    walked.left.add(member);
    const from: bigint = this.world.events(receipt, "Left")[0]!.args.fromLot;
    if (from > walked.charters.at(-1)!.from) walked.charters.push({ from });
    return true;
  }

  async #wait(): Promise<boolean> {
    await this.world.chain.helpers.time.increase(1 + this.random.int(this.random.chance(0.3) ? 2_500 : 500));
    return true;
  }

  // ------------------------------------------------------------------------------------------ what events said

  #add(map: Map<bigint, bigint>, account: bigint, amount: bigint): void {
    map.set(account, (map.get(account) ?? 0n) + amount);
  }

  #read(receipt: ContractTransactionReceipt): void {
    const { world } = this;
    const find = (args: Record<string, unknown>): Clearing => {
      const walked = this.#feeders.find(({ feeder }) => feeder.id === args.feeder)!;
      return walked.clearings.find(({ lot }) => lot === args.lot)!;
    };
    const who = (meterId: unknown): Member => this.#members.find(({ meter }) => meter.meterId === meterId)!;
    for (const { name, args } of world.events(receipt)) {
      if (name === "Deposited") {
        this.#ether += args.amount;
        this.#add(this.#worth, args.account, args.amount);
      } else if (name === "Withdrawn") {
        this.#ether -= args.amount;
        this.#add(this.#worth, args.account, 0n - args.amount);
      } else if (name === "PlantCleared") {
        const clearing = find(args);
        const { account } = who(args.meterId);
        assert.ok((this.#clearedTo.get(account) ?? 0n) < args.lot, "a plant's lots clear at most once, in order");
        this.#clearedTo.set(account, args.lot);
        this.#add(this.#energy, account, args.energy);
        clearing.minted += args.energy;
      } else if (name === "DistributorCleared") {
        const clearing = find(args);
        assert.ok(this.#inTurn(clearing), "a feeder's clearings clear in the order of their lots");
        assert.equal(args.sent, clearing.minted);
        clearing.available = args.available;
        clearing.stage = 2;
      } else if (name === "Corrected") {
        find(args).spoilt = true;
      } else if (name === "PlantPaid") {
        const { account } = who(args.meterId);
        this.#add(this.#paid, account, args.paid);
        this.#add(this.#worth, account, args.paid);
        this.#add(this.#worth, find(args).feeder.feeder.distributor.account, 0n - args.paid);
      } else if (name === "ConsumerCleared") {
        const { account } = who(args.meterId);
        assert.ok((this.#clearedTo.get(account) ?? 0n) < args.lot, "a consumer's lots clear at most once, in order");
        this.#clearedTo.set(account, args.lot);
        this.#add(this.#charged, account, args.charged);
        this.#add(this.#worth, account, 0n - args.charged);
        this.#add(this.#worth, find(args).feeder.feeder.distributor.account, args.charged);
      } else if (name === "ClearingClosed") {
        const clearing = find(args);
        assert.equal(clearing.stage, 2, "a clearing closes once");
        clearing.stage = 3;
      } else if (name === "Minted") {
        this.#minted += args.amount;
      } else if (name === "Burned") {
        this.#burned += args.amount;
      }
    }
    for (const { clearings, feeder } of this.#feeders) {
      const clearing = clearings.find(({ stage }) => stage < 2);
      if (clearing?.stage === 0 && feeder.plants.every((p) => this.#clearedTo.get(p.account) === clearing.lot)) {
        clearing.stage = 1;
      }
    }
  }

  // ------------------------------------------------------------------------------------------ the properties

  /** A plain array: what ethers returns makes of an empty selection one with a zero in it. */
  async #look(): Promise<Seen[]> {
    return Array.from(await this.lens.accounts!(this.world.book.market, this.#members.length));
  }

  async check(): Promise<void> {
    this.#seen = await this.#look();
    await this.#checkMoney();
    await this.#checkTokens();
    for (const walked of this.#feeders) await this.#checkLots(walked);
  }

  async #checkMoney(): Promise<void> {
    const { world } = this;
    const seen = this.#seen;
    const inside = await world.chain.ethers.provider.getBalance(world.book.market);
    const held = seen.reduce((sum, { balance, pot }) => sum + balance + pot, 0n);
    assert.equal(inside - this.#forced, held, "all ether belongs to balances and what is paid to creditors");
    assert.equal(held, this.#ether, "ether in = ether out + balances");
    const pairs = this.#feeders.flatMap(({ feeder }) => [
      ...feeder.consumers.map((consumer) => [consumer, feeder.distributor] as const),
      ...feeder.plants.map((plant) => [feeder.distributor, plant] as const),
    ]);
    const claims: bigint[] = await this.lens.claims!(
      world.book.market,
      pairs.map(([debtor]) => debtor.account),
      pairs.map(([, creditor]) => creditor.account),
    );
    const worth = seen.map(({ balance, owed }) => balance - owed);
    pairs.forEach(([, { account }], i) => {
      worth[Number(account) - 1] = (worth[Number(account) - 1] ?? 0n) + claims[i]!;
    });
    worth.forEach((amount, i) => {
      const said = this.#worth.get(BigInt(i + 1)) ?? 0n;
      assert.equal(amount, said, `account ${i + 1}: balance − arrears + claims is what the events say`);
    });
    seen.forEach(({ balance, owed }, i) => {
      assert.ok(owed === 0n || balance === 0n, `account ${i + 1} owes and has a balance`);
    });
    // a withdrawal of all that is free goes through, whatever the state
    const rich = seen.flatMap(({ withdrawable }, i) => (withdrawable > 0n ? [i] : []));
    if (rich.length > 0) {
      const at = this.random.pick(rich);
      const member = this.#members[at]!;
      await this.#as(member).withdraw!.staticCall(member.account, member.owner.address, seen[at]!.withdrawable);
    }
  }

  async #checkTokens(): Promise<void> {
    const supply: bigint = await this.world.token.totalSupply!();
    assert.equal(this.#minted, this.#burned + supply, "minted = burned + supply");
    let open = 0n;
    for (const { clearings } of this.#feeders) {
      for (const clearing of clearings) {
        if (clearing.stage < 2) open += clearing.minted;
        else if (clearing.stage === 2) {
          const used = this.#usedIn(clearing);
          open += clearing.available > used ? clearing.available - used : 0n;
        }
      }
    }
    assert.equal(supply, open * 10n ** 11n, "the supply is the energy of the clearings still open");
  }

  #carried({ meter }: Member, from: bigint, to: bigint): bigint[] {
    const energies: bigint[] = [];
    for (let lot = from; lot <= to; lot++) {
      const energy = meter.energy(lot);
      energies.push(energy > CAPACITY ? CAPACITY : energy);
    }
    return energies;
  }

  #usedIn(clearing: Clearing): bigint {
    return clearing.consumers
      .filter(({ account }) => (this.#clearedTo.get(account) ?? 0n) >= clearing.lot)
      .flatMap((member) => this.#carried(member, clearing.firstLot, clearing.lot))
      .reduce((a, b) => a + b, 0n);
  }

  async #priceOf(clearing: Clearing, lot: bigint): Promise<bigint> {
    const { feeder } = clearing.feeder;
    const key = `${feeder.id} ${lot}`;
    const known = this.#prices.get(key);
    if (known !== undefined) return known;
    const price: bigint = await this.#market.pricePerKWh!(feeder.id, lot);
    this.#prices.set(key, price);
    if (!clearing.spoilt) {
      const cut = (member: Member) => this.#carried(member, lot, lot)[0]!;
      const expected = clearLot({
        plants: feeder.plants.map((plant, i) => ({ energy: cut(plant), pricePerKWh: feeder.prices[i]! })),
        received: cut(feeder.distributor),
        used: [],
        terms: { ...feeder.terms, penaltyWaived: false },
      });
      assert.equal(price, expected.pricePerKWh, `the price of lot ${lot} is SPEC's`);
    }
    return price;
  }

  async #checkLots(walked: Walked): Promise<void> {
    const { feeder } = walked;
    // what a consumer was charged is what its lots cost at their prices, whenever and however they came
    for (const member of feeder.consumers) {
      const money = new Money();
      const to = this.#clearedTo.get(member.account) ?? FIRST_LOT - 1n;
      assert.equal(this.#seen[Number(member.account) - 1]!.cursor, to);
      for (const clearing of walked.clearings) {
        if (clearing.lot > to) break;
        for (let lot = clearing.firstLot; lot <= clearing.lot; lot++) {
          money.add(this.#carried(member, lot, lot)[0]!, await this.#priceOf(clearing, lot));
        }
      }
      assert.equal(
        this.#charged.get(member.account) ?? 0n,
        money.total,
        "a late reading costs what a punctual one had",
      );
    }
    for (const [i, member] of feeder.plants.entries()) {
      const { cursor, carried } = this.#seen[Number(member.account) - 1]!;
      const measured = this.#carried(member, FIRST_LOT, cursor).reduce((a, b) => a + b, 0n);
      const entered = this.#energy.get(member.account) ?? 0n;
      assert.equal(entered + carried, measured, "estimates and corrections add up to what was measured");
      const cleared = walked.clearings.filter(({ stage }) => stage >= 2).at(-1);
      if (cleared && this.#clearedTo.get(member.account) === cleared.lot) {
        const money = new Money();
        assert.equal(
          this.#paid.get(member.account) ?? 0n,
          money.add(entered, feeder.prices[i]!),
          "a plant is paid its energy",
        );
      }
    }
  }

  // ------------------------------------------------------------------------------------------ the end

  /** Delivers all that is outstanding; then everything is closed and no token is left. */
  async finish(): Promise<void> {
    for (const walked of this.#feeders) {
      for (const clearing of walked.clearings) {
        for (const stage of [PLANT, DISTRIBUTOR, CONSUMERS]) {
          const members = this.#membersOf(clearing, stage);
          const records = this.#records(clearing, members, 0);
          const { id } = walked.feeder;
          await this.#must("a submission", () => this.#tx("submit", id, clearing.lot, stage, 0, records));
          this.#seen = await this.#look();
        }
        assert.equal(clearing.stage, 3, "with every reading delivered a clearing is closed");
      }
    }
    await this.check();
    assert.equal(await this.world.token.totalSupply!(), 0n, "no token is left when all clearings are closed");
  }
}
