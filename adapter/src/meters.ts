import { readFileSync } from "node:fs";
import { type Hex, meterIdOf, SettingsError } from "@bijuli/protocol";
import { z } from "zod";
import { Circuit } from "./circuit.ts";
import { Recent } from "./recent.ts";
import type { ShelfEntry } from "./shelf.ts";

/** One meter that the operator configured, and what the adapter knows about it. */
export class Meter {
  readonly serial: string;
  readonly id: Hex;
  /** Where its reader answers; undefined for a meter that pushes. Without a trailing slash. */
  readonly url: string | undefined;
  readonly token: string | undefined;
  /** The signer that the configuration names; undefined when the registry on chain tells. */
  readonly signer: string | undefined;
  readonly circuit = new Circuit();
  /** Its verified readings by "lot:n". */
  readonly readings = new Map<string, ShelfEntry>();
  newest: ShelfEntry | undefined;
  /** What it said last before this process began: never served, only held against what it says now. */
  remembered: ShelfEntry | undefined;
  /** Its first lot, once a run was asked for that began before it. */
  firstLot: bigint | undefined;
  /** The run that its last request asked for: the next one is likely to continue it. */
  asked: { lot: bigint; lots: number } | undefined;
  lastError: string | undefined;
  /** How far its reader's clock is ahead of this machine's, in whole seconds; undefined while they agree. */
  clockSkew: number | undefined;
  warnedOfSigner = false;

  constructor(entry: ReaderEntry) {
    this.serial = entry.serial.normalize("NFC");
    this.id = meterIdOf(entry.serial);
    this.url = entry.url?.replace(/\/+$/, "");
    this.token = entry.token;
    this.signer = entry.signer?.toLowerCase();
  }

  /** For messages: "meter KITCHEN (0x12345678…)". */
  get label(): string {
    return `meter ${this.serial} (${this.id.slice(0, 10)}…)`;
  }
}

/** What can stand behind "Bearer " in a header. */
export const HEADER_SAFE = /^[\x21-\x7e]+$/;

const readerEntry = z.strictObject({
  serial: z.string().min(1),
  url: z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).optional(),
  token: z.string().regex(HEADER_SAFE, "must be visible ASCII characters: it travels in a header").optional(),
  signer: z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/, "must be an address")
    .optional(),
});
type ReaderEntry = z.infer<typeof readerEntry>;

/** The configured meters: nothing outside this list is ever fetched from. */
export class Roster {
  readonly meters: readonly Meter[];
  /** Lists of meters by the packed text that asked for them, found by its ends: to hash all of it takes longer. */
  readonly #pages = new Recent<string, { packed: string; meters: readonly Meter[] }>(500);
  readonly #byId = new Map<string, Meter>();
  readonly #bySerial = new Map<string, Meter>();

  constructor(meters: readonly Meter[]) {
    this.meters = meters;
    for (const meter of meters) {
      this.#byId.set(meter.id, meter);
      this.#bySerial.set(meter.serial, meter);
    }
  }

  /** The meters that a packed text asked for before: a feeder's pages are the same lot after lot. */
  page(packed: string): readonly Meter[] | undefined {
    const known = this.#pages.get(endsOf(packed));
    return known?.packed === packed ? known.meters : undefined;
  }

  rememberPage(packed: string, meters: readonly Meter[]): void {
    this.#pages.set(endsOf(packed), { packed, meters });
  }

  byId(id: string): Meter | undefined {
    return this.#byId.get(id);
  }

  bySerial(serial: string): Meter | undefined {
    return this.#bySerial.get(serial) ?? this.#bySerial.get(serial.normalize("NFC"));
  }
}

const endsOf = (packed: string): string => `${packed.length}${packed.slice(2, 34)}${packed.slice(-32)}`;

/**
 * Reads READERS or READERS_FILE.
 * @param signersOnChain whether the registry tells the signers, so that entries need none
 * @throws SettingsError naming the entry and field, never a token
 */
export function loadRoster(
  from: { READERS?: string | undefined; READERS_FILE?: string | undefined },
  signersOnChain: boolean,
): Roster {
  if ((from.READERS === undefined) === (from.READERS_FILE === undefined)) {
    throw new SettingsError(["READERS or READERS_FILE must tell the meters, and only one of them"]);
  }
  const source = from.READERS === undefined ? `READERS_FILE ${from.READERS_FILE}` : "READERS";
  let json: unknown;
  try {
    json = JSON.parse(from.READERS ?? readFileSync(from.READERS_FILE!, "utf8"));
  } catch (cause) {
    // JSON.parse's own message quotes the text, which may hold tokens.
    const why = cause instanceof SyntaxError ? "is not JSON" : `cannot be read: ${(cause as Error).message}`;
    throw new SettingsError([`${source} ${why}`]);
  }
  if (!Array.isArray(json) || json.length === 0) {
    throw new SettingsError([`${source} must be a list of at least one {"serial", "url"?, "token"?, "signer"?}`]);
  }
  const problems: string[] = [];
  const meters: Meter[] = [];
  const seen = new Map<string, number>();
  for (const [index, item] of json.entries()) {
    const where = `${source} entry ${index}${typeof item?.serial === "string" ? ` (${item.serial})` : ""}`;
    const parsed = readerEntry.safeParse(item);
    if (!parsed.success) {
      for (const issue of parsed.error.issues) problems.push(`${where}: ${issue.path.join(".")} ${issue.message}`);
      continue;
    }
    try {
      const meter = new Meter(parsed.data);
      const earlier = seen.get(meter.id);
      if (earlier !== undefined) problems.push(`${where}: serial stands in entry ${earlier} already`);
      if (meter.signer === undefined && !signersOnChain) {
        problems.push(`${where}: signer is missing, and without RPC_URL the registry cannot tell it`);
      }
      if (meter.url !== undefined) {
        const { username, password } = new URL(meter.url);
        if (username || password) problems.push(`${where}: url must not hold credentials; use token`);
        if (/[?#]/.test(meter.url)) problems.push(`${where}: url must end with its path`);
      }
      seen.set(meter.id, index);
      meters.push(meter);
    } catch (error) {
      problems.push(`${where}: ${(error as Error).message}`);
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return new Roster(meters);
}
