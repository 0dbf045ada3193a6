import { createHash } from "node:crypto";
import { basename } from "node:path";
import { getAddress } from "ethers/address";
import { parse, TomlError } from "smol-toml";
import { buildPipeline, type Pipeline } from "../pipeline/pipeline.ts";
import { isAsync } from "../pipeline/tasks/bridge.ts";
import { variablesIn } from "../pipeline/variables.ts";
import { parseDot } from "./dot.ts";
import { parseDuration } from "./duration.ts";
import { SpecError } from "./problem.ts";

export type OrderingMode = "pipelined" | "strict";

/** How the requests of a job are ordered: the `[ordering]` table. */
export interface Ordering {
  /** An expression over `request` and `cbor`; requests for which it gives the same value stay in order. */
  group: string;
  mode: OrderingMode;
  /** ms for which a failing request holds its successors; then they go first and it stays retryable. */
  maxHoldMs: number;
}

/** A `directrequest` job, as this node runs it. */
export interface Job {
  name: string;
  /** The UUID, lower case with dashes. */
  externalJobId: string;
  /** The specIds under which requests name this job: 32 ASCII hex characters, and the 16 raw bytes padded right. */
  specIds: readonly [string, string];
  /** The Operator, lower case. */
  contractAddress: string;
  evmChainId: bigint | undefined;
  minIncomingConfirmations: number | undefined;
  /** Juels; undefined: the node's own minimum. */
  minContractPayment: bigint | undefined;
  /** Lower-case addresses; empty: anyone. */
  requesters: ReadonlySet<string>;
  gasLimit: bigint | undefined;
  forwardingAllowed: boolean;
  /** ms for each task; 0: no limit. */
  maxTaskDurationMs: number;
  ordering: Ordering;
  pipeline: Pipeline;
  /** Whether a bridge of it may answer later. */
  async: boolean;
  /** Keys that a Chainlink node knows and that mean nothing here, and tasks' attributes that mean nothing on either. */
  ignored: readonly string[];
  source: string;
}

const DEFAULT_MAX_HOLD_MS = 600_000;

const KNOWN = [
  "type",
  "schemaVersion",
  "name",
  "externalJobID",
  "contractAddress",
  "evmChainID",
  "minIncomingConfirmations",
  "minContractPaymentLinkJuels",
  "requesters",
  "gasLimit",
  "forwardingAllowed",
  "maxTaskDuration",
  "observationSource",
  "ordering",
];

/**
 * Reads a Chainlink v1 directrequest spec.
 * @param text the TOML
 * @param file its name, for the job's default name
 * @throws SpecError with line and field
 */
