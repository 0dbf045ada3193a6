/*
 * What espi.xsd (NAESB ESPI, namespace http://naesb.org/espi) says of the resources that a bill is written as: which
 * elements, in which order, which must be there, and what may stand in them. Written down from the published schema.
 */

export interface Element {
  name: string;
  attributes: string;
  children: Element[];
  text: string;
}

type Kind = "whole" | "hex4" | readonly string[];
interface Field {
  name: string;
  required?: true;
  many?: true;
  type: Kind | Field[];
}

const MULTIPLIERS = ["-12", "-9", "-6", "-3", "-2", "-1", "0", "1", "2", "3", "6", "9", "12"];
const QUALITIES = ["0", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"];
const INTERVAL: Field[] = [
  { name: "duration", required: true, type: "whole" },
  { name: "start", required: true, type: "whole" },
];

export const ESPI: Record<string, Field[]> = {
  UsagePoint: [
    { name: "roleFlags", type: "hex4" },
    { name: "ServiceCategory", type: [{ name: "kind", required: true, type: ["0", "1", "2", "3", "4"] }] },
    { name: "status", type: "whole" },
  ],
  LocalTimeParameters: [
    { name: "dstEndRule", required: true, type: "hex4" },
    { name: "dstOffset", required: true, type: "whole" },
    { name: "dstStartRule", required: true, type: "hex4" },
    { name: "tzOffset", required: true, type: "whole" },
  ],
  MeterReading: [],
  ReadingType: [
    { name: "accumulationBehaviour", type: ["0", "1", "2", "3", "4", "6", "9", "10", "12", "13", "14"] },
    { name: "commodity", type: ["0", "1", "2"] },
    { name: "consumptionTier", type: "whole" },
    { name: "currency", type: "whole" },
    { name: "dataQualifier", type: ["0", "2", "4", "5", "7", "8", "9", "11", "12", "16", "17"] },
    { name: "defaultQuality", type: QUALITIES },
    { name: "flowDirection", type: ["0", "1", "4", "19"] },
    { name: "intervalLength", type: "whole" },
    { name: "kind", type: ["8", "12", "37", "38"] },
    { name: "phase", type: "whole" },
    { name: "powerOfTenMultiplier", type: MULTIPLIERS },
    { name: "timeAttribute", type: ["0", "8", "11", "13", "22", "24", "32"] },
    { name: "tou", type: "whole" },
    { name: "uom", type: ["38", "61", "63", "71", "72"] },
  ],
  IntervalBlock: [
    { name: "interval", type: INTERVAL },
    {
      name: "IntervalReading",
      many: true,
      type: [
        { name: "cost", type: "whole" },
        { name: "ReadingQuality", many: true, type: [{ name: "quality", required: true, type: QUALITIES }] },
        { name: "timePeriod", type: INTERVAL },
        { name: "value", type: "whole" },
      ],
    },
  ],
  UsageSummary: [
    { name: "billingPeriod", type: INTERVAL },
    {
      name: "overallConsumptionLastPeriod",
      type: [
        { name: "powerOfTenMultiplier", type: MULTIPLIERS },
        { name: "timeStamp", type: "whole" },
        { name: "uom", type: ["72"] },
        { name: "value", type: "whole" },
      ],
    },
    { name: "statusTimeStamp", required: true, type: "whole" },
  ],
};

/** Reads XML as far as a feed needs it; throws where it is not well-formed. */
export function parseXml(xml: string): Element {
  const root: Element = { name: "", attributes: "", children: [], text: "" };
  const open = [root];
  for (const [, , close, name, attributes, empty, text] of xml.matchAll(
    /<(\?[^>]*\?|(\/)?([A-Za-z]+)((?:\s+[a-z]+="[^"<]*")*)\s*(\/)?)>|([^<]+)/g,
  )) {
    const top = open.at(-1)!;
    if (text !== undefined) top.text += text.trim();
    else if (close) {
      if (open.pop()!.name !== name) throw new Error(`</${name}> closes <${top.name}>`);
    } else if (name) {
      const element = { name, attributes: attributes ?? "", children: [], text: "" };
      top.children.push(element);
      if (!empty) open.push(element);
    }
  }
  if (open.length !== 1) throw new Error(`<${open.at(-1)!.name}> is not closed`);
  return root.children[0]!;
}

/** What is wrong with an element, by its type's sequence; empty when nothing is. */
export function faults({ name, children, text }: Element, fields: readonly Field[]): string[] {
  const found: string[] = text === "" ? [] : [`${name} holds text`];
  let at = 0;
  for (const child of children) {
    while (at < fields.length && fields[at]!.name !== child.name) at++;
    const field = fields[at];
    if (!field) return [...found, `${name}: ${child.name} is unknown or out of order`];
    if (Array.isArray(field.type) && typeof field.type[0] === "object")
      found.push(...faults(child, field.type as Field[]));
    else if (!allowed(child.text, field.type as Kind)) found.push(`${name}: ${child.name} is ${child.text}`);
    if (!field.many) at++;
  }
  for (const { name: needed, required } of fields) {
    if (required && !children.some((child) => child.name === needed)) found.push(`${name}: ${needed} is missing`);
  }
  return found;
}

function allowed(text: string, kind: Kind): boolean {
  if (kind === "whole") return /^-?[0-9]+$/.test(text) && BigInt(text) < 2n ** 47n;
  if (kind === "hex4") return /^(?:[0-9A-Fa-f]{2}){1,4}$/.test(text);
  return kind.includes(text);
}
