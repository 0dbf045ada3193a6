import { qualityNames } from "@bijuli/protocol";
import { useMemo } from "preact/hooks";
import type { LotDetailJson, LotPartJson } from "../../server/shapes.ts";
import { useApi } from "../api.ts";
import { lotBegin, useShared } from "../context.ts";
import { bps, clockTime, dateTime, kWh, money, percent, price, units } from "../format.ts";
import { Fact, Hash, nameOf, Tag, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";
import { checkLot, type Finding, type PartCheck } from "../verify.ts";

const ROLES = ["plant", "distributor", "consumer"] as const;
const HEADINGS = { plant: "Plants", distributor: "Distributor", consumer: "Consumers" } as const;

/** One lot, down to every signed reading, checked here. */
export function Lot({ rest }: { rest: string[] }) {
  const [feeder = "", lot = ""] = rest;
  const { data, error } = useApi<LotDetailJson>(
    `./api/feeders/${encodeURIComponent(feeder)}/lots/${encodeURIComponent(lot)}`,
    false,
  );
  const { status } = useShared();
  const checked = useMemo(() => data && checkLot(data, status), [data]);
  if (data === undefined || checked === undefined) {
    return (
      <>
        <Title>Lot {lot}</Title>
        <Waiting error={error} what="the lot" />
      </>
    );
  }
  const begin = lotBegin(data.lot.lot, status.lotSeconds);
  const wrong = [...checked.findings, ...checked.parts.flatMap(({ findings }) => findings)].filter(
    ({ holds }) => !holds,
  );
  const { lot: sums, terms, clearing } = data;
  return (
    <>
      <Title
        about={
          <>
            Lot {data.lot.lot} of <a href={link("network", feeder)}>{data.name}</a>
            {clearing.lots > 1 && `, one of ${clearing.lots} that were cleared together`} ·{" "}
            <nav class="turn" aria-label="Neighbouring lots">
              {data.older && (
                <a href={link("lot", feeder, data.older)} rel="prev">
                  ‹ older
                </a>
              )}
              {data.newer && (
                <a href={link("lot", feeder, data.newer)} rel="next">
                  newer ›
                </a>
              )}
            </nav>
          </>
        }
      >
        {dateTime(begin)}–{clockTime(begin + status.lotSeconds)}
      </Title>
      <section class={`verdict ${checked.holds ? "good" : "poor"}`} aria-labelledby="verdict" aria-live="polite">
        <h2 id="verdict">
          {checked.holds
            ? "Everything holds"
            : `${wrong.length} ${wrong.length === 1 ? "thing does" : "things do"} not hold`}
        </h2>
        <p>
          Computed in your browser just now: {checked.parts.filter(({ signer }) => signer !== undefined).length}{" "}
          signatures, their meters' registers from one reading to the next, and the price from the energies.
        </p>
        <Findings findings={checked.findings} />
      </section>
      <dl class="figures">
        <Fact name="Price" note={`factor ${percent(sums.factor)} of what plants ask`}>
          {price(sums.price, 0)}
        </Fact>
        <Fact
          name="Loss"
          tone={sums.excessLoss === "0" ? "good" : "poor"}
          note={`${kWh(sums.lost)}; ideal ${bps(terms.idealLossBps)}, tolerance ${bps(terms.toleranceBps)}`}
        >
          {percent(sums.actualLoss, 4)}
        </Fact>
        <Fact name="Sent" note={`${money(sums.plantsPaid)} to the plants`}>
          {kWh(sums.sent, 7)}
        </Fact>
        <Fact name="Received">{kWh(data.parts.find(({ role }) => role === "distributor")?.energy ?? "0", 7)}</Fact>
        <Fact name="Delivered" note={`${money(sums.consumersCharged)} from the consumers`}>
          {kWh(sums.delivered, 7)}
        </Fact>
        <Fact name="Unaccounted" note={sums.overdrawn === "0" ? undefined : `overdrawn ${kWh(sums.overdrawn)}`}>
          {kWh(sums.unaccounted, 7)}
        </Fact>
      </dl>
      <section aria-labelledby="transactions">
        <h2 id="transactions">Transactions</h2>
        <ul class="transactions">
          <Sent name="opened" txs={[clearing.opened.tx]} />
          <Sent name="plant" txs={clearing.plant ? [clearing.plant.tx] : []} />
          <Sent name="distributor" txs={clearing.distributor ? [clearing.distributor.tx] : []} />
          <Sent name="consumers" txs={clearing.consumers?.txs ?? []} />
          <Sent name="closed" txs={clearing.closed ? [clearing.closed.tx] : []} />
        </ul>
      </section>
      {ROLES.map((role) => (
        <section key={role} aria-labelledby={role}>
          <h2 id={role}>{HEADINGS[role]}</h2>
          <ul class="readings">
            {data.parts.map(
              (part, i) =>
                part.role === role && (
                  <Reading key={part.meter} part={part} check={checked.parts[i]!} lot={BigInt(lot)} />
                ),
            )}
          </ul>
        </section>
      ))}
    </>
  );
}

function Sent({ name, txs }: { name: string; txs: string[] }) {
  if (txs.length === 0) return null;
  return (
    <li>
      {name}{" "}
      {txs.map((tx) => (
        <Hash key={tx} value={tx} what={`${name} transaction`} />
      ))}
    </li>
  );
}

function Findings({ findings }: { findings: Finding[] }) {
  return (
    <ul class="findings">
      {findings.map(({ holds, what, detail }) => (
        <li key={what} class={holds ? "good" : "poor"}>
          <span class="unseen">{holds ? "holds: " : "does not hold: "}</span>
          {what}
          {detail !== undefined && <small>{detail}</small>}
        </li>
      ))}
    </ul>
  );
}

function Reading({ part, check, lot }: { part: LotPartJson; check: PartCheck; lot: bigint }) {
  const holds = check.findings.every((finding) => finding.holds);
  const { signed } = part;
  return (
    <li class="reading">
      <details>
        <summary>
          <span class="name">{nameOf(part)}</span>
          <span class="energy">{part.energy === null ? "not read yet" : kWh(part.energy, 7)}</span>
          {part.money !== null && part.role !== "distributor" && <span class="money">{money(part.money)}</span>}
          {part.late && <Tag tone="fair">came late</Tag>}
          {signed !== null && signed.reading.quality !== 0 && (
            <Tag tone="fair">{qualityNames(signed.reading.quality).join(", ")}</Tag>
          )}
          <Tag tone={!holds ? "poor" : signed === null ? "plain" : "good"}>
            {!holds ? "does not hold" : signed === null ? "no reading" : "verified"}
          </Tag>
        </summary>
        <Findings findings={check.findings} />
        {signed !== null && (
          <dl class="bare">
            <dt>Lots covered</dt>
            <dd>
              {String(BigInt(signed.reading.lot) - BigInt((signed.reading.energies.length - 2) / 12) + 1n)} …{" "}
              {signed.reading.lot}, this is {String(lot)}
            </dd>
            <dt>Forward register</dt>
            <dd>{units(signed.reading.forward)}</dd>
            <dt>Reverse register</dt>
            <dd>{units(signed.reading.reverse)}</dd>
            <dt>Energy in this lot</dt>
            <dd>{part.energy === null ? "–" : units(part.energy)}</dd>
            {part.price !== null && (
              <>
                <dt>Price asked</dt>
                <dd>{price(part.price)}</dd>
              </>
            )}
            <dt>EIP-712 digest</dt>
            <dd>
              <code>{check.digest}</code>
            </dd>
            <dt>Signature</dt>
            <dd>
              <code>{signed.signature}</code>
            </dd>
            <dt>Signer recovered</dt>
            <dd>
              <code>{check.signer}</code>
            </dd>
            {part.tx !== null && (
              <>
                <dt>Delivered by</dt>
                <dd>
                  <code>{part.tx}</code>
                </dd>
              </>
            )}
          </dl>
        )}
      </details>
    </li>
  );
}
