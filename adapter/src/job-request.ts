import { type Hex, isHex, meterIdOf } from "@bijuli/protocol";
import type { Meter, Roster } from "./meters.ts";
import { badInput, Refusal } from "./refusal.ts";

export type Stage = "plant" | "distributor" | "consumers";
export type EndpointName = "lot-readings" | "register";

/** The endpoints by every name that they answer to; names are compared in lower case. */
export const ENDPOINTS: Readonly<Record<EndpointName, readonly string[]>> = {
  "lot-readings": ["lot-readings", "lotreadings", "lot_readings", "readings"],
  register: ["register", "registers"],
};
const ENDPOINT_OF = new Map(
  (Object.entries(ENDPOINTS) as [EndpointName, readonly string[]][]).flatMap(([name, aliases]) =>
    aliases.map((alias) => [alias, name] as const),
  ),
);

/** The reader signs runs of at most this many lots (31 days of five minutes). */
export const MAX_LOTS = 8928;
const UINT64_MAX = 2n ** 64n - 1n;
const LONGEST_ID = 256;
/** Pages longer than this, which fit no answer anyway, are not remembered: nobody is to fill the memory with them. */
const LONGEST_PAGE = 2 + 64 * 256;

/** What identifies the request in its answer: whatever its id was, a string or a number. */
export type JobRunId = string | number;
/** The framework's adapters answer "1" to a request without an id. */
export const DEFAULT_JOB_RUN_ID = "1";

