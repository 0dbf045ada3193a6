import { CONSUMERS, DISTRIBUTOR, PLANT } from "../../contracts/test/support/feeder.ts";
import { type AnyApi, measureAnyApi } from "./any-api.ts";
import { type Floored, Floors } from "./floor.ts";
import {
  type Clearing,
  type Look,
  type Route,
  Scenarios,
  type Sent,
  type Setting,
  type StageName,
} from "./scenario.ts";
import { type Breakdown, breakDown, PARTS } from "./trace.ts";

/** Some transactions' gas, and the least that they could cost. */
export interface Cost {
  gas: number;
  floor: number;
  transactions: number;
}

/** One clearing, by both routes. */
export interface Row {
  plants: number;
  consumers: number;
  lots: number;
  tokensPerConsumer: boolean;
  /** Of a feeder's first clearing the slots are new; rows of later ones show what it costs ever after. */
  first: boolean;
  requests: number;
  pages: number;
  opening: Cost;
  operator: Record<StageName, Cost>;
  submit: Record<StageName, Cost>;
}

/** Where one transaction's gas went, or that of one more consumer in a page. */
export interface Part {
  of: "opening" | StageName | "further consumer";
  lots: number;
  tokensPerConsumer: boolean;
  gas: number;
  floor: number;
  measured: Breakdown;
  needed: Breakdown;
}

export interface Table {
  rows: Row[];
  parts: Part[];
  anyApi: AnyApi;
}

export const LOTS = [1, 12, 288] as const;
/** 2 and 8 consumers fit a page of any of these lengths: their difference is what further ones in a page cost. */
export const CONSUMER_COUNTS = [1, 2, 8, 10, 64, 300] as const;

const STAGES: [StageName, number][] = [
  ["plant", PLANT],
  ["distributor", DISTRIBUTOR],
  ["consumers", CONSUMERS],
];

interface Plan {
  setting: Setting;
  lots: readonly number[];
  first?: boolean;
  trace?: boolean;
}

const setting = (plants: number, consumers: number, tokensPerConsumer: boolean): Setting => ({
  plants,
  consumers,
  tokensPerConsumer,
});

/** Everything that the committed table holds. */
function everything(): Plan[] {
  const plans: Plan[] = [];
  for (const tokens of [false, true]) {
    plans.push({ setting: setting(1, 1, tokens), lots: LOTS, first: true });
    for (const consumers of CONSUMER_COUNTS) {
      plans.push({ setting: setting(1, consumers, tokens), lots: LOTS, trace: consumers <= 2 });
    }
  }
  for (const consumers of [1, 10, 64, 300]) plans.push({ setting: setting(3, consumers, false), lots: LOTS });
  for (const consumers of [1, 10]) plans.push({ setting: setting(3, consumers, true), lots: LOTS });
  return plans;
}

/** What every run of the tests measures again: seconds. */
function quickly(): Plan[] {
  const plans: Plan[] = [];
  for (const tokens of [false, true]) {
    for (const consumers of [1, 2, 10]) plans.push({ setting: setting(1, consumers, tokens), lots: [1, 12] });
  }
  plans.push({ setting: setting(3, 10, false), lots: [1, 12] });
  plans.push({ setting: setting(1, 2, false), lots: [288] });
  return plans;
}

/**
 * Measures the table, or the part of it that takes seconds.
 * @param progress told what was measured
 */
export async function measure(options: { quick?: boolean; progress?: (what: string) => void } = {}): Promise<Table> {
  const scenarios = await Scenarios.create();
  try {
    const rows: Row[] = [];
    const counted: Counted[] = [];
    const anyApi = await measureAnyApi(await scenarios.blank());
    const { world } = scenarios;
    for (const { setting, lots, first = false, trace = false } of options.quick ? quickly() : everything()) {
      const traced = new Map<Sent, Breakdown>();
      const look: Look = async (of, lots, [sent]) => {
        if (isShown(of, lots, setting)) traced.set(sent!, await breakDown(world, sent!));
      };
      const clearings = await scenarios.measure(setting, lots, trace ? { first, look } : { first });
      for (const clearing of clearings) {
        const floors = new Floors(world.book, clearing);
        rows.push(row(clearing, floors, first));
        counted.push(...parts(clearing, floors, traced));
      }
      options.progress?.(
        `${setting.plants} plants, ${setting.consumers} consumers, tokens ${setting.tokensPerConsumer}`,
      );
    }
    return { rows, parts: further(counted), anyApi };
  } finally {
    await scenarios.close();
  }
}

