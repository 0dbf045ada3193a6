import { EnergyMarketAbi, MeterRegistryAbi } from "@bijuli/contracts/abi";
import { encodeEnergies, type Hex, type SignedReading } from "@bijuli/protocol";
import { Interface, type LogDescription } from "ethers";
import { deliveriesIn, feederName, type LatePart, Ledger, type LotStatement, type MeterLot } from "../ledger/index.ts";
import { Alarms, Severity } from "./alarms.ts";
import { Breather } from "./breather.ts";
import { Buckets } from "./buckets.ts";
import { Entries } from "./entries.ts";
import { Seats } from "./seats.ts";
import { placeOf, type Store, type StoredLog, stored } from "./store.ts";

const market = new Interface(EnergyMarketAbi);
const registry = new Interface(MeterRegistryAbi);
const terms = market.getEvent("Chartered")!.inputs.find(({ name }) => name === "terms")!.components!;

const number = Number;

/** Logs become the ledger's lots and the page's rows. */
export class Projection {
  readonly #store: Store;
  readonly #seats: Seats;
  readonly #lotSeconds: number;
  readonly #alarms: Alarms;
  readonly #meters = new Map<Hex, bigint>();
  #ledger: Ledger;
  #late: LatePart[] = [];
  #buckets: Buckets;
  #entries: Entries;
  /** The deliveries of the transaction that was looked at last. */
  #delivered: { tx: Hex; requests: Set<string> } | undefined;

  constructor(store: Store, options: { lotSeconds: number; unaccountedBps: number }) {
    this.#store = store;
    this.#seats = new Seats(store);
    this.#lotSeconds = options.lotSeconds;
    this.#alarms = new Alarms(store, options.unaccountedBps);
    this.#ledger = this.#newLedger();
    this.#buckets = new Buckets(store, options.lotSeconds);
    this.#entries = new Entries(store, () => this.#ledger.accounts);
  }

  /** The ledger as it was: from the logs that are kept. Rows are left as they are. */
  async replay(): Promise<number> {
    this.#ledger = this.#newLedger();
    this.#meters.clear();
    let logs = 0;
    const breather = new Breather();
    for (const log of this.#store.logs()) {
      await this.#ledger.apply([this.#chainLog(log)]);
      logs++;
      await breather.breathe();
    }
    this.#late = [];
    return logs;
  }

