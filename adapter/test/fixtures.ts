import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import {
  type Clock,
  encodeRecord,
  type Hex,
  type LotReading,
  loadSettings,
  meterIdOf,
  type ReadingDomain,
  readingDigest,
  readingDomain,
  readingToJson,
  signReading,
} from "@bijuli/protocol";
// Not all of ethers: it takes a quarter of a second to load, in each test file.
import { SigningKey } from "ethers/crypto";
import { computeAddress } from "ethers/transaction";
import pino from "pino";
import { type RunningAdapter, startAdapter } from "../src/adapter.ts";
import { ADAPTER_SETTINGS } from "../src/settings.ts";

export const LOT_SECONDS = 300;
export const CHAIN_ID = 31337;
export const REGISTRY = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
export const DOMAIN = readingDomain({ chainId: CHAIN_ID, registry: REGISTRY });
/** A lot that is long over, and the moment half-way through the one after the next. */
export const LOT = 4_263_941n;

/** A clock that tests turn by hand; real time passes as it does. */
export class HandClock implements Clock {
  ms: number;
  constructor(lot: bigint, intoLotSeconds = 60) {
    this.ms = (Number(lot) * LOT_SECONDS + intoLotSeconds) * 1000;
  }
  nowMs(): number {
    return this.ms;
  }
  started(): boolean {
    return true;
  }
  realMs(span: number): number {
    return span;
  }
  async sleepUntil(unixMs: number, signal?: AbortSignal): Promise<void> {
    while (this.ms < unixMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      signal?.throwIfAborted();
    }
  }
}

/** A key for tests, the same for the same name. */
export const keyOf = (name: string): SigningKey => new SigningKey(meterIdOf(`key of ${name}`));

/** What goes wrong with a fixture reader. */
export type Fault =
  | "none"
  | "silent"
  | "half"
  | "garbage"
  | "huge"
  | "wrong-key"
  | "other-meter"
  | "yesterday"
  | "tampered-record"
  | "tampered-energy"
  | "redirect"
  | "web-page-404"
  | "error-500"
  | "not-http"
  | "drip"
  | "other-history"
  | "open";

/**
 * A reader that plays one meter with real signatures over a real socket, and can be told to misbehave. Its energies
 * are a function of the lot, so any run can be checked.
 */
export class FixtureReader {
  readonly serial: string;
  readonly id: Hex;
  readonly key: SigningKey;
  readonly firstLot: bigint;
  fault: Fault = "none";
  /** Answers for these lots wait for this many ms. */
  delayMs = 0;
  token: string | undefined;
  /** How far its clock is ahead, ms: shown by its Date header. */
  clockAheadMs = 0;
  requests: string[] = [];
  onRequest: () => void = () => {};
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  readonly #domain: ReadingDomain;

