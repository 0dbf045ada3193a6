import { keccak256, toUtf8Bytes } from "ethers";
import type { Bill } from "../bill.ts";
import { rowsOf } from "./words.ts";

/*
 * A bill's energies as Green Button data: an Atom feed (RFC 4287) of ESPI resources (NAESB REQ.21, espi.xsd): UsagePoint,
 * LocalTimeParameters, MeterReading, ReadingType, one IntervalBlock a day and a UsageSummary, linked to each other.
 * ESPI's powers of ten have no −4, so a Unit of 10^-4 Wh is written as 100 µWh: exact. Money is left out: ESPI counts in
 * currencies of ISO 4217, and ether is none.
 */

const QUALITY = { VALID: 0, ESTIMATED: 8, QUESTIONABLE: 10 } as const;
const UOM_WH = 72;
const MICRO = -6;
const PER_UNIT = 100n;
const DAY = 86_400;

/** The xsd's order of elements is kept: its types are sequences. */
export function greenButton(bill: Bill): string {
  const { lotSeconds, role, feeder, account, block, lots } = bill;
  const updated = new Date(block.timestamp * 1000).toISOString().replace(".000Z", "Z");
  const base = `/espi/1_1/resource/UsagePoint/${account}`;
  const rows = rowsOf(bill);
  const start = lots[0]!.start;
  const duration = lots.length * lotSeconds;
  const entry = (path: string, title: string, links: [string, string][], content: string): string =>
    [
      "  <entry>",
      `    <id>${uuid(`${bill.registry} ${path}`)}</id>`,
      `    <link rel="self" href="${path}"/>`,
      ...links.map(([rel, href]) => `    <link rel="${rel}" href="${href}"/>`),
      `    <title>${title}</title>`,
      "    <content>",
      content.replaceAll(/^/gm, "      "),
      "    </content>",
      `    <published>${updated}</published>`,
      `    <updated>${updated}</updated>`,
      "  </entry>",
    ].join("\n");

  const reading = `${base}/MeterReading/1`;
  const type = "/espi/1_1/resource/ReadingType/1";
  const time = "/espi/1_1/resource/LocalTimeParameters/1";
  const days = Map.groupBy(rows, ({ of }) => Math.floor(of.start / DAY));
  const blocks = [...days.values()].map((day, i) => {
    const readings = day.map(({ energy, quality, measured, of }) =>
      [
        "  <IntervalReading>",
        `    <ReadingQuality><quality>${measured ? (quality ? QUALITY.QUESTIONABLE : QUALITY.VALID) : QUALITY.ESTIMATED}</quality></ReadingQuality>`,
        `    <timePeriod><duration>${lotSeconds}</duration><start>${of.start}</start></timePeriod>`,
        `    <value>${energy * PER_UNIT}</value>`,
        "  </IntervalReading>",
      ].join("\n"),
    );
    const interval = `  <interval><duration>${day.length * lotSeconds}</duration><start>${day[0]!.of.start}</start></interval>`;
    return entry(
      `${reading}/IntervalBlock/${i + 1}`,
      `Lots ${day[0]!.lot} to ${day.at(-1)!.lot}`,
      [["up", `${reading}/IntervalBlock`]],
      `<IntervalBlock xmlns="http://naesb.org/espi">\n${interval}\n${readings.join("\n")}\n</IntervalBlock>`,
    );
  });

  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<feed xmlns="http://www.w3.org/2005/Atom">',
    `  <id>${uuid(`${bill.registry} ${feeder} ${account} ${bill.from} ${bill.to}`)}</id>`,
    `  <title>Bijuli, feeder ${feeder}, account ${account}</title>`,
    `  <updated>${updated}</updated>`,
    '  <link rel="self" href="/espi/1_1/resource/Batch/Bijuli"/>',
    entry(
      base,
      `Meter ${bill.meterId}`,
      [
        ["up", "/espi/1_1/resource/UsagePoint"],
        ["related", `${base}/MeterReading`],
        ["related", `${base}/UsageSummary`],
        ["related", time],
      ],
      '<UsagePoint xmlns="http://naesb.org/espi">\n  <ServiceCategory><kind>0</kind></ServiceCategory>\n</UsagePoint>',
    ),
    entry(
      time,
      "UTC",
      [["up", "/espi/1_1/resource/LocalTimeParameters"]],
      '<LocalTimeParameters xmlns="http://naesb.org/espi">\n  <dstEndRule>00000000</dstEndRule>\n  <dstOffset>0</dstOffset>\n  <dstStartRule>00000000</dstStartRule>\n  <tzOffset>0</tzOffset>\n</LocalTimeParameters>',
    ),
    entry(
      reading,
      "Energy a lot",
      [
        ["up", `${base}/MeterReading`],
        ["related", `${reading}/IntervalBlock`],
        ["related", type],
      ],
      '<MeterReading xmlns="http://naesb.org/espi"/>',
    ),
    entry(
      type,
      "Energy, Wh",
      [["up", "/espi/1_1/resource/ReadingType"]],
      [
        '<ReadingType xmlns="http://naesb.org/espi">',
        "  <accumulationBehaviour>4</accumulationBehaviour>", // delta data
        "  <commodity>1</commodity>", // electricity, metered at the customer
        "  <dataQualifier>12</dataQualifier>", // normal
        `  <flowDirection>${role === "plant" ? 19 : 1}</flowDirection>`, // to the grid, or from it
        `  <intervalLength>${lotSeconds}</intervalLength>`,
        "  <kind>12</kind>", // energy
        "  <phase>0</phase>", // not said
        `  <powerOfTenMultiplier>${MICRO}</powerOfTenMultiplier>`,
        "  <timeAttribute>0</timeAttribute>",
        `  <uom>${UOM_WH}</uom>`,
        "</ReadingType>",
      ].join("\n"),
    ),
    ...blocks,
    entry(
      `${base}/UsageSummary/1`,
      "Usage summary",
      [["up", `${base}/UsageSummary`]],
      [
        '<UsageSummary xmlns="http://naesb.org/espi">',
        `  <billingPeriod><duration>${duration}</duration><start>${start}</start></billingPeriod>`,
        `  <overallConsumptionLastPeriod><powerOfTenMultiplier>${MICRO}</powerOfTenMultiplier><uom>${UOM_WH}</uom><value>${bill.totals.energy * PER_UNIT}</value></overallConsumptionLastPeriod>`,
        `  <statusTimeStamp>${block.timestamp}</statusTimeStamp>`,
        "</UsageSummary>",
      ].join("\n"),
    ),
    "</feed>",
    "",
  ].join("\n");
}

/** The same name gets the same UUID (RFC 9562, version 8). */
function uuid(name: string): string {
  const hash = keccak256(toUtf8Bytes(name)).slice(2);
  return `urn:uuid:${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}
