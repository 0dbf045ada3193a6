import { readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { BijuliError, type Hex, isHex, MAX_PLANT_PRICE, meterIdOf } from "@bijuli/protocol";
import { z } from "zod";

/*
 * A grid file describes a network: its feeders, their terms, and for each meter where its samples come from.
 * Unknown keys are refused, for a misspelt term would silently be its default.
 */

const wei = z.string().regex(/^(0|[1-9][0-9]{0,29})$/, "must be a decimal string of wei");
const bps = (max: number) =>
  z.int(`must be a whole number of basis points`).min(0, "must not be negative").max(max, `must be at most ${max}`);

const source = z.union(
  [z.strictObject({ replay: z.string().min(1) }), z.strictObject({ simulate: z.record(z.string(), z.json()) })],
  {
    error: 'must be {"replay": "file.csv"} or {"simulate": {…}}',
  },
);

const meter = {
  serial: z.string("must be text"),
  capacityWatts: z.int().min(1).max(10_000_000_000).default(1_000_000),
  account: z
    .string()
    .refine((value) => isHex(value, 20), "must be an address: 0x and 40 hex digits")
    .optional(),
  source,
};
const pricePerKWh = wei
  .pipe(z.string())
  .refine((value) => BigInt(value) < MAX_PLANT_PRICE, "must be below 2^62 wei per kWh");
const ONE_ETHER = "1000000000000000000";
const payer = z.strictObject({ ...meter, deposit: wei.default(ONE_ETHER) });
const plant = z.strictObject({
  ...meter,
  deposit: wei.default("0"),
  pricePerKWh: pricePerKWh.default("33000000000000"),
});

const terms = z
  .strictObject({
    idealLossBps: bps(9_999).default(940),
    serviceBps: bps(10_000).default(500),
    penaltyBps: bps(100_000).default(10_000),
    toleranceBps: bps(10_000).default(0),
    maxPricePerKWh: wei.default("0"),
    reserve: wei.default("0"),
    graceSeconds: z.int().min(0).max(31_536_000).default(3_600),
    /** From a lot's end until: it may be opened; the regulator may estimate a silent plant; anyone may close without it. */
    openDelaySeconds: z.int().min(0).max(2_592_000).default(0),
    estimateSeconds: z.int().min(0).max(31_536_000).default(86_400),
    abandonSeconds: z.int().min(0).max(31_536_000).default(604_800),
    /** From a request until it may be repeated, and how many repeats the feeder pays. */
    repeatSeconds: z.int().min(1).max(2_592_000).default(3_600),
    freeRepeats: z.int().min(0).max(16).default(3),
    tokensPerConsumer: z.boolean().default(true),
  })
  .prefault({});

const grid = z.strictObject({
  lotSeconds: z
    .int("must be a whole number of seconds")
    .min(1, "must be at least 1")
    .max(86_400, "must be at most 86400")
    .default(300),
  lotsPerClearing: z.int().min(1, "must be at least 1").max(2_016, "must be at most 2016").default(1),
  feeders: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(64),
        lotsPerClearing: z.int().min(1, "must be at least 1").max(2_016, "must be at most 2016").optional(),
        terms,
        plants: z.array(plant).min(1, "must name at least one plant").max(64),
        distributor: payer,
        consumers: z.array(payer).min(1, "must name at least one consumer").max(1_024),
      }),
    )
    .min(1, "must name at least one feeder")
    .max(100),
});

export type Grid = z.output<typeof grid> & { file: string };
export type Feeder = Grid["feeders"][number];
export type Role = "plant" | "distributor" | "consumer";
export type Source = z.output<typeof source>;

/** One meter of the grid, wherever it stands in the file. */
export interface GridMeter {
  role: Role;
  serial: string;
  meterId: Hex;
  capacityWatts: number;
  account: Hex | undefined;
  deposit: bigint;
  /** wei per kWh; 0 for all but plants. */
  pricePerKWh: bigint;
  source: Source;
  /** Where it stands, for messages: feeders[0].plants[1]. */
  path: string;
}

/**
 * Reads a grid file. Replay paths come back absolute.
 * @throws BijuliError bad-grid, one line that names the file and the field
 */
export function readGrid(path: string): Grid {
  const name = basename(path);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new BijuliError(
      "bad-grid",
      missing ? `${path}: there is no such grid file` : `${name}: not JSON: ${(cause as Error).message}`,
    );
  }
  const parsed = grid.safeParse(json);
  if (!parsed.success) throw new BijuliError("bad-grid", `${name}: ${firstProblem(parsed.error.issues)}`);
  const read: Grid = { ...parsed.data, file: path };

  const seen = new Map<string, string>();
  const names = new Set<string>();
  for (const [f, feeder] of read.feeders.entries()) {
    if (names.has(feeder.name))
      throw new BijuliError("bad-grid", `${name}: feeders[${f}].name: ${JSON.stringify(feeder.name)} is used twice`);
    names.add(feeder.name);
    for (const meter of metersOf(read, feeder)) {
      const earlier = seen.get(meter.meterId);
      if (earlier)
        throw new BijuliError(
          "bad-grid",
          `${name}: ${meter.path}.serial: ${JSON.stringify(meter.serial)} is already the serial of ${earlier}`,
        );
      seen.set(meter.meterId, meter.path);
      if ("replay" in meter.source) meter.source.replay = resolve(dirname(path), meter.source.replay);
    }
  }
  return read;
}

/** The meters of a feeder in the order in which they are cleared: plants, distributor, consumers. */
export function metersOf(grid: Grid, feeder: Feeder): GridMeter[] {
  const f = grid.feeders.indexOf(feeder);
  const shape = (role: Role, path: string, from: z.output<typeof payer> & { pricePerKWh?: string }): GridMeter => ({
    role,
    serial: from.serial,
    meterId: idOf(grid, path, from.serial),
    capacityWatts: from.capacityWatts,
    account: from.account as Hex | undefined,
    deposit: BigInt(from.deposit),
    pricePerKWh: BigInt(from.pricePerKWh ?? 0),
    source: from.source,
    path,
  });
  return [
    ...feeder.plants.map((plant, i) => shape("plant", `feeders[${f}].plants[${i}]`, plant)),
    shape("distributor", `feeders[${f}].distributor`, feeder.distributor),
    ...feeder.consumers.map((consumer, i) => shape("consumer", `feeders[${f}].consumers[${i}]`, consumer)),
  ];
}

function idOf(grid: Grid, path: string, serial: string): Hex {
  try {
    return meterIdOf(serial);
  } catch (error) {
    throw new BijuliError("bad-grid", `${basename(grid.file)}: ${path}.serial: ${(error as Error).message}`);
  }
}

/** The first problem as `field: what is wrong`; an unknown key is named as the field that it is. */
export function firstProblem(issues: readonly z.core.$ZodIssue[], within = ""): string {
  const issue = issues[0]!;
  const field = (path: readonly PropertyKey[]) =>
    path.reduce<string>(
      (at, key) => (typeof key === "number" ? `${at}[${key}]` : `${at}${at ? "." : ""}${String(key)}`),
      within,
    ) || "(top level)";
  if (issue.code === "unrecognized_keys") return `${field([...issue.path, issue.keys[0]!])}: unknown key`;
  const message =
    issue.message.startsWith("Invalid input: expected") && issue.message.endsWith("received undefined")
      ? "is missing"
      : issue.message;
  return `${field(issue.path)}: ${message}`;
}