  constructor(serial: string, options: { firstLot?: bigint; domain?: ReadingDomain } = {}) {
    this.#domain = options.domain ?? DOMAIN;
    this.serial = serial;
    this.id = meterIdOf(serial);
    this.key = keyOf(serial);
    this.firstLot = options.firstLot ?? LOT - 1000n;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      if (this.fault === "not-http") socket.end("220 mail.example ESMTP\r\n");
    });
  }

  get signer(): string {
    return signerOf(this.key);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    // A test that fails before it stops its readers is to end all the same.
    this.#server.unref();
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  energy(lot: bigint): bigint {
    const step = this.fault === "other-history" ? 7n : 1n;
    return (lot % 1000n) * step + 5n;
  }

  reading(lot: bigint, lots: number): LotReading {
    let before = 10_000_000n;
    for (let at = this.firstLot; at <= lot - BigInt(lots); at++) before += this.energy(at);
    const energies = Array.from({ length: lots }, (_, i) => this.energy(lot - BigInt(lots - 1 - i)));
    const forward = energies.reduce((sum, energy) => sum + energy, before);
    return { meterId: this.id, lot, lotSeconds: LOT_SECONDS, forward, reverse: 0n, quality: 0, energies };
  }

  sign(reading: LotReading, key = this.key): Hex {
    return signReading(this.#domain, reading, key);
  }

  /** The record that this meter's reading must become. */
  record(lot: bigint, lots = 1): Hex {
    const reading = this.reading(lot, lots);
    return encodeRecord(reading, this.sign(reading));
  }

  /** The answer of GET /readings/:lot, with the fault that is set. */
  answer(lot: bigint, lots: number): Record<string, unknown> {
    if (this.fault === "yesterday") lot -= 288n;
    const reading = this.reading(lot, lots);
    if (this.fault === "other-meter") reading.meterId = meterIdOf("SOMEBODY-ELSE");
    const signature = this.sign(reading, this.fault === "wrong-key" ? keyOf("a thief") : this.key);
    let record = encodeRecord(reading, signature);
    const json = readingToJson(reading);
    if (this.fault === "tampered-record") record = `${record.slice(0, -1)}0` as Hex;
    if (this.fault === "tampered-energy") json.energies = `${json.energies.slice(0, -1)}0` as Hex;
    return {
      serial: this.serial,
      reading: json,
      signature,
      signer: this.signer,
      digest: readingDigest(this.#domain, reading),
      record,
    };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests.push(request.url ?? "");
    this.onRequest();
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const json = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      response
        .writeHead(status, {
          "content-type": "application/json",
          date: new Date(Date.now() + this.clockAheadMs).toUTCString(),
          ...headers,
        })
        .end(JSON.stringify(body));
    };
    const url = new URL(request.url ?? "/", "http://reader");
    const match = /^\/readings\/([0-9]+)$/.exec(url.pathname);
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) return json(401, {});
    if (match === null) return json(404, { error: "nothing here" });
    const lot = BigInt(match[1]!);
    const lots = Number(url.searchParams.get("lots") ?? "1");
    switch (this.fault) {
      case "silent":
        return;
      case "half": {
        const body = JSON.stringify(this.answer(lot, lots));
        response.writeHead(200, { "content-length": body.length });
        response.write(body.slice(0, body.length >> 1), () => response.socket?.destroy());
        return;
      }
      case "garbage":
        response.end("<html>It works!</html>");
        return;
      case "huge": {
        response.writeHead(200);
        const chunk = Buffer.alloc(1 << 20, "x");
        for (let i = 0; i < 1024 && !response.destroyed; i++) {
          if (!response.write(chunk)) {
            await new Promise((resolve) => {
              response.once("drain", resolve);
              response.once("close", resolve);
            });
          }
        }
        response.end();
        return;
      }
      case "drip": {
        response.writeHead(200);
        const timer = setInterval(() => response.write(" "), 20);
        response.on("close", () => clearInterval(timer));
        return;
      }
      case "redirect":
        response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data" }).end();
        return;
      case "web-page-404":
        response.writeHead(404, { "content-type": "text/html" }).end("<html><h1>Not Found</h1></html>");
        return;
      case "error-500":
        return json(500, { error: "the sensor is on fire" });
      case "open":
        return json(425, { error: "open" }, { "retry-after": "7" });
    }
    if (lot - BigInt(lots) + 1n < this.firstLot) return json(404, { error: "before its first lot" });
    json(200, this.answer(lot, lots));
  }
}

export const signerOf = (key: SigningKey): string => computeAddress(key.publicKey);

/** Settings for tests: the fixture readers, a free port, no polling unless asked for. */
export function settingsFor(readers: readonly FixtureReader[], env: Record<string, string> = {}) {
  return loadSettings(ADAPTER_SETTINGS, {
    EA_PORT: "0",
    CHAIN_ID: String(CHAIN_ID),
    REGISTRY_ADDRESS: REGISTRY,
    POLL_ENABLED: "false",
    API_TIMEOUT: "1000",
    LOG_LEVEL: "silent",
    READERS: JSON.stringify(
      readers.map((reader) => ({
        serial: reader.serial,
        url: reader.url,
        signer: reader.signer,
        ...(reader.token === undefined ? {} : { token: reader.token }),
      })),
    ),
    ...env,
  });
}

export interface Answered {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any;
  text: string;
}

/** Sends a body as a Chainlink node's bridge task does. */
export async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answered> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: JSON.parse(text), text };
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
export const getJson = async (url: string): Promise<any> => (await fetch(url)).json();

/** A port that nothing listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** An adapter over fixture readers, for one test. */
export async function adapterOver(
  readers: readonly FixtureReader[],
  options: { env?: Record<string, string>; clock?: Clock; log?: pino.Logger } = {},
): Promise<RunningAdapter> {
  return startAdapter(settingsFor(readers, options.env), {
    log: options.log ?? pino({ level: "silent" }),
    clock: options.clock ?? new HandClock(LOT + 2n),
  });
}
