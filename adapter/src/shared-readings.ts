import { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Meter } from "./meters.ts";
import { shelfKey } from "./shelf.ts";

/** A record in the shared cache: as it was signed, its meter, lot and count of lots known from its key. */
export interface SharedRecord {
  lot: bigint;
  lots: number;
  digits: string;
}

/**
 * Readings that several adapters behind one load balancer share, so that one reader's answer serves them all and a
 * contradiction is seen whichever of them meets it. It only ever adds to what an adapter has itself: when it is away,
 * each goes on alone. What comes from it is verified like what comes from a reader.
 */
export interface SharedReadings {
  get(meter: Meter, lot: bigint, lots: number): Promise<SharedRecord | undefined>;
  /** All that speaks about the lots' ends from `from` to `to`. */
  overlapping(meter: Meter, from: bigint, to: bigint): Promise<SharedRecord[]>;
  /** Returns the record that stood there already, when it is another one: two adapters may have read at the same time. */
  put(meter: Meter, record: SharedRecord): Promise<SharedRecord | undefined>;
  state(): string;
  close(): Promise<void>;
}

/*
 * KEYS[1] the reading's key, KEYS[2] the meter's index (sorted set: "lot:lots" by lot)
 * ARGV[1] the record's digits, [2] how long they are kept in ms, [3] "lot:lots", [4] lot, [5] the last lot to forget
 * Keeps the first record for good, and returns it: a closed lot never changes.
 */
const PUT = `
redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2])
redis.call("ZADD", KEYS[2], ARGV[4], ARGV[3])
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", ARGV[5])
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return redis.call("GET", KEYS[1])`;

export class RedisReadings implements SharedReadings {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #maxAgeMs: number;
  readonly #keptLots: bigint;
  readonly #log: Logger;
  readonly #onCommand: (ok: boolean, name: string) => void;

  constructor(options: {
    url: string;
    prefix: string;
    timeoutMs: number;
    maxAgeMs: number;
    lotSeconds: number;
    log: Logger;
    onCommand?: (ok: boolean, name: string) => void;
  }) {
    this.#prefix = options.prefix;
    this.#maxAgeMs = options.maxAgeMs;
    this.#keptLots = BigInt(Math.ceil(options.maxAgeMs / 1000 / options.lotSeconds));
    this.#log = options.log;
    this.#onCommand = options.onCommand ?? (() => {});
    this.#redis = new Redis(options.url, {
      commandTimeout: options.timeoutMs,
      connectTimeout: options.timeoutMs * 4,
      // A command that finds no connection fails at once; its request goes on without it.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2000),
    });
    let away = false;
    this.#redis.on("error", (error: Error) => {
      if (!away) this.#log.warn(`the shared cache is away (${error.message}); this adapter goes on alone`);
      away = true;
    });
    this.#redis.on("ready", () => {
      this.#log.info("the shared cache is connected");
      away = false;
    });
  }

  /** Resolves when connected, or after a while all the same. */
  async connected(patienceMs: number): Promise<void> {
    if (this.#redis.status === "ready") return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#redis.once("ready", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  get(meter: Meter, lot: bigint, lots: number): Promise<SharedRecord | undefined> {
    return this.#try("get", undefined, async () => {
      const digits = await this.#redis.get(this.#key(meter, shelfKey(lot, lots)));
      return digits === null ? undefined : { lot, lots, digits };
    });
  }

  overlapping(meter: Meter, from: bigint, to: bigint): Promise<SharedRecord[]> {
    return this.#try("zrangebyscore", [], async () => {
      const members = await this.#redis.zrangebyscore(this.#index(meter), from.toString(), "+inf");
      const wanted = members.flatMap((member) => {
        const [lot, lots] = member.split(":");
        const entry = { member, lot: BigInt(lot!), lots: Number(lots) };
        return entry.lot - BigInt(entry.lots) <= to ? [entry] : [];
      });
      if (wanted.length === 0) return [];
      const records = await this.#redis.mget(wanted.map(({ member }) => this.#key(meter, member)));
      return wanted.flatMap(({ lot, lots }, i) => (records[i] ? [{ lot, lots, digits: records[i] }] : []));
    });
  }

  put(meter: Meter, { lot, lots, digits }: SharedRecord): Promise<SharedRecord | undefined> {
    const member = shelfKey(lot, lots);
    const forget = lot - this.#keptLots;
    return this.#try("eval", undefined, async () => {
      const keys = [this.#key(meter, member), this.#index(meter)];
      const args = [digits, this.#maxAgeMs, member, lot.toString(), forget.toString()];
      const there = await this.#redis.eval(PUT, 2, ...keys, ...args);
      return typeof there === "string" && there !== digits ? { lot, lots, digits: there } : undefined;
    });
  }

  state(): string {
    return this.#redis.status;
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
  }

  #key(meter: Meter, member: string): string {
    return `${this.#prefix}reading:${meter.id}:${member}`;
  }

  #index(meter: Meter): string {
    return `${this.#prefix}lots:${meter.id}`;
  }

  async #try<T>(name: string, otherwise: T, command: () => Promise<T>): Promise<T> {
    if (this.#redis.status !== "ready") return otherwise;
    try {
      const value = await command();
      this.#onCommand(true, name);
      return value;
    } catch (error) {
      this.#onCommand(false, name);
      this.#log.debug({ err: error }, `the shared cache failed on ${name}`);
      return otherwise;
    }
  }
}