export interface JobRequest {
  endpoint: EndpointName;
  meters: readonly Meter[];
  /** Undefined only for endpoint register: the newest. */
  lot: bigint | undefined;
  lots: number;
  stage: Stage | undefined;
  verbose: boolean;
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The id to answer with, taken from anything: it also has to name a request that is refused for its shape. */
export function jobRunIdOf(body: unknown): JobRunId {
  const id = isObject(body) ? body.id : undefined;
  if (typeof id === "string" && id.length > 0 && id.length <= LONGEST_ID) return id;
  if (typeof id === "number" && Number.isFinite(id)) return id;
  return DEFAULT_JOB_RUN_ID;
}

/**
 * Reads a request as a Chainlink node's bridge task sends it. Keys that are not the adapter's (a CBOR request's
 * `feeder`, a job's `meta`) are let be; those that are must be canonical.
 * @throws Refusal 400 naming the field, 404 for an unknown endpoint or meter
 */
export function parseJobRequest(body: unknown, roster: Roster): JobRequest {
  if (!isObject(body)) throw badInput("the body must be a JSON object");
  const { id, data, meta } = body;
  if (id !== undefined && id !== null && typeof id !== "string" && typeof id !== "number") {
    throw badInput("id must be text or a number");
  }
  if (typeof id === "string" && id.length > LONGEST_ID) throw badInput(`id is longer than ${LONGEST_ID} characters`);
  if (meta !== undefined && meta !== null && !isObject(meta)) throw badInput("meta must be an object");
  if (!isObject(data)) throw badInput("data must be an object");
  const beside = body.endpoint === "" ? undefined : body.endpoint;
  const endpoint = endpointOf(beside ?? data.endpoint);
  const lot =
    (data.lot === undefined || data.lot === null) && endpoint === "register"
      ? undefined
      : integerOf("data.lot", data.lot, UINT64_MAX);
  const lots =
    data.lots === undefined || data.lots === null ? 1 : Number(integerOf("data.lots", data.lots, UINT64_MAX));
  if (lots < 1 || lots > MAX_LOTS) throw badInput(`data.lots must be from 1 to ${MAX_LOTS}, not ${lots}`);
  if (lot !== undefined && BigInt(lots) > lot + 1n) throw badInput(`data.lots reaches back beyond lot 0`);
  return {
    endpoint,
    meters: metersOf(endpoint === "register" ? registerMeter(data) : data.meters, overridesOf(data.overrides), roster),
    lot,
    lots,
    stage: stageOf(data.stage),
    verbose: flagOf("data.verbose", data.verbose),
  };
}

function endpointOf(given: unknown): EndpointName {
  if (given === undefined || given === null || given === "") return "lot-readings";
  if (typeof given !== "string") throw badInput("data.endpoint must be text");
  const endpoint = ENDPOINT_OF.get(given.toLowerCase());
  if (endpoint === undefined) {
    throw new Refusal(
      404,
      "unknown-endpoint",
      `there is no endpoint ${quoted(given)}; there are ${Object.keys(ENDPOINTS).join(" and ")}`,
    );
  }
  return endpoint;
}

/** An integer as JSON number or canonical decimal text: what CBOR held arrives as either. */
function integerOf(field: string, given: unknown, max: bigint): bigint {
  if (given === undefined || given === null) throw badInput(`${field} is missing`);
  if (typeof given === "number") {
    if (!Number.isInteger(given) || given < 0) throw badInput(`${field} must be a whole number, not negative`);
    if (!Number.isSafeInteger(given)) throw badInput(`${field} is beyond 2^53: give it as decimal text`);
    return BigInt(given);
  }
  if (typeof given !== "string" || !/^(0|[1-9][0-9]{0,19})$/.test(given) || BigInt(given) > max) {
    throw badInput(`${field} must be a whole number below 2^64 as a number or canonical decimal text`);
  }
  return BigInt(given);
}

function stageOf(given: unknown): Stage | undefined {
  if (given === undefined || given === null) return undefined;
  if (given === "plant" || given === "distributor" || given === "consumers") return given;
  throw badInput("data.stage must be plant, distributor or consumers");
}

function flagOf(field: string, given: unknown): boolean {
  if (given === undefined || given === null || given === false || given === "false") return false;
  if (given === true || given === "true") return true;
  throw badInput(`${field} must be true or false`);
}

/** The framework's `data.overrides`: {"bijuli": {"NAME": "OTHER NAME"}} reads NAME as OTHER NAME. */
function overridesOf(given: unknown): Json | undefined {
  if (given === undefined || given === null) return undefined;
  if (!isObject(given)) throw badInput("data.overrides must be an object");
  for (const [adapter, names] of Object.entries(given)) {
    if (adapter.toLowerCase() !== "bijuli") continue;
    if (!isObject(names)) throw badInput("data.overrides.bijuli must be an object");
    return names;
  }
  return undefined;
}

/** Endpoint register takes one meter, as `meter` or `meters`, bare or in a list. */
function registerMeter(data: Json): unknown {
  const given = data.meter ?? data.meters;
  return typeof given === "string" ? [given] : given;
}

function metersOf(given: unknown, overrides: Json | undefined, roster: Roster): readonly Meter[] {
  if (typeof given === "string") return packedMeters(given, roster);
  if (!Array.isArray(given)) throw badInput('data.meters must be a list of serials or ids, or "0x" and 32 bytes each');
  if (given.length === 0) throw badInput("data.meters is empty");
  return given.map((name, index) => {
    const wanted =
      overrides !== undefined && typeof name === "string" && Object.hasOwn(overrides, name) ? overrides[name] : name;
    if (typeof wanted !== "string" || wanted === "") throw badInput(`data.meters[${index}] must be text`);
    return wanted.startsWith("0x") && wanted.length === 66
      ? meterById(wanted, index, roster)
      : meterBySerial(wanted, index, roster);
  });
}

function packedMeters(given: string, roster: Roster): readonly Meter[] {
  const known = roster.page(given);
  if (known !== undefined) return known;
  if (!isHex(given) || given.length === 2 || (given.length - 2) % 64 !== 0) {
    throw badInput('data.meters as text must be "0x" and 32 bytes of hex for each meter; give serials as a list');
  }
  const meters: Meter[] = [];
  for (let at = 2; at < given.length; at += 64) {
    meters.push(meterById(`0x${given.slice(at, at + 64)}`, meters.length, roster));
  }
  if (given.length <= LONGEST_PAGE) roster.rememberPage(given, meters);
  return meters;
}

function meterById(id: string, index: number, roster: Roster): Meter {
  const meter = roster.byId(id) ?? roster.byId(id.toLowerCase());
  if (meter !== undefined) return meter;
  if (!isHex(id, 32)) throw badInput(`data.meters[${index}] is not 32 bytes of hex`);
  throw new Refusal(404, "unknown-meter", `meter ${id}: no reader is configured for it`);
}

function meterBySerial(serial: string, index: number, roster: Roster): Meter {
  const meter = roster.bySerial(serial);
  if (meter !== undefined) return meter;
  let id: Hex;
  try {
    id = meterIdOf(serial);
  } catch {
    throw badInput(`data.meters[${index}] is neither a serial of 1–64 bytes nor "0x" and 32 bytes of hex`);
  }
  const byId = roster.byId(id);
  if (byId !== undefined) return byId;
  throw new Refusal(404, "unknown-meter", `meter ${quoted(serial)}: no reader is configured for it`);
}

/** Text from outside, fit for a message: quoted, without control characters, short. */
const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