  /** One log more, in the chain's order. @returns the feeder that it changed */
  async take(log: StoredLog): Promise<Hex | undefined> {
    const topics = [...log.topics];
    const event = market.parseLog({ topics, data: log.data }) ?? registry.parseLog({ topics, data: log.data });
    if (!event) return undefined;
    const lots = await this.#ledger.apply([this.#chainLog(log)]);
    await this.#tables(event, log);
    this.#entries.take(event, log, placeOf(log));
    for (const late of this.#late.splice(0)) this.#latePart(late);
    for (const lot of lots) this.#lot(lot, log);
    if (lots.length > 0) this.#buckets.add(lots);
    return event.args.feeder as Hex | undefined;
  }

  #newLedger(): Ledger {
    return new Ledger({ lotSeconds: this.#lotSeconds, onLate: (late) => this.#late.push(late) });
  }

  #chainLog(log: StoredLog) {
    return { ...log, transactionHash: log.tx, input: async () => this.#store.inputOf(log.tx)! };
  }

  /** Rows that follow from one event alone. */
  async #tables({ name, args }: LogDescription, log: StoredLog): Promise<void> {
    const store = this.#store;
    switch (name) {
      case "MeterRegistered":
        store.put("meter", {
          id: args.meterId,
          number: this.#nextMeter(),
          from_lot: args.fromLot,
          opening_forward: stored(args.openingForward),
          opening_reverse: stored(args.openingReverse),
          capacity: stored(args.capacity),
          suspended_from: null,
          equivocations: 0,
        });
        store.put("signer", { meter: args.meterId, from_lot: args.fromLot, signer: args.signer });
        this.#capacity(args);
        break;
      case "SignerRotated":
      case "MeterReinstated":
        store.put("signer", { meter: args.meterId, from_lot: args.fromLot, signer: args.signer });
        if (name === "MeterReinstated") store.run("update meter set suspended_from = null where id = ?", args.meterId);
        break;
      case "CapacitySet":
        store.run("update meter set capacity = ? where id = ?", stored(args.capacity), args.meterId);
        this.#capacity(args);
        break;
      case "MeterSuspended":
        store.run("update meter set suspended_from = ? where id = ?", args.fromLot, args.meterId);
        break;
      case "EquivocationProven":
        store.run("update meter set equivocations = equivocations + 1 where id = ?", args.meterId);
        this.#alarms.raise(log, { lot: args.lot, meter: args.meterId, kind: "equivocation", severity: Severity.ALARM });
        break;
      case "FeederCreated":
        store.put("feeder", { id: args.feeder, number: args.number, name: feederName({ args }), terms: "{}", lots: 0 });
        break;
      case "Chartered":
        this.#charter(args);
        break;
      case "Joined":
        store.put("account", {
          id: args.account,
          feeder: args.feeder,
          meter: args.meterId,
          role: args.role,
          owner: args.owner,
          price: null,
          listed: 0,
          left_from: null,
          balance: 0,
          owed: 0,
          pot: 0,
          reserve_low: 0,
        });
        break;
      case "MeterReplaced":
        this.#seats.replace(args.account, args.meterId, args.fromLot);
        break;
      case "Left":
        this.#seats.leave(args.account, args.fromLot);
        break;
      case "ConsumersListed":
        for (const account of args.accounts) this.#seats.take(account, args.fromLot);
        break;
      case "ConsumersDelisted":
        for (const account of args.accounts) this.#seats.leave(account, args.fromLot);
        break;
      case "ReserveLow":
        store.run("update account set reserve_low = 1 where id = ?", args.account);
        this.#alarms.raise(log, {
          feeder: store.get("select feeder from account where id = ?", args.account)?.feeder as Hex,
          kind: "reserve-low",
          severity: Severity.NOTICE,
          value: args.balance,
          detail: { account: number(args.account), reserve: String(args.reserve) },
        });
        break;
      case "LotsOpened":
        store.put("clearing", {
          feeder: args.feeder,
          last: args.lot,
          lots: args.lots,
          stage: 0,
          opened_at: log.time,
          opened_tx: log.tx,
          consumers_txs: "[]",
          deferred: 0,
          refused: 0,
          estimated: 0,
        });
        store.run("update feeder set opened_lot = ? where id = ?", args.lot, args.feeder);
        break;
      case "StageRequested":
        store.put("request", {
          id: args.requestId,
          place: placeOf(log),
          feeder: args.feeder,
          lot: args.lot,
          stage: args.stage,
          first: args.first,
          count: args.count,
          operator: args.operator,
          asked_at: log.time,
          asked_tx: log.tx,
          state: "asked",
          deferrals: 0,
        });
        break;
      case "RequestRefused":
        store.run(
          "update request set state = 'refused', cause = ? where id = ? and state = 'asked'",
          `${args.operator} did not take it`,
          args.requestId,
        );
        break;
      case "Deferred":
        store.run(
          "update request set state = 'deferred', deferrals = deferrals + 1, cause = ? where id = ?",
          ["", "out of turn", "out of gas", "a reading is missing"][number(args.reason)] ?? `${args.reason}`,
          args.requestId,
        );
        store.run("update clearing set deferred = deferred + 1 where feeder = ? and last = ?", args.feeder, args.lot);
        if (number(args.reason) === 3) {
          this.#alarms.raise(log, {
            feeder: args.feeder,
            lot: args.lot,
            kind: "reading-missing",
            severity: Severity.WARNING,
            detail: { stage: number(args.stage) },
          });
        }
        break;
      case "ReadingRefused":
        store.run("update clearing set refused = refused + 1 where feeder = ? and last = ?", args.feeder, args.lot);
        this.#alarms.raise(log, {
          feeder: args.feeder,
          lot: args.lot,
          meter: args.meterId,
          kind: "refused",
          severity: number(args.reason) <= 1 ? Severity.NOTICE : Severity.WARNING,
          detail: { reason: number(args.reason), stage: number(args.stage) },
        });
        break;
      case "CapacityExceeded":
        this.#alarms.raise(log, {
          feeder: args.feeder,
          lot: args.lot,
          meter: args.meterId,
          kind: "capacity",
          severity: Severity.WARNING,
          value: args.cut,
        });
        break;
      case "Estimated":
        store.run("update clearing set estimated = 1 where feeder = ? and last = ?", args.feeder, args.lot);
        this.#alarms.raise(log, {
          feeder: args.feeder,
          lot: args.lot,
          meter: args.meterId,
          kind: "estimated",
          severity: Severity.WARNING,
        });
        break;
      case "PlantCleared":
        await this.#cleared(0, args, log);
        store.run(
          "update clearing set stage = 1, plant_at = ?, plant_tx = ? where feeder = ? and last = ?",
          log.time,
          log.tx,
          args.feeder,
          args.lot,
        );
        break;
      case "DistributorCleared":
        await this.#cleared(1, args, log);
        store.run(
          "update clearing set stage = 2, distributor_at = ?, distributor_tx = ?, sent = ?, received = ? where feeder = ? and last = ?",
          log.time,
          log.tx,
          stored(args.sent),
          stored(args.received),
          args.feeder,
          args.lot,
        );
        break;
      case "ConsumerCleared":
        await this.#cleared(2, args, log);
        this.#consumerTransaction(args, log);
        break;
      case "ClearingClosed":
        store.run(
          "update clearing set stage = 3, closed_at = ?, closed_tx = ?, delivered = ?, unaccounted = ?, overdrawn = ? where feeder = ? and last = ?",
          log.time,
          log.tx,
          stored(args.delivered),
          stored(args.unaccounted),
          stored(args.overdrawn),
          args.feeder,
          args.lot,
        );
        break;
    }
  }

  #charter(args: LogDescription["args"]): void {
    const shown = Object.fromEntries(
      terms.map(({ name }) => [
        name,
        typeof args.terms[name] === "bigint" ? String(args.terms[name]) : args.terms[name],
      ]),
    );
    const { feeder, distributor, plants, fromLot } = args;
    this.#store.put("charter", {
      feeder,
      from_lot: fromLot,
      terms: JSON.stringify(shown),
      prices: JSON.stringify(
        Object.fromEntries(
          plants.map((seat: { account: bigint; pricePerKWh: bigint }) => [`${seat.account}`, `${seat.pricePerKWh}`]),
        ),
      ),
    });
    this.#store.run(
      "update feeder set terms = ?, from_lot = coalesce(from_lot, ?) where id = ?",
      JSON.stringify(shown),
      fromLot,
      feeder,
    );
    const suppliers = new Map<bigint, bigint | undefined>(
      plants.map(({ account, pricePerKWh }: { account: bigint; pricePerKWh: bigint }) => [account, pricePerKWh]),
    );
    if (distributor !== 0n) suppliers.set(distributor, undefined);
    const listed = this.#store.all("select id from account where feeder = ? and role < 2 and listed = 1", feeder);
    for (const { id } of listed) if (!suppliers.has(id as bigint)) this.#seats.leave(id as bigint, fromLot);
    for (const [account, price] of suppliers) {
      this.#seats.take(account, fromLot);
      if (price !== undefined) this.#store.run("update account set price = ? where id = ?", stored(price), account);
    }
  }

  #capacity({ meterId, fromLot, capacity }: LogDescription["args"]): void {
    this.#store.put("capacity", { meter: meterId, from_lot: fromLot, capacity: stored(capacity) });
  }

  #consumerTransaction(args: LogDescription["args"], log: StoredLog): void {
    const known = this.#store.get(
      "select consumers_txs from clearing where feeder = ? and last = ?",
      args.feeder,
      args.lot,
    );
    const transactions = JSON.parse((known?.consumers_txs as string | undefined) ?? "[]") as Hex[];
    if (transactions.at(-1) === log.tx) return;
    this.#store.run(
      "update clearing set consumers_at = ?, consumers_txs = ? where feeder = ? and last = ?",
      log.time,
      JSON.stringify([...transactions, log.tx]),
      args.feeder,
      args.lot,
    );
  }

  /** The requests that a transaction served, whether an oracle delivered or anyone submitted. */
  async #cleared(stage: number, args: LogDescription["args"], log: StoredLog): Promise<void> {
    if (this.#delivered?.tx !== log.tx) this.#delivered = { tx: log.tx, requests: new Set() };
    const key = `${args.feeder}/${args.lot}/${stage}`;
    if (this.#delivered.requests.has(key)) return;
    this.#delivered.requests.add(key);
    const done = (condition: string, ...values: (string | bigint | number)[]) =>
      this.#store.run(
        `update request set state = 'cleared', cleared_at = ?, cleared_tx = ? where state <> 'cleared' and ${condition}`,
        log.time,
        log.tx,
        ...values,
      );
    for (const { requestId, page } of deliveriesIn(this.#store.inputOf(log.tx)!)) {
      if (requestId !== undefined)
        done("id = ? and feeder = ? and lot = ? and stage = ?", requestId, args.feeder, args.lot, stage);
      else if (page !== undefined && page.stage === stage)
        done("feeder = ? and lot = ? and stage = ? and first = ?", page.feeder, page.lot, page.stage, page.first);
    }
  }

  #latePart({ feeder, lot, account, part }: LatePart): void {
    this.#record(feeder, 2, part.signed, undefined);
    this.#part(part, lot, true);
    this.#buckets.accountDay(account, lot, part);
  }

  #lot(statement: LotStatement, log: StoredLog): void {
    const { feeder, lot, clearing, cleared, plants, distributor, consumers, transactions } = statement;
    const present = consumers.flatMap(({ part }) => (part ? [part] : []));
    let quality = 0;
    for (const [stage, parts] of [plants, [distributor], present].entries()) {
      for (const part of parts) {
        this.#part(part, lot, false);
        quality |= part.signed?.reading.quality ?? 0;
        if (lot !== clearing) continue;
        const tx =
          stage === 0 ? transactions.plant : stage === 1 ? transactions.distributor : transactions.consumers.at(-1);
        this.#record(feeder, stage, part.signed, tx);
        this.#alarms.ofQuality(log, feeder, clearing, part);
      }
    }
    const alarms = this.#alarms.ofLot(log, statement);
    const sum = (parts: readonly MeterLot[]) => parts.reduce((total, { money }) => total + money, 0n);
    this.#store.put("lot", {
      feeder,
      lot,
      clearing,
      sent: stored(cleared.sent),
      received: stored(distributor.energy),
      lost: stored(cleared.lost),
      available: stored(cleared.available),
      actual_loss: stored(cleared.actualLoss),
      excess_loss: stored(cleared.excessLoss),
      factor: stored(cleared.factor),
      price: stored(cleared.pricePerKWh),
      delivered: stored(cleared.delivered),
      unaccounted: stored(cleared.unaccounted),
      overdrawn: stored(cleared.overdrawn),
      plants_paid: stored(sum(plants)),
      consumers_charged: stored(sum(present)),
      quality,
      alarms,
    });
    this.#store.run("update feeder set lots = lots + 1 where id = ?", feeder);
  }

  #part(part: MeterLot, lot: bigint, late: boolean): void {
    this.#store.put("part", {
      meter: this.#meterNumber(part.meterId),
      lot,
      energy: stored(part.energy),
      money: stored(part.money),
      late: late ? 1 : 0,
    });
  }

  #record(feeder: Hex, stage: number, signed: SignedReading | undefined, tx: Hex | undefined): void {
    if (signed === undefined) return;
    const { reading, signature } = signed;
    this.#store.put("record", {
      meter: this.#meterNumber(reading.meterId),
      lot: reading.lot,
      feeder,
      stage,
      quality: reading.quality,
      forward: stored(reading.forward),
      reverse: stored(reading.reverse),
      signature,
      energies: Buffer.from(encodeEnergies(reading.energies).slice(2), "hex"),
      tx: tx ?? null,
    });
  }

  #meterNumber(id: Hex): bigint {
    let known = this.#meters.get(id);
    if (known === undefined) {
      known = this.#store.get("select number from meter where id = ?", id)!.number as bigint;
      this.#meters.set(id, known);
    }
    return known;
  }

  #nextMeter(): bigint {
    return this.#store.get("select coalesce(max(number), 0) + 1 as next from meter")!.next as bigint;
  }
}
