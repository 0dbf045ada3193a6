import type { AddressBook } from "../../contracts/src/index.ts";
import { CONSUMERS, DISTRIBUTOR, PLANT } from "../../contracts/test/support/feeder.ts";
import type { Clearing, Sent } from "./scenario.ts";
import {
  COLD_ACCOUNT,
  COLD_SLOT,
  calldata,
  copy,
  ECRECOVER,
  INTRINSIC,
  keccak,
  log,
  REFUND_QUOTIENT,
  readCode,
  storeCost,
  WARM,
  writeCode,
} from "./schedule.ts";
import { type Breakdown, PARTS, type Part } from "./trace.ts";

/** Instructions that no way of computing a lot does without, in gas; see the README for how they are counted. */
export const PLANT_LOT = 12;
export const DISTRIBUTOR_LOT = 84;
export const DISTRIBUTOR_PLANT_LOT = 11;
export const CONSUMER_LOT = 14;

/** Bytes of a lot's price where the highest is some 10^13 wei per kWh. */
export const PRICE_BYTES = 6;
/** From here on prices are cheaper as code than in slots. */
const PRICES_IN_CODE = 5;

const CHUNK = 64;

/** Adds up what one transaction cannot do without, slot by slot, as the protocol charges it. */
class Floor {
  readonly parts = Object.fromEntries(PARTS.map((part) => [part, 0])) as Breakdown;
  readonly #slots = new Map<string, { original: number; current: number }>();
  readonly #accounts = new Set<string>();
  #values = 1;
  #refund = 0;

  add(part: Part, gas: number, times = 1): this {
    this.parts[part] += gas * times;
    return this;
  }

