import { BijuliError, type Hex, readingDomain } from "@bijuli/protocol";
import { z } from "zod";
import type { AuditIdentity } from "./audit.ts";
import { storedSigners } from "./signerHistory.ts";
import type { ClosedLot, Store } from "./store.ts";

/** Lots read from the store at once. */
const PAGE = 4096n;

/** Who a store's lots belong to. @throws BijuliError empty-store when it has no lot yet */
export function storeIdentity(store: Store): AuditIdentity {
  const value = (name: string): string => {
    const text = store.get(name);
    if (text === undefined) throw new BijuliError("empty-store", `the store ${store.path} has no ${name} yet`);
    return text;
  };
  const signers = storedSigners(store);
  if (signers === undefined) throw new BijuliError("empty-store", `the store ${store.path} belongs to no meter yet`);
  return {
    serial: value("serial"),
    signers,
    domain: readingDomain({ chainId: value("chainId"), registry: value("registry") }),
    lotSeconds: Number(value("lotSeconds")),
    firstLot: BigInt(value("firstLot")),
    before: store.pruned,
  };
}

/** A store's lots of from … to, oldest first, a page at a time. */
export function* storedLots(store: Store, from = 0n, to = 2n ** 62n): Generator<ClosedLot> {
  for (let at = from; ; ) {
    const start = store.nextLot(at);
    if (start === undefined || start > to) return;
    const end = start + PAGE - 1n < to ? start + PAGE - 1n : to;
    yield* store.lots(start, end);
    at = end + 1n;
  }
}

const QUANTITIES = ["voltage", "current", "power"] as const;

/** An export's lines: whose it is, then a lot a line, all integers as decimal strings, exact. */
export function* exportLines(identity: AuditIdentity, lots: Iterable<ClosedLot>): Generator<string> {
  const { serial, signers, domain, lotSeconds, firstLot } = identity;
  yield JSON.stringify({
    bijuliExport: 1,
    serial,
    signers: signers.map(({ fromLot, address }) => ({ fromLot: fromLot.toString(), address })),
    chainId: domain.chainId.toString(),
    registry: domain.registry,
    lotSeconds,
    firstLot: firstLot.toString(),
    ...(identity.before === undefined ? {} : { before: JSON.parse(exactly(identity.before)) }),
  });
  for (const lot of lots) yield exactly(lot);
}

const exactly = (value: object): string =>
  JSON.stringify(value, (_, part) => (typeof part === "bigint" ? part.toString() : part));

/** The same for a spreadsheet: one row a lot, Units, and mean V, A and W in millionths. */
export function* csvLines(identity: AuditIdentity, lots: Iterable<ClosedLot>): Generator<string> {
  yield "lot,start,end,energy,reverseEnergy,forward,reverse,quality,samples,coveredMs,meanMicrovolts,meanMicroamps,meanMicrowatts,signature";
  const iso = (lot: bigint) => new Date(Number(lot) * identity.lotSeconds * 1000).toISOString();
  for (const lot of lots) {
    const means = QUANTITIES.map((quantity) => lot[quantity]?.mean ?? "");
    yield [
      lot.lot,
      iso(lot.lot),
      iso(lot.lot + 1n),
      lot.energy,
      lot.reverseEnergy,
      lot.forward,
      lot.reverse,
      lot.quality,
      lot.samples,
      lot.coveredMs,
      ...means,
      lot.signature,
    ].join(",");
  }
}

const integer = z
  .string()
  .regex(/^-?[0-9]{1,20}$/)
  .transform(BigInt);
const hex = z
  .string()
  .regex(/^0x[0-9a-fA-F]*$/)
  .transform((text) => text as Hex);
const spread = z.strictObject({ min: integer, mean: integer, max: integer }).optional();
const headerShape = z.strictObject({
  bijuliExport: z.literal(1),
  serial: z.string(),
  signers: z.array(z.strictObject({ fromLot: integer, address: z.string() })).min(1),
  chainId: z.string(),
  registry: z.string(),
  lotSeconds: z.int(),
  firstLot: integer,
  before: z.strictObject({ lot: integer, forward: integer, reverse: integer }).optional(),
});
const lotShape = z.strictObject({
  lot: integer,
  energy: integer,
  reverseEnergy: integer,
  forward: integer,
  reverse: integer,
  forwardRest: integer,
  reverseRest: integer,
  quality: z.int(),
  samples: z.int(),
  coveredMs: z.int(),
  voltage: spread,
  current: spread,
  power: spread,
  signature: hex,
});

/** Reads an export back. @throws BijuliError bad-export, naming the line */
export function parseExport(path: string, text: string): { identity: AuditIdentity; lots: ClosedLot[] } {
  const [head = "", ...rest] = text.split("\n").filter((line) => line.trim() !== "");
  const parse = <T>(shape: z.ZodType<T>, line: string, number: number): T => {
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      throw new BijuliError("bad-export", `${path}:${number}: not JSON`);
    }
    const parsed = shape.safeParse(json);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0]!;
    throw new BijuliError("bad-export", `${path}:${number}:${issue.path.join(".")}: ${issue.message}`);
  };
  const { serial, signers, chainId, registry, lotSeconds, firstLot, before } = parse(headerShape, head, 1);
  return {
    identity: { serial, signers, domain: readingDomain({ chainId, registry }), lotSeconds, firstLot, before },
    lots: rest.map((line, index) => parse(lotShape, line, index + 2)),
  };
}
