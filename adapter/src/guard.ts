import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Refusal } from "./refusal.ts";

/** Addresses remembered at most; beyond, the longest unseen are forgotten. */
const ADDRESSES = 10_000;

/** Lets each address through so often a second, with as many at once. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  /** @param perSecond 0 is no limit */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /**
   * @param socket whose request it is
   * @throws Refusal 503, for a Chainlink node retries nothing below 500
   */
  take(socket: { remoteAddress?: string | undefined }): void {
    if (this.#perSecond === 0) return;
    const now = performance.now();
    const address = socket.remoteAddress ?? "";
    const bucket = this.#buckets.get(address) ?? { tokens: this.#perSecond, at: now };
    bucket.tokens = Math.min(this.#perSecond, bucket.tokens + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    if (this.#buckets.size > ADDRESSES) this.#buckets.delete(this.#buckets.keys().next().value!);
    if (bucket.tokens < 1) {
      throw new Refusal(503, "too-many-requests", `more than ${this.#perSecond} requests a second from one address`, {
        retryAfter: 1,
      });
    }
    bucket.tokens--;
  }
}

/** Holds the number of requests under way below a limit. */
export class ConcurrencyLimit {
  readonly #most: number;
  #now = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** @throws Refusal 503 when as many as allowed are under way */
  enter(): void {
    if (this.#now >= this.#most) {
      throw new Refusal(503, "too-many-requests", `${this.#most} requests are under way already`, { retryAfter: 1 });
    }
    this.#now++;
  }

  leave(): void {
    this.#now--;
  }
}

/** Compares bearer tokens by their hashes, in a time that says nothing about either. */
export class TokenCheck {
  readonly #wanted: Buffer | undefined;

  constructor(token: string | undefined) {
    this.#wanted = token === undefined ? undefined : sha256(token);
  }

  /** @throws Refusal 401 */
  check(request: IncomingMessage): void {
    if (this.#wanted === undefined) return;
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (given === undefined) throw new Refusal(401, "unauthorized", "a bearer token is needed");
    if (!timingSafeEqual(sha256(given), this.#wanted))
      throw new Refusal(401, "unauthorized", "the bearer token is wrong");
  }
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