  /** A contract that is called or whose code is read. */
  account(name: string, part: Part = "calls"): this {
    this.add(part, this.#accounts.has(name) ? WARM : COLD_ACCOUNT);
    this.#accounts.add(name);
    return this;
  }

  /** @param zero whether the slot held nothing before the transaction, where it is touched for the first time */
  read(name: string, part: Part = "slots", zero = false): this {
    this.add(part, this.#slots.has(name) ? WARM : COLD_SLOT);
    if (!this.#slots.has(name)) this.#slots.set(name, { original: zero ? 0 : 1, current: zero ? 0 : 1 });
    return this;
  }

  /** Reads a slot and writes something new to it, or nothing. */
  write(name: string, options: { part?: Part; zero?: boolean; free?: boolean } = {}): this {
    const { part = "slots", zero = false, free = false } = options;
    this.read(name, part, zero);
    const slot = this.#slots.get(name)!;
    const value = free ? 0 : ++this.#values;
    const { gas, refund } = storeCost(slot.original, slot.current, value);
    this.add(part, gas);
    this.#refund += refund;
    slot.current = value;
    return this;
  }

  /** The gas of the whole transaction. */
  total(data: string): number {
    const { gas, atLeast } = calldata(data);
    this.parts.intrinsic = INTRINSIC;
    this.parts.calldata = gas;
    const spent = PARTS.reduce((sum, part) => sum + this.parts[part], 0);
    this.parts.refund = 0 - Math.min(this.#refund, Math.floor(spent / REFUND_QUOTIENT));
    const charged = spent + this.parts.refund;
    this.parts.calldataFloor = Math.max(atLeast - charged, 0);
    return charged + this.parts.calldataFloor;
  }
}

/** A transaction's floor, and its parts. */
export interface Floored {
  gas: number;
  parts: Breakdown;
}

/** The floors of the transactions of one clearing. */
export class Floors {
  readonly #book: AddressBook;
  readonly #clearing: Clearing;

  constructor(book: AddressBook, clearing: Clearing) {
    this.#book = book;
    this.#clearing = clearing;
  }

  opening(sent: Sent): Floored {
    const { setting } = this.#clearing;
    const requests = sent.receipt.logs.filter(({ address }) => same(address, this.#book.operator)).length;
    const floor = new Floor();
    floor.write("feeder").read("feeder's operators").add("code", readCode(64));
    this.#readCharter(floor);
    floor.add("code", readCode(36 * Math.min(CHUNK, setting.consumers)), Math.ceil(setting.consumers / CHUNK));
    floor.write("clearing", { zero: sent === this.#clearing.opening[0] });
    for (let i = 0; i < requests; i++) {
      floor.write(`pending ${i}`, { zero: true });
      floor.account("link", "operator").account("operator", "operator");
      floor.write("link of the market", { part: "operator" }).write("link of the operator", { part: "operator" });
      floor.write(`commitment ${i}`, { part: "operator", zero: true }).write("reserved link", { part: "operator" });
    }
    return this.#finish(floor, sent);
  }

  delivery(stage: number, sent: Sent): Floored {
    const floor = new Floor();
    if (same(sent.receipt.to!, this.#book.operator)) this.#fulfil(floor, sent);
    this.#readCharter(floor);
    floor.account("registry");
    if (stage === PLANT) this.#plants(floor, sent);
    else if (stage === DISTRIBUTOR) this.#distributor(floor);
    else if (stage === CONSUMERS) this.#consumers(floor, sent);
    return this.#finish(floor, sent);
  }

  /** The Operator's own part of a delivery, and the client's book. */
  #fulfil(floor: Floor, sent: Sent): void {
    floor.read("authorised sender", "operator");
    floor.write("commitment", { part: "operator", free: true }).write("reserved link", { part: "operator" });
    floor.add("operator", keccak(32 + 20 + 4 + 32)).account("market", "operator");
    floor.add("operator", copy((sent.data.length - 2) / 2));
    floor.write("pending", { free: true });
  }

  #plants(floor: Floor, sent: Sent): void {
    const { lots, plantBytes } = this.#clearing;
    floor.read("feeder").write("clearing");
    for (let i = 0; i < sent.members; i++) {
      this.#record(floor, `plant ${i}`);
      const slots = Math.ceil((1 + plantBytes[i]! * lots) / 32);
      for (let s = 0; s < slots; s++) floor.write(`shelf ${i} ${s}`);
      floor.add("rest", PLANT_LOT, lots);
      mint(floor, `plant ${i}`);
      send(floor, `plant ${i}`, "distributor", true);
    }
  }

  #distributor(floor: Floor): void {
    const { lots, setting, plantBytes } = this.#clearing;
    floor.write("feeder").write("clearing");
    this.#record(floor, "distributor");
    for (let i = 0; i < setting.plants; i++) {
      const slots = Math.ceil((1 + plantBytes[i]! * lots) / 32);
      for (let s = 0; s < slots; s++) floor.read(`shelf ${i} ${s}`);
      floor.write(`account of plant ${i}`);
    }
    floor.add("rest", DISTRIBUTOR_LOT + DISTRIBUTOR_PLANT_LOT * setting.plants, lots);
    if (lots > 1) floor.write("prices", { zero: true });
    if (lots >= PRICES_IN_CODE) floor.add("code", writeCode(PRICE_BYTES * lots));
    burn(floor, "distributor");
  }

  #consumers(floor: Floor, sent: Sent): void {
    const { lots, setting } = this.#clearing;
    floor.write("clearing").write("account of the distributor");
    if (lots > 1) floor.read("prices");
    if (lots >= PRICES_IN_CODE) floor.add("code", readCode(PRICE_BYTES * lots));
    // a page of so many members lies in at least so many chunks of the list
    const chunks = Math.ceil(sent.members / CHUNK);
    floor.add("code", readCode(36 * Math.min(CHUNK, setting.consumers)), chunks);
    for (let i = 0; i < sent.members; i++) {
      this.#record(floor, `consumer ${i}`);
      floor.add("rest", CONSUMER_LOT, lots);
      if (!setting.tokensPerConsumer) continue;
      send(floor, "distributor", `consumer ${i}`);
      burn(floor, `consumer ${i}`, { all: true, empty: true });
    }
    // with one burn a page, what nobody used goes in the same move as the last page's
    if (sent.last) burn(floor, "distributor", { all: true, last: true });
    else if (!setting.tokensPerConsumer) burn(floor, "distributor");
  }

  /** Key, account, signature and hashes of one meter's record. */
  #record(floor: Floor, meter: string): void {
    const bytes = 6 * this.#clearing.lots;
    floor.read(`key of ${meter}`).write(`account of ${meter}`);
    floor.add("signature", ECRECOVER + keccak(bytes) + keccak(8 * 32) + keccak(66));
    floor.add("rest", copy(bytes));
  }

  #readCharter(floor: Floor): void {
    const { plants, consumers } = this.#clearing.setting;
    floor.read("charter").add("code", readCode(136 + 44 * plants + 20 * Math.ceil(consumers / CHUNK)));
  }

  #finish(floor: Floor, sent: Sent): Floored {
    const { operator, link, token } = this.#book;
    for (const { address, topics, data } of sent.receipt.logs) {
      const part = [operator, link].some((its) => same(its, address))
        ? "operator"
        : same(token, address)
          ? "tokens"
          : "events";
      floor.add(part, log(topics.length, (data.length - 2) / 2));
    }
    return { gas: floor.total(sent.data), parts: floor.parts };
  }
}

const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();

// ERC777's own moves: two balances or the supply, and for each side the ERC-1820 registry's answer that there is no hook.

function mint(floor: Floor, to: string): void {
  hook(floor, `recipient ${to}`);
  floor.write("supply", { part: "tokens", zero: true }).write(`tokens of ${to}`, { part: "tokens", zero: true });
}

function send(floor: Floor, from: string, to: string, all = false): void {
  hook(floor, `sender ${from}`);
  hook(floor, `recipient ${to}`);
  floor.write(`tokens of ${from}`, { part: "tokens", free: all });
  floor.write(`tokens of ${to}`, { part: "tokens", zero: true });
}

function burn(floor: Floor, from: string, options: { all?: boolean; empty?: boolean; last?: boolean } = {}): void {
  hook(floor, `sender ${from}`);
  floor.write(`tokens of ${from}`, { part: "tokens", free: options.all ?? false, zero: options.empty ?? false });
  floor.write("supply", { part: "tokens", free: options.last ?? false });
}

function hook(floor: Floor, name: string): void {
  floor.account("token", "tokens").account("ERC-1820", "tokens").read(name, "tokens");
}