export function parseJob(text: string, file = "job.toml"): Job {
  let table: Record<string, unknown>;
  try {
    table = known(parse(text.replace(/^\uFEFF/, ""), { integersAsBigInt: true }) as Record<string, unknown>);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const said = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    throw new SpecError(error.line, "TOML", said, error);
  }
  const fields = new Fields(table, text);

  const type = fields.text("type");
  if (type !== "directrequest") fields.refuse("type", `only directrequest jobs run here, not ${JSON.stringify(type)}`);
  const schemaVersion = fields.integer("schemaVersion", 1n, 2n ** 31n);
  if (schemaVersion !== 1n) fields.refuse("schemaVersion", `must be 1, is ${schemaVersion ?? "missing"}`);
  const observationSource = fields.text("observationSource");
  if (observationSource === undefined) return fields.refuse("observationSource", "missing");
  const contractAddress = fields.address("contractAddress");
  if (contractAddress === undefined) return fields.refuse("contractAddress", "missing");
  const name = fields.text("name") ?? basename(file, ".toml");
  const externalJobId =
    fields.uuid("externalJobID") ?? derivedUuid(`${name}\n${contractAddress}\n${observationSource}`);
  const line = fields.line("observationSource");
  const opensOnNewLine = /observationSource\s*=\s*("""|''')\r?\n/i.test(text);
  const pipeline = buildPipeline(parseDot(observationSource, opensOnNewLine ? line + 1 : line), line);

  return {
    name,
    externalJobId,
    specIds: specIdsOf(externalJobId),
    contractAddress,
    evmChainId: fields.integer("evmChainID", 0n, 2n ** 256n),
    minIncomingConfirmations: numberOf(fields.integer("minIncomingConfirmations", 0n, 10_000n)),
    minContractPayment: fields.integer("minContractPaymentLinkJuels", 0n, 2n ** 96n),
    requesters: new Set(fields.addresses("requesters")),
    gasLimit: fields.integer("gasLimit", 21_000n, 2n ** 32n),
    forwardingAllowed: fields.flag("forwardingAllowed") ?? false,
    maxTaskDurationMs: fields.duration("maxTaskDuration") ?? 0,
    ordering: orderingOf(table, text),
    pipeline,
    async: pipeline.some((task) => task.type === "bridge" && isAsync(task.attributes)),
    ignored: [
      ...Object.keys(table).filter((key) => !KNOWN.includes(key)),
      ...pipeline.flatMap((task) => task.ignored.map((name) => `task ${task.id}, ${name}`)),
    ],
    source: text,
  };
}

/**
 * The table with its keys as they are documented: a Chainlink node's TOML reader takes them in lower or in upper case as
 * well, and the exact one before those.
 */
function known(table: Record<string, unknown>): Record<string, unknown> {
  const found = { ...table };
  for (const key of KNOWN) {
    const written = [key, key.toLowerCase(), key.toUpperCase()].find((one) => Object.hasOwn(table, one));
    if (written === undefined || written === key) continue;
    delete found[written];
    found[key] = table[written];
  }
  return found;
}

/** The specIds of a job: what `OracleRequest` carries in its first topic. */
export function specIdsOf(externalJobId: string): [string, string] {
  const digits = externalJobId.replaceAll("-", "").toLowerCase();
  return [`0x${Buffer.from(digits, "ascii").toString("hex")}`, `0x${digits.padEnd(64, "0")}`];
}

/** Puts a network's own values into a spec: what `contractAddress`, `evmChainID` and `externalJobID` say. */
export function provisionSpec(
  text: string,
  values: { contractAddress: string; evmChainID: bigint | number; externalJobID?: string },
): string {
  let filled = text;
  for (const [key, value] of Object.entries(values)) {
    const line = new RegExp(`^${key}\\s*=.*$`, "m");
    const shown = key === "contractAddress" ? getAddress(String(value)) : String(value);
    if (!line.test(filled)) throw new SpecError(1, key, "missing: there is nothing to fill in");
    filled = filled.replace(line, `${key} = ${JSON.stringify(shown)}`);
  }
  return filled;
}

function orderingOf(table: Record<string, unknown>, text: string): Ordering {
  const ordering = table.ordering ?? {};
  if (typeof ordering !== "object" || ordering === null || Array.isArray(ordering)) {
    throw new SpecError(lineOf(text, "ordering"), "ordering", "must be a table");
  }
  const fields = new Fields(ordering as Record<string, unknown>, text, "ordering");
  for (const key of Object.keys(ordering)) {
    if (!["group", "mode", "maxHold"].includes(key)) fields.refuse(key, "not a key of [ordering]");
  }
  const mode = fields.text("mode") ?? "pipelined";
  if (mode !== "pipelined" && mode !== "strict") {
    return fields.refuse("mode", `must be "pipelined" or "strict", is ${JSON.stringify(mode)}`);
  }
  const group = fields.text("group") ?? "$(request.requester)";
  const roots = variablesIn(group).map((path) => path.split(".")[0]);
  const unknown = roots.find((root) => root !== "request" && root !== "cbor");
  if (unknown !== undefined) fields.refuse("group", `$(${unknown}) is unknown; there are $(request…) and $(cbor…)`);
  return { group, mode, maxHoldMs: fields.duration("maxHold") ?? DEFAULT_MAX_HOLD_MS };
}

function numberOf(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** A UUID that the same spec always gets, for specs that name none. */
function derivedUuid(text: string): string {
  const digits = createHash("sha256").update(text).digest("hex").slice(0, 32);
  const versioned = `${digits.slice(0, 12)}8${digits.slice(13, 16)}a${digits.slice(17)}`;
  return versioned.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function lineOf(text: string, field: string): number {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => new RegExp(`^\\s*(\\[\\s*)?["']?${field}["']?\\s*[=\\].]`, "i").test(line));
  return at === -1 ? 1 : at + 1;
}

/** Reads fields of one TOML table and says where a bad one stands. */
class Fields {
  readonly #table: Record<string, unknown>;
  readonly #text: string;
  readonly #prefix: string;

  constructor(table: Record<string, unknown>, text: string, prefix = "") {
    this.#table = table;
    this.#text = text;
    this.#prefix = prefix === "" ? "" : `${prefix}.`;
  }

  line(name: string): number {
    return lineOf(this.#text, name);
  }

  refuse(name: string, problem: string): never {
    throw new SpecError(this.line(name), `${this.#prefix}${name}`, problem);
  }

  text(name: string): string | undefined {
    const value = this.#table[name];
    if (value === undefined) return undefined;
    return typeof value === "string" ? value : this.refuse(name, "must be text");
  }

  /** Numbers may stand in quotes, as Chainlink's specs have evmChainID and payments. */
  integer(name: string, min: bigint, max: bigint): bigint | undefined {
    const value = this.#table[name];
    if (value === undefined) return undefined;
    const text = typeof value === "string" ? value : typeof value === "bigint" ? value.toString() : "";
    if (!/^(?:\d{1,78}|0x[0-9a-f]{1,64})$/i.test(text)) this.refuse(name, "must be a whole number");
    const integer = BigInt(text);
    if (integer < min || integer > max) this.refuse(name, `must be from ${min} to ${max}`);
    return integer;
  }

  flag(name: string): boolean | undefined {
    const value = this.#table[name];
    if (value === undefined) return undefined;
    return typeof value === "boolean" ? value : this.refuse(name, "must be true or false");
  }

  duration(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    return parseDuration(text) ?? this.refuse(name, `${JSON.stringify(text)} is not a duration such as "10s"`);
  }

  address(name: string): string | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : this.#address(name, text);
  }

  addresses(name: string): string[] {
    const value = this.#table[name] ?? [];
    if (!Array.isArray(value)) return this.refuse(name, "must be a list of addresses");
    // As on a Chainlink node letters' case says nothing here.
    return value.map((item) => this.#address(name, String(item).toLowerCase()));
  }

  uuid(name: string): string | undefined {
    const text = this.text(name)?.toLowerCase();
    if (text === undefined) return undefined;
    if (!/^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/.test(text))
      this.refuse(name, `${JSON.stringify(text)} is not a UUID`);
    return text.replaceAll("-", "").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  #address(name: string, text: string): string {
    try {
      if (!text.startsWith("0x")) throw new Error("no 0x");
      return getAddress(text).toLowerCase();
    } catch {
      return this.refuse(name, `${JSON.stringify(text)} is not an address (or its checksum is wrong)`);
    }
  }
}
