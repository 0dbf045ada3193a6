import { useState } from "preact/hooks";
import type { ClearingJson, LotJson } from "../../server/shapes.ts";
import { useApi } from "../api.ts";
import { lotBegin, useShared } from "../context.ts";
import { clockTime, dateTime, kWh, percent, price } from "../format.ts";
import { More } from "../more.tsx";
import { usePages } from "../pages.ts";
import { Hash, LotLink, Table, Tag, Time, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";

/** The clearings of a feeder as a time line: where each stands, when it got there, and by which transaction. */
export function Lots() {
  const { feeder } = useShared();
  if (feeder === undefined) return <Waiting error={undefined} what="the chain" />;
  return <TimeLine feeder={feeder.id} name={feeder.name} />;
}

function TimeLine({ feeder, name }: { feeder: string; name: string }) {
  const list = usePages<ClearingJson>(`./api/feeders/${feeder}/clearings`, "before", ({ last }) => last, 600);
  if (list.items === undefined) return <Waiting error={list.error} what="the lots" />;
  return (
    <>
      <Title about="Each clearing with its stages, when they were reached, and the transactions that did it. A lot opens down to its signed readings.">
        Lots of {name}
      </Title>
      {list.items.length === 0 && <p class="waiting">No lot has been opened yet.</p>}
      <ol class="timeline">
        {list.items.map((clearing) => (
          <Clearing key={clearing.last} feeder={feeder} clearing={clearing} />
        ))}
      </ol>
      <More list={list} what="lots" />
    </>
  );
}

function Clearing({ feeder, clearing }: { feeder: string; clearing: ClearingJson }) {
  const { lotSeconds } = useShared().status;
  const { last, lots, lot, stage, opened, plant, distributor, consumers, closed } = clearing;
  const begin = lotBegin(BigInt(last) - BigInt(lots - 1), lotSeconds);
  const end = lotBegin(BigInt(last) + 1n, lotSeconds);
  const span = `${dateTime(begin)}–${end - begin > 86_400 ? dateTime(end) : clockTime(end)}`;
  const steps = [
    { name: "opened", at: opened.at, txs: [opened.tx], done: true },
    { name: "plant", at: plant?.at, txs: plant ? [plant.tx] : [], done: stage > 0 },
    { name: "distributor", at: distributor?.at, txs: distributor ? [distributor.tx] : [], done: stage > 1 },
    { name: "consumers", at: consumers?.at, txs: consumers?.txs ?? [], done: stage > 2 },
    {
      name: "closed",
      at: closed?.at,
      txs: closed && !consumers?.txs.includes(closed.tx) ? [closed.tx] : [],
      done: stage > 2,
    },
  ];
  const next = steps.findIndex(({ done }) => !done);
  return (
    <li class={stage > 2 ? "cleared" : "open"}>
      <article aria-label={span}>
        <h2>
          {lot ? <a href={link("lot", feeder, last)}>{span}</a> : span}
          {lots > 1 && <small> {lots} lots</small>}
        </h2>
        {lot && (
          <p class="summary">
            <span>{price(lot.price)}</span>
            <span>loss {percent(lot.actualLoss)}</span>
            <span>
              {kWh(lot.delivered)} delivered{lots > 1 ? " in the last lot" : ""}
            </span>
            {BigInt(lot.excessLoss) > 0n && <Tag tone="poor">penalty</Tag>}
            {lot.quality !== 0 && <Tag tone="fair">quality bits</Tag>}
            {clearing.estimated && <Tag tone="fair">estimated</Tag>}
            {clearing.refused > 0 && <Tag tone="poor">{clearing.refused} refused</Tag>}
            {clearing.deferred > 0 && <Tag tone="plain">{clearing.deferred} deferred</Tag>}
          </p>
        )}
        {lot && lots > 1 && <Within feeder={feeder} clearing={clearing} />}
        <ol class="steps" aria-label="Stages">
          {steps.map(({ name, at, txs, done }, i) => (
            <li key={name} class={done ? "done" : i === next ? "next" : ""}>
              <span class="step">
                {name}
                <span class="unseen">{done ? " done" : i === next ? " awaited" : " to come"}</span>
              </span>
              {at !== undefined && <Time at={at} />}
              {txs.slice(0, 3).map((tx) => (
                <Hash key={tx} value={tx} what={`${name} transaction`} />
              ))}
              {txs.length > 3 && <small>and {txs.length - 3} more</small>}
            </li>
          ))}
        </ol>
      </article>
    </li>
  );
}

/** What one answer of the API holds; a clearing of a week asks a few times. */
const AT_ONCE = 200;

/** The lots of a clearing that has several: each was priced by its own loss. */
function Within({ feeder, clearing }: { feeder: string; clearing: ClearingJson }) {
  const [open, setOpen] = useState(false);
  return (
    <details open={open} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>Its {clearing.lots} lots, each with its own price</summary>
      {open && <LotTable feeder={feeder} clearing={clearing} />}
    </details>
  );
}

function LotTable({ feeder, clearing: { last, lots } }: { feeder: string; clearing: ClearingJson }) {
  const [pages, setPages] = useState(1);
  const starts = Array.from({ length: Math.min(pages, Math.ceil(lots / AT_ONCE)) }, (_, page) => page * AT_ONCE);
  return (
    <Table caption="Newest first" head={["Lot", "Sent ›", "Delivered ›", "Loss ›", "Price ›"]}>
      {starts.map((start) => (
        <Rows
          key={start}
          feeder={feeder}
          before={BigInt(last) + 1n - BigInt(start)}
          count={Math.min(AT_ONCE, lots - start)}
        />
      ))}
      {pages * AT_ONCE < lots && (
        <tr>
          <td colSpan={5} class="more">
            <button type="button" onClick={() => setPages(pages + 1)}>
              The {Math.min(AT_ONCE, lots - pages * AT_ONCE)} before
            </button>
          </td>
        </tr>
      )}
    </Table>
  );
}

function Rows({ feeder, before, count }: { feeder: string; before: bigint; count: number }) {
  const { data, error } = useApi<{ items: LotJson[] }>(
    `./api/feeders/${feeder}/lots?before=${before}&limit=${count}`,
    false,
  );
  if (data === undefined) {
    return (
      <tr>
        <td colSpan={5}>
          <Waiting error={error} what="the lots" />
        </td>
      </tr>
    );
  }
  return (
    <>
      {data.items.map((lot) => (
        <tr key={lot.lot}>
          <th scope="row">
            <LotLink feeder={feeder} lot={lot.lot} />
          </th>
          <td class="number">{kWh(lot.sent)}</td>
          <td class="number">{kWh(lot.delivered)}</td>
          <td class="number">
            {percent(lot.actualLoss)} {lot.excessLoss !== "0" && <Tag tone="poor">penalty</Tag>}
          </td>
          <td class="number">{price(lot.price)}</td>
        </tr>
      ))}
    </>
  );
}
