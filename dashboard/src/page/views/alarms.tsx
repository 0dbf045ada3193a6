import { useState } from "preact/hooks";
import type { AlarmJson } from "../../server/shapes.ts";
import { KINDS, SEVERITIES, wordsOf } from "../alarm-words.ts";
import { useShared } from "../context.ts";
import { bps } from "../format.ts";
import { More } from "../more.tsx";
import { usePages } from "../pages.ts";
import { Hash, LotLink, nameOf, Tag, Time, Title, Waiting } from "../pieces.tsx";

const TONES = ["plain", "plain", "fair", "poor"] as const;

/** What is out of the ordinary: where energy goes astray, where meters fail, and who lies. */
export function Alarms() {
  const { feeder, status } = useShared();
  const [severity, setSeverity] = useState(2);
  const [kind, setKind] = useState("");
  const path = `./api/alarms?severity=${severity}${kind ? `&kind=${kind}` : ""}${feeder ? `&feeder=${feeder.id}` : ""}`;
  const list = usePages<AlarmJson>(path, "before", ({ id }) => id, 600);
  return (
    <>
      <Title
        about={`Loss above the ideal is taken off the price. Unaccounted energy raises an alarm from ${bps(status.unaccountedAlarmBps)} of what arrived: somebody draws behind the distributor's meter, or a meter fails.`}
      >
        Alarms{feeder ? ` of ${feeder.name}` : ""}
      </Title>
      {status.contradictions > 0 && (
        <p class="problem" role="alert">
          The adapter holds {status.contradictions} {status.contradictions === 1 ? "pair" : "pairs"} of readings that
          one key signed and that cannot both be true. Its /evidence has the call that proves it on chain; anyone may
          make it.
        </p>
      )}
      <div class="choices row">
        <label>
          From{" "}
          <select value={severity} onChange={({ currentTarget }) => setSeverity(Number(currentTarget.value))}>
            <option value={1}>notices</option>
            <option value={2}>warnings</option>
            <option value={3}>alarms</option>
          </select>
        </label>
        <label>
          Kind{" "}
          <select value={kind} onChange={({ currentTarget }) => setKind(currentTarget.value)}>
            <option value="">all</option>
            {Object.entries(KINDS).map(([key, name]) => (
              <option key={key} value={key}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      {list.items === undefined ? (
        <Waiting error={list.error} what="the alarms" />
      ) : (
        <div aria-live="polite">
          {list.items.length === 0 && <p class="waiting">Nothing of that kind.</p>}
          <ul class="alarms">
            {list.items.map((alarm) => (
              <Alarm key={alarm.id} alarm={alarm} />
            ))}
          </ul>
        </div>
      )}
      <More list={list} what="alarms" />
    </>
  );
}

function Alarm({ alarm }: { alarm: AlarmJson }) {
  const { feeder, lot, meter, serial, kind, severity, at, tx } = alarm;
  return (
    <li class={TONES[severity]!}>
      <Tag tone={TONES[severity]!}>{SEVERITIES[severity]}</Tag>
      <div>
        <h2>
          {KINDS[kind] ?? kind}
          {meter !== null && <> · {nameOf({ serial, meter })}</>}
        </h2>
        <p>{wordsOf(alarm)}</p>
        <p class="where">
          {feeder !== null &&
          lot !== null &&
          kind !== "equivocation" &&
          kind !== "refused" &&
          kind !== "reading-missing" ? (
            <LotLink feeder={feeder} lot={lot} />
          ) : (
            <Time at={at} />
          )}
          <Hash value={tx} what="transaction" />
        </p>
      </div>
    </li>
  );
}
