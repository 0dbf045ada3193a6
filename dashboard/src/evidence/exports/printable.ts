import { qualityNames } from "@bijuli/protocol";
import { formatUnits } from "ethers";
import type { Bill } from "../bill.ts";
import { energyText, etherText, meanPrice, percentText, rowsOf } from "./words.ts";

const STYLE = `
  :root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; }
  body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #111; background: #fff; }
  h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
  p { margin: .25rem 0; } code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; } dt { color: #444; } dd { margin: 0; }
  .total { font-size: 1.25rem; font-weight: 600; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .85rem; }
  th, td { text-align: right; padding: .2rem .4rem; border-bottom: 1px solid #ccc; vertical-align: top; }
  th:first-child, td:first-child { text-align: left; } thead { display: table-header-group; }
  tfoot td { font-weight: 600; border-top: 2px solid #111; }
  .wide { overflow-x: auto; }
  @media (max-width: 34rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
  @media print { .wide { overflow: visible; } @page { size: A4; margin: 15mm; } body { margin: 0; max-width: none; padding: 0; font-size: 10pt; }
    tr { break-inside: avoid; } h2 { break-after: avoid; } }
`;

/** A bill as one page of HTML that needs nothing else, made to be printed. */
export function printableBill(bill: Bill): string {
  const { role, account, totals, money, block, before, lots } = bill;
  const rows = rowsOf(bill);
  const what = { consumer: "Used", plant: "Sent", distributor: "Received" }[role];
  const price = meanPrice(role === "plant" ? totals.earns : totals.owes, totals.energy);
  const payee = bill.charters.map(({ distributor }) => `account ${distributor.account}`).join(", ");
  const sentence =
    role === "consumer"
      ? `Account ${account} owes the distributor (${payee})`
      : role === "plant"
        ? `The distributor (${payee}) owes account ${account}`
        : `The consumers owe account ${account} ${etherText(totals.earns)}; account ${account} owes the plants`;
  const owed = role === "plant" ? totals.earns : totals.owes;
  const paid =
    role === "plant"
      ? "It was paid as far as the distributor could; what is left are the distributor's arrears."
      : money.closing.owed === 0n
        ? "All is paid, out of the account's balance."
        : `It was paid out of the account's balance as far as that went: ${etherText(money.closing.owed)} is in arrears.`;
  const origin = new Map<string, bigint>();
  for (const row of rows)
    for (const { meterId, energy } of row.origin) origin.set(meterId, (origin.get(meterId) ?? 0n) + energy);
  const facts: [string, string][] = [
    ["Account", `${account}, ${role}`],
    ["Owner", code(bill.owner)],
    ["Meter", code(bill.meterId)],
    ["Feeder", code(bill.feeder)],
    [
      "Period",
      `${rows[0]!.start} to ${rows.at(-1)!.end}, lots ${bill.from} to ${bill.to} (${lots.length} of ${bill.lotSeconds} s)`,
    ],
    [what, energyText(totals.energy)],
    ["Mean price", price === undefined ? "none: no energy" : `${formatUnits(price, 18)} ETH per kWh`],
  ];
  const moneyFacts: [string, string][] = [
    [`Balance before (block ${before.number})`, etherText(money.opening.balance)],
    ["Paid in", etherText(money.deposited)],
    ["Taken out", etherText(money.withdrawn)],
    [`Balance after (block ${block.number})`, etherText(money.closing.balance)],
    ["Arrears before", etherText(money.opening.owed)],
    ["Arrears after", etherText(money.closing.owed)],
  ];
  const terms = bill.charters.flatMap(({ index, fromLot, terms: t, plants }): [string, string][] => [
    [
      `From lot ${fromLot}`,
      `ideal loss ${t.idealLossBps / 100} %, service ${t.serviceBps / 100} %, penalty ${t.penaltyBps / 10_000} × the excess loss beyond ${t.toleranceBps / 100} %${t.maxPricePerKWh > 0n ? `, at most ${formatUnits(t.maxPricePerKWh, 18)} ETH per kWh` : ""} (charter ${index})`,
    ],
    ...plants.map((plant): [string, string] => [
      `Plant, account ${plant.account}`,
      `${formatUnits(plant.pricePerKWh, 18)} ETH per kWh, meter ${code(plant.meterId)}`,
    ]),
  ]);
  const cells = rows.map(({ start, energy, pricePerKWh, owes, earns, quality, measured, of }) => [
    `${start.slice(0, 16).replace("T", " ")}`,
    energyText(energy).slice(0, -4),
    ether(pricePerKWh),
    percentText(of.actualLoss),
    ether(role === "plant" ? earns : owes),
    ...(role === "distributor" ? [ether(earns)] : []),
    [measured ? "" : "estimated", of.penaltyWaived ? "no penalty" : "", ...(quality ? qualityNames(quality) : [])]
      .filter(Boolean)
      .join(", "),
  ]);
  const heads = [
    "Lot begins (UTC)",
    "kWh",
    "ETH per kWh",
    "Loss",
    ...(role === "distributor" ? ["Owes, ETH", "Earns, ETH"] : [role === "plant" ? "Earns, ETH" : "Owes, ETH"]),
    "Remarks",
  ];
  const foot = ["Together", energyText(totals.energy).slice(0, -4), "", "", ether(owed)];
  if (role === "distributor") foot.push(ether(totals.earns));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Electricity bill, account ${account}, lots ${bill.from} to ${bill.to}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Electricity bill</h1>
<p>${sentence}</p>
<p class="total">${etherText(owed)}</p>
<p>${paid}</p>
<h2>What for</h2>
${list(facts)}
<h2>Money</h2>
${list(moneyFacts)}
${origin.size === 0 || role === "plant" ? "" : `<h2>Where the energy came from</h2>\n${list([...origin].map(([meterId, energy]) => [plantName(bill, meterId), `${energyText(energy)}, ${share(energy, origin)}`]))}`}
<h2>Terms</h2>
${list(terms)}
<h2>Lot by lot</h2>
<div class="wide" tabindex="0" role="region" aria-label="Lot by lot">
<table>
<thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead>
<tbody>
${cells.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("\n")}
</tbody>
<tfoot><tr>${[...foot, ""].map((cell) => `<td>${cell}</td>`).join("")}</tr></tfoot>
</table>
</div>
<h2>How to check it</h2>
<p>Every number follows from the meters' signed readings and from what this block's hash proves. The bill's file and
<code>bijuli verify FILE --registry ${bill.registry} --block-hash ${block.hash}</code> make it again, offline.</p>
</body>
</html>
`;
}

function plantName({ charters }: Bill, meterId: string): string {
  const plant = charters.flatMap(({ plants }) => plants).find((one) => one.meterId === meterId);
  return `Plant, account ${plant?.account}`;
}

function share(energy: bigint, origin: ReadonlyMap<string, bigint>): string {
  const all = [...origin.values()].reduce((a, b) => a + b, 0n);
  return all === 0n ? "nothing" : percentText((energy * 10n ** 18n) / all);
}

/** All 18 decimals, so that a column's digits stand below each other. */
const ether = (wei: bigint): string => {
  const [whole, decimals = ""] = formatUnits(wei, 18).split(".");
  return `${whole}.${decimals.padEnd(18, "0")}`;
};

const code = (text: string) => `<code>${text}</code>`;
const list = (facts: readonly [string, string][]) =>
  `<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join("")}</dl>`;
