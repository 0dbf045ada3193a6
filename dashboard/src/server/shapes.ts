/*
 * What the API answers. Integers are decimal strings (Units, wei, WAD, lots, accounts as numbers where they are small);
 * times are unix seconds. The page is typed by these, too.
 */
import type { Hex, LotReadingJson } from "@bijuli/protocol";

export interface StatusJson {
  chainId: string;
  market: Hex;
  registry: Hex;
  token: Hex;
  lotSeconds: number;
  /** Now, by the network's clock, in unix ms, and how many times as fast as real time that runs. */
  now: number;
  speed: number;
  head: { number: number; time: number } | null;
  followed: number;
  problems: string[];
  node: boolean;
  adapter: boolean;
  demo: boolean;
  unaccountedAlarmBps: number;
  /** Pairs of contradicting readings that the adapter keeps; proven on chain or not. */
  contradictions: number;
}

export interface TermsJson {
  idealLossBps: string;
  serviceBps: string;
  penaltyBps: string;
  toleranceBps: string;
  maxPricePerKWh: string;
  reserve: string;
  graceSeconds: string;
  openDelay: string;
  lotsPerClearing: string;
  [name: string]: string | boolean;
}

export interface LotJson {
  lot: string;
  clearing: string;
  sent: string;
  received: string;
  lost: string;
  available: string;
  actualLoss: string;
  excessLoss: string;
  factor: string;
  price: string;
  delivered: string;
  unaccounted: string;
  overdrawn: string;
  plantsPaid: string;
  consumersCharged: string;
  quality: number;
  alarms: number;
}

export interface FeederSummary {
  id: Hex;
  name: string;
  lots: number;
  newest: LotJson | null;
  members: number;
}

export type RoleName = "plant" | "distributor" | "consumer";

export interface MemberJson {
  account: number;
  role: RoleName;
  meter: Hex;
  serial: string | null;
  listed: boolean;
  /** wei per kWh, of plants. */
  price: string | null;
  balance: string;
  owed: string;
  /** In the newest lot; null where nothing was read. */
  energy: string | null;
  money: string | null;
  reserveLow: boolean;
}

export interface FeederJson extends FeederSummary {
  terms: TermsJson | null;
  lots: number;
  openedLot: string | null;
  members: number;
  people: MemberJson[];
  /** The newest day (UTC) with a lot. */
  day: BucketJson | null;
  alarms: { severity: number; count: number }[];
  open: ClearingJson[];
}

export interface ClearingJson {
  last: string;
  lots: number;
  /** 0 plant, 1 distributor, 2 consumers, 3 closed: the stage that is awaited. */
  stage: number;
  opened: Moment;
  plant: Moment | null;
  distributor: Moment | null;
  consumers: { at: number; txs: Hex[] } | null;
  closed: Moment | null;
  deferred: number;
  refused: number;
  estimated: boolean;
  lot: LotJson | null;
}

export interface Moment {
  at: number;
  tx: Hex;
}

export interface BucketJson {
  /** Unix seconds, and how many of them. */
  start: number;
  seconds: number;
  lots: number;
  sent: string;
  received: string;
  available: string;
  delivered: string;
  unaccounted: string;
  overdrawn: string;
  /** wei per kWh: mean by energy, lowest and highest. */
  price: string;
  priceLow: string;
  priceHigh: string;
  /** WAD: of all energy in the span, and of its worst lot. */
  loss: string;
  lossHigh: string;
}

export interface SeriesJson {
  /** Whether each point is a lot, an hour, a day or several days. */
  resolution: string;
  ideal: string;
  points: BucketJson[];
}

export interface SignedReadingJson {
  reading: LotReadingJson;
  signature: Hex;
}

export interface LotPartJson {
  account: number | null;
  role: RoleName;
  meter: Hex;
  serial: string | null;
  energy: string | null;
  money: string | null;
  late: boolean;
  price: string | null;
  /** What the meter's rated power allows in this lot, in Units. */
  capacity: string;
  /** The first lot that the meter is read for in this account: no reading need reach back further. */
  firstLot: string;
  /** The signers that the registry has named for this meter, oldest first. */
  signers: { fromLot: string; signer: Hex }[];
  signed: SignedReadingJson | null;
  tx: Hex | null;
  /** The reading before it, or the register that the registry was told when the meter began. */
  previous: { signed: SignedReadingJson | null; lot: string; forward: string } | null;
}

export interface LotDetailJson {
  feeder: Hex;
  name: string;
  lot: LotJson;
  clearing: ClearingJson;
  /** wei per kWh, as the market itself says now; null where it could not be asked. */
  chainPrice: string | null;
  terms: TermsJson;
  parts: LotPartJson[];
  newer: string | null;
  older: string | null;
}

export interface AlarmJson {
  id: string;
  feeder: Hex | null;
  name: string | null;
  lot: string | null;
  meter: Hex | null;
  serial: string | null;
  kind: string;
  severity: number;
  value: string | null;
  detail: Record<string, string | number>;
  at: number;
  tx: Hex;
}

export interface AccountJson {
  account: number;
  feeder: Hex;
  feederName: string;
  role: RoleName;
  meter: Hex;
  serial: string | null;
  owner: Hex;
  balance: string;
  owed: string;
  pot: string;
  reserve: string;
  leftFrom: string | null;
}

export interface EntryJson {
  id: string;
  kind: string;
  amount: string;
  balance: string;
  lot: string | null;
  other: number | null;
  parts: number;
  at: number;
  tx: Hex;
}

export interface AccountDetailJson extends AccountJson {
  days: { day: number; lots: number; energy: string; money: string }[];
  entries: EntryJson[];
  next: string | null;
  firstLot: string | null;
  newestLot: string | null;
}

export interface MeterJson {
  meter: Hex;
  serial: string | null;
  account: number | null;
  feeder: Hex | null;
  role: RoleName | null;
  signer: Hex;
  capacity: string;
  suspendedFrom: string | null;
  equivocations: number;
  /** The newest reading that was cleared. */
  lot: string | null;
  forward: string | null;
  reverse: string | null;
  quality: number | null;
  /** What the adapter says; null without one. */
  reader: { fresh: boolean; newestLot: string | null; circuit: string; error: string | null } | null;
}

export interface RequestJson {
  id: Hex;
  feeder: Hex;
  feederName: string;
  lot: string;
  stage: number;
  first: number;
  count: number;
  operator: Hex;
  asked: Moment;
  state: string;
  deferrals: number;
  cause: string | null;
  cleared: Moment | null;
  /** What the node knows about it. */
  run: { state: string; attempts: number; cause: string | null; transaction: Hex | null } | null;
}

export interface Page<T> {
  items: T[];
  /** What to ask for next; null at the end. */
  next: string | null;
}
