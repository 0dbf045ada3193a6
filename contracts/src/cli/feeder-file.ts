import { readFileSync } from "node:fs";
import { BijuliError, isHex, MAX_PLANT_PRICE, meterIdOf } from "@bijuli/protocol";
import { z } from "zod";

/*
 * A feeder as a grid file describes it, so that what was tried on one machine is what is put on a network. What only a
 * local run needs (sources, deposits) may stand there and is not looked at; unknown keys are refused.
 */

const wei = z.string().regex(/^(0|[1-9][0-9]{0,29})$/, "must be a decimal string of wei");
const bps = (most: number) =>
  z.int("must be a whole number").min(0, "must not be negative").max(most, `must be at most ${most}`);
const seconds = z.int("must be a whole number").min(0, "must not be negative");
const serial = z.string("must be text").refine((text) => {
  try {
    return Boolean(meterIdOf(text));
  } catch {
    return false;
  }
}, "must be a serial: NFC, 1 to 64 bytes");

const meter = {
  serial,
  capacityWatts: z.int().min(1).optional(),
  /** The owner that joined with this meter. */
  account: z
    .string()
    .refine((value) => isHex(value, 20), "must be an address")
    .optional(),
  deposit: wei.optional(),
  source: z.json().optional(),
};
const price = wei.refine((value) => BigInt(value) < MAX_PLANT_PRICE, "must be below 2^62 wei per kWh");

export const feederShape = z.strictObject({
  name: z.string().min(1).max(64),
  lotsPerClearing: z.int().min(1, "must be at least 1").max(2_016, "must be at most 2016").default(1),
  terms: z.strictObject({
    idealLossBps: bps(9_999),
    serviceBps: bps(10_000),
    penaltyBps: bps(1_000_000).default(10_000),
    toleranceBps: bps(10_000).default(0),
    maxPricePerKWh: wei.default("0"),
    reserve: wei.default("0"),
    graceSeconds: seconds.default(3_600),
    openDelaySeconds: seconds.default(0),
    estimateSeconds: seconds.default(86_400),
    abandonSeconds: seconds.default(604_800),
    repeatSeconds: seconds.min(1, "must be at least 1").default(3_600),
    freeRepeats: z.int().min(0).max(16, "must be at most 16").default(3),
    tokensPerConsumer: z.boolean().default(true),
  }),
  plants: z.array(z.strictObject({ ...meter, pricePerKWh: price })).max(64, "must be at most 64 plants"),
  distributor: z.strictObject(meter),
  consumers: z.array(z.strictObject(meter)).default([]),
});
export type FeederFile = z.output<typeof feederShape>;

const gridShape = z.looseObject({ feeders: z.array(z.unknown()).min(1) });

/**
 * Reads a feeder: a file of its own, or one of a grid file's.
 * @param name which one, where the file has several
 * @throws BijuliError bad-charter, one line that names file and field
 */
export function readFeederFile(path: string, name?: string): FeederFile {
  const bad = (why: string) => new BijuliError("bad-charter", `${path}: ${why}`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw bad((error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : "not JSON");
  }
  const grid = gridShape.safeParse(json);
  let prefix = "";
  if (grid.success) {
    const names = grid.data.feeders.map((feeder) => String((feeder as { name?: unknown } | null)?.name));
    if (name === undefined && names.length > 1) throw bad(`it has several feeders, name one of ${names.join(", ")}`);
    const index = name === undefined ? 0 : names.indexOf(name);
    if (index < 0) throw bad(`it has no feeder ${JSON.stringify(name)}; there are ${names.join(", ")}`);
    const feeder = grid.data.feeders[index] as Record<string, unknown>;
    json = { lotsPerClearing: grid.data.lotsPerClearing, ...feeder };
    prefix = `feeders[${index}].`;
  }
  const parsed = feederShape.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const unknown = issue.code === "unrecognized_keys";
    const field = [...issue.path, ...(unknown ? issue.keys.slice(0, 1) : [])].map(String).join(".");
    const message = unknown
      ? "unknown key"
      : issue.message.endsWith("received undefined")
        ? "is missing"
        : issue.message;
    throw bad(`${prefix}${field || "(top level)"}: ${message}`);
  }
  const seen = new Set<string>();
  for (const { serial } of [...parsed.data.plants, parsed.data.distributor, ...parsed.data.consumers]) {
    if (seen.has(serial)) throw bad(`the meter ${JSON.stringify(serial)} is there twice`);
    seen.add(serial);
  }
  return parsed.data;
}

/** The terms as the market's function takes them. */
export function termsOf({ terms, lotsPerClearing }: FeederFile) {
  const { openDelaySeconds, maxPricePerKWh, reserve, ...rest } = terms;
  return {
    ...rest,
    maxPricePerKWh: BigInt(maxPricePerKWh),
    reserve: BigInt(reserve),
    openDelay: openDelaySeconds,
    lotsPerClearing,
  };
}