function row(clearing: Clearing, floors: Floors, first: boolean): Row {
  const { setting, lots, requests, pages } = clearing;
  const cost = (sent: Sent[], floor: (one: Sent) => number): Cost => ({
    gas: sent.reduce((sum, { gas }) => sum + gas, 0),
    floor: sent.reduce((sum, one) => sum + floor(one), 0),
    transactions: sent.length,
  });
  const route = (name: Route) =>
    Object.fromEntries(
      STAGES.map(([stage, number]) => [
        stage,
        cost(clearing.stages[name][stage], (one) => floors.delivery(number, one).gas),
      ]),
    ) as Record<StageName, Cost>;
  return {
    ...setting,
    lots,
    first,
    requests,
    pages: pages.consumers,
    opening: cost(clearing.opening, (one) => floors.opening(one).gas),
    operator: route("operator"),
    submit: route("submit"),
  };
}

/**
 * Whether a transaction is taken apart. Tokens make a difference to consumers only, and of a page with two of them only
 * what the second added is shown.
 */
function isShown(of: "opening" | StageName, lots: number, { consumers, tokensPerConsumer }: Setting): boolean {
  return lots !== 12 && (of === "consumers" || (consumers === 1 && !tokensPerConsumer));
}

interface Counted extends Part {
  consumers: number;
}

/** The transactions of a clearing that were taken apart. */
function parts(clearing: Clearing, floors: Floors, traced: Map<Sent, Breakdown>): Counted[] {
  const { setting, lots, opening, stages } = clearing;
  const all: [Part["of"], Sent, (sent: Sent) => Floored][] = [
    ["opening", opening[0]!, (sent) => floors.opening(sent)],
    ...STAGES.map(([stage, number]): [Part["of"], Sent, (sent: Sent) => Floored] => [
      stage,
      stages.operator[stage][0]!,
      (sent) => floors.delivery(number, sent),
    ]),
  ];
  return all.flatMap(([of, sent, floorOf]) => {
    const measured = traced.get(sent);
    if (!measured) return [];
    const { gas: floor, parts: needed } = floorOf(sent);
    return [{ of, lots, ...setting, gas: sent.gas, floor, measured, needed }];
  });
}

/** Keeps the transactions with one consumer, and turns those with two into what the second added. */
function further(all: readonly Counted[]): Part[] {
  return all.map(({ of, lots, tokensPerConsumer, gas, floor, measured, needed, consumers }) => {
    const part: Part = { of, lots, tokensPerConsumer, gas, floor, measured, needed };
    if (consumers === 1) return part;
    const one = all.find(
      (p) => p.consumers === 1 && p.of === of && p.lots === lots && p.tokensPerConsumer === tokensPerConsumer,
    )!;
    const less = (a: Breakdown, b: Breakdown) =>
      Object.fromEntries(PARTS.map((name) => [name, a[name] - b[name]])) as Breakdown;
    return {
      ...part,
      of: "further consumer",
      gas: gas - one.gas,
      floor: floor - one.floor,
      measured: less(measured, one.measured),
      needed: less(needed, one.needed),
    };
  });
}

const rowName = ({ plants, consumers, lots, tokensPerConsumer, first }: Row) =>
  `${plants} plants, ${consumers} consumers, ${lots} lots, tokens ${tokensPerConsumer ? "per consumer" : "in one burn"}${first ? ", first clearing" : ""}`;

/** What of `measured` is not as the committed table says, one line each; rows that were not measured are not missed. */
export function differences(committed: Table, measured: Table): string[] {
  const lines: string[] = [];
  const compare = (name: string, was: object | undefined, is: object) => {
    if (was === undefined) lines.push(`${name}: not in the table`);
    else for (const line of unlike(was, is)) lines.push(`${name}: ${line}`);
  };
  const rows = new Map(committed.rows.map((r) => [rowName(r), r]));
  for (const r of measured.rows) compare(rowName(r), rows.get(rowName(r)), r);
  const partName = (p: Part) => `breakdown of ${p.of}, ${p.lots} lots, tokens ${p.tokensPerConsumer}`;
  const known = new Map(committed.parts.map((p) => [partName(p), p]));
  for (const p of measured.parts) compare(partName(p), known.get(partName(p)), p);
  compare("AnyAPI", committed.anyApi, measured.anyApi);
  return lines;
}

function unlike(was: object, is: object, path = ""): string[] {
  const keys = new Set([...Object.keys(was), ...Object.keys(is)]);
  return [...keys].flatMap((key) => {
    const [a, b] = [was[key as keyof typeof was] as unknown, is[key as keyof typeof is] as unknown];
    const at = path === "" ? key : `${path}.${key}`;
    if (typeof a === "object" && typeof b === "object" && a && b) return unlike(a, b, at);
    return a === b ? [] : [`${at} is ${b}, the table says ${a}`];
  });
}
