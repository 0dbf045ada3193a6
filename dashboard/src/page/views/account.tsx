import { useMemo, useState } from "preact/hooks";
import type { AccountDetailJson, EntryJson } from "../../server/shapes.ts";
import { ask, useApi } from "../api.ts";
import { Chart } from "../chart.tsx";
import { lotBegin, useShared } from "../context.ts";
import { kWh, money } from "../format.ts";
import { Fact, Hash, LotLink, nameOf, Table, Tag, Time, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";

const ENTRIES: Readonly<Record<string, string>> = {
  deposit: "Paid in",
  withdrawal: "Paid out",
  "plant-paid": "Paid for energy sent",
  "plants-due": "Owed to the plants",
  charge: "Charged for energy used",
  "consumers-owe": "Charged to the consumers",
  unpaid: "Not paid by the debtor",
  arrears: "Became arrears",
  "arrears-paid": "Arrears paid",
  collected: "Collected from a debtor",
};

/** One account: how it stands, what it used, its statement, and its bill to take away. */
export function Account({ rest }: { rest: string[] }) {
  const { data, error } = useApi<AccountDetailJson>(`./api/accounts/${encodeURIComponent(rest[0] ?? "")}`);
  if (data === undefined) return <Waiting error={error} what="the account" />;
  const low = BigInt(data.balance) < BigInt(data.reserve);
  return (
    <>
      <Title
        about={
          <>
            Account {data.account}, {data.role} of <a href={link("network", data.feeder)}>{data.feederName}</a> · owner{" "}
            <Hash value={data.owner} what="owner" /> · meter <Hash value={data.meter} what="meter id" />
          </>
        }
      >
        {nameOf(data)}
      </Title>
      <dl class="figures">
        <Fact
          name="Balance"
          tone={low ? "poor" : undefined}
          note={data.reserve === "0" ? undefined : `reserve ${money(data.reserve)}`}
        >
          {money(data.balance)}
        </Fact>
        <Fact
          name="Arrears"
          tone={data.owed === "0" ? undefined : "poor"}
          note={data.owed === "0" ? "owes nothing" : "paid first from whatever comes next"}
        >
          {money(data.owed)}
        </Fact>
        <Today data={data} />
      </dl>
      <Days data={data} />
      <Bill data={data} />
      <Statement data={data} />
    </>
  );
}

function Today({ data }: { data: AccountDetailJson }) {
  const newest = data.days.at(-1);
  if (newest === undefined) return null;
  return (
    <Fact name="Newest day" note={`${newest.lots} lots, ${money(newest.money)}`}>
      {kWh(newest.energy)}
    </Fact>
  );
}

function Days({ data }: { data: AccountDetailJson }) {
  const drawn = useMemo(
    () => ({
      times: data.days.map(({ day }) => day),
      lines: [
        {
          label: "Energy",
          colour: "--blue",
          bars: true,
          values: data.days.map(({ energy }) => Number(BigInt(energy) / 1_000n) / 10_000),
        },
      ],
    }),
    [data],
  );
  if (data.days.length < 2) return null;
  return (
    <Chart
      title="Energy by the day (UTC)"
      times={drawn.times}
      lines={drawn.lines}
      show={(value) => `${value.toPrecision(3)} kWh`}
    />
  );
}

const FORMATS = [
  { format: "json", name: "Evidence", about: "JSON: readings, signatures, terms, events; anyone can check it" },
  { format: "html", name: "Printable bill", about: "one sheet, for people" },
  { format: "csv", name: "CSV", about: "a row a lot, for spreadsheets" },
  { format: "greenbutton", name: "Green Button", about: "ESPI, for energy software" },
] as const;

/** Local wall time as an input wants it. */
const local = (unixSeconds: number): string => {
  const date = new Date(unixSeconds * 1000 - new Date(unixSeconds * 1000).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 16);
};

function Bill({ data }: { data: AccountDetailJson }) {
  const { lotSeconds } = useShared().status;
  const [chosen, setChosen] = useState<{ from?: string; to?: string }>({});
  if (data.newestLot === null || data.firstLot === null) return null;
  const lotOf = (text: string) => Math.floor(new Date(text).getTime() / 1000 / lotSeconds);
  const newest = Number(data.newestLot);
  const month = Math.max(Number(data.firstLot), newest + 1 - Math.floor((31 * 86_400) / lotSeconds));
  // Only what somebody wrote is read as wall time, which knows no seconds, and one hour a year twice.
  const first = chosen.from === undefined ? month : lotOf(chosen.from);
  const last = chosen.to === undefined ? newest : lotOf(chosen.to) - 1;
  const from = chosen.from ?? local(lotBegin(BigInt(month), lotSeconds));
  const to = chosen.to ?? local(lotBegin(BigInt(newest) + 1n, lotSeconds));
  const good = Number.isFinite(first) && Number.isFinite(last) && first <= last;
  const query = `account=${data.account}&from=${first}&to=${last}`;
  return (
    <section class="panel" aria-labelledby="bill">
      <h2 id="bill">The bill</h2>
      <p>
        Take it away with everything behind it: the signed readings, the terms, the events and transactions.{" "}
        <a href={link("check")}>Check a bill</a> recomputes it from the signatures up, in your browser, and so does{" "}
        <code>npx bijuli verify FILE</code>.
      </p>
      <div class="choices row">
        <label>
          From{" "}
          <input
            type="datetime-local"
            value={from}
            onInput={({ currentTarget }) => setChosen({ ...chosen, from: currentTarget.value })}
          />
        </label>
        <label>
          To{" "}
          <input
            type="datetime-local"
            value={to}
            onInput={({ currentTarget }) => setChosen({ ...chosen, to: currentTarget.value })}
          />
        </label>
        {good && (
          <span>
            {last - first + 1} lots, {first} … {last}
          </span>
        )}
      </div>
      {good ? (
        <ul class="downloads">
          {FORMATS.map(({ format, name, about }) => (
            <li key={format}>
              <a
                href={`./api/bill?${query}&format=${format}`}
                {...(format === "html" ? { target: "_blank", rel: "noopener" } : { download: "" })}
              >
                {name}
              </a>
              <span>{about}</span>
            </li>
          ))}
        </ul>
      ) : (
        <p class="problem">The bill must begin before it ends.</p>
      )}
    </section>
  );
}

function Statement({ data }: { data: AccountDetailJson }) {
  const [older, setOlder] = useState<{ entries: EntryJson[]; next: string | null } | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const next = older ? older.next : data.next;
  const seen = new Set<string>();
  const entries = [...data.entries, ...(older?.entries ?? [])].filter(({ id, kind }) => {
    const key = `${id}/${kind}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const more = async () => {
    try {
      const page = await ask<AccountDetailJson>(`./api/accounts/${data.account}?before=${next}`);
      setOlder({ entries: [...(older?.entries ?? data.entries), ...page.entries].slice(-1_000), next: page.next });
      setError(undefined);
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  return (
    <section aria-labelledby="statement">
      <h2 id="statement">Statement</h2>
      <Table
        caption="Statement, newest first"
        hidden
        head={["When", "What", "Lots to", "Amount ›", "Balance after ›", "Transaction"]}
      >
        {entries.map((entry) => (
          <tr key={`${entry.id}/${entry.kind}`}>
            <td>
              <Time at={entry.at} />
            </td>
            <th scope="row">
              {ENTRIES[entry.kind] ?? entry.kind}
              {entry.parts > 1 && <small> ({entry.parts})</small>}
              {entry.other !== null && (
                <>
                  {" "}
                  <a href={link("account", entry.other)}>account {entry.other}</a>
                </>
              )}
            </th>
            <td>{entry.lot !== null ? <LotLink feeder={data.feeder} lot={entry.lot} /> : "–"}</td>
            <td class={`number ${entry.amount.startsWith("-") ? "" : "plus"}`}>{money(entry.amount)}</td>
            <td class="number">{money(entry.balance)}</td>
            <td>
              <Hash value={entry.tx} what="transaction" />
            </td>
          </tr>
        ))}
      </Table>
      {error !== undefined && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
      {entries.length === 0 && <Tag tone="plain">nothing yet</Tag>}
      {next !== null && (
        <p class="more">
          <button type="button" onClick={() => void more()}>
            Older entries
          </button>
        </p>
      )}
    </section>
  );
}
