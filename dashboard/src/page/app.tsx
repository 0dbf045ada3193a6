import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FeederSummary, StatusJson } from "../server/shapes.ts";
import { listen, useApi } from "./api.ts";
import { SharedContext } from "./context.ts";
import { dateTime, zone } from "./format.ts";
import { lazy } from "./lazy.tsx";
import { Waiting } from "./pieces.tsx";
import { link, usePlace } from "./router.ts";
import { Accounts } from "./views/accounts.tsx";
import { Alarms } from "./views/alarms.tsx";
import { Lots } from "./views/lots.tsx";
import { Meters } from "./views/meters.tsx";
import { NetworkView } from "./views/network.tsx";
import { Requests } from "./views/requests.tsx";

type View = { rest: string[] };
const Account = lazy<View>(async () => (await import("./views/account.tsx")).Account);
const Check = lazy<View>(async () => (await import("./views/check.tsx")).Check);
const Demo = lazy<View>(async () => (await import("./views/demo.tsx")).Demo);
const Lot = lazy<View>(async () => (await import("./views/lot.tsx")).Lot);
const Trends = lazy<View>(async () => (await import("./views/trends.tsx")).Trends);

const VIEWS: Readonly<Record<string, { name: string; view: ComponentType<View>; under?: string }>> = {
  network: { name: "Network", view: NetworkView },
  lots: { name: "Lots", view: Lots },
  trends: { name: "Loss & price", view: Trends },
  alarms: { name: "Alarms", view: Alarms },
  accounts: { name: "Accounts", view: Accounts },
  meters: { name: "Meters", view: Meters },
  requests: { name: "Requests", view: Requests },
  check: { name: "Check a bill", view: Check },
  demo: { name: "Switches", view: Demo },
  lot: { name: "Lot", view: Lot, under: "lots" },
  account: { name: "Account", view: Account, under: "accounts" },
};

/** The frame around every view. */
export function App() {
  const place = usePlace();
  const status = useApi<StatusJson>("./api/status");
  const feeders = useApi<FeederSummary[]>("./api/feeders");
  useEffect(listen, []);
  const [chosen, setChosen] = useState<string | undefined>(undefined);

  const named = ["network", "lots", "trends", "lot"].includes(place.view) ? place.rest[0] : undefined;
  const feeder =
    feeders.data?.find(({ id }) => id === (named ?? chosen)) ??
    feeders.data?.find(({ id }) => id === chosen) ??
    feeders.data?.[0];
  const current = (Object.hasOwn(VIEWS, place.view) && VIEWS[place.view]) || VIEWS.network!;
  const shown = Object.entries(VIEWS).filter(([key, { under }]) => !under && (key !== "demo" || status.data?.demo));
  const here = current.under ?? (current === VIEWS.network ? "network" : place.view);

  useEffect(() => {
    document.title = `${current.name} · Bijuli`;
    // On a narrow screen the views scroll sideways.
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [current]);

  return (
    <>
      <button type="button" class="skip" onClick={() => document.querySelector("h1")?.focus()}>
        To the content
      </button>
      <header class="bar">
        <a class="brand" href={link("network")}>
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M18 3 7 18h7l-2 11 12-16h-7z" />
          </svg>
          Bijuli
        </a>
        {feeders.data !== undefined && feeders.data.length > 1 && (
          <label class="chooser">
            <span class="unseen">Feeder</span>
            <select
              value={feeder?.id ?? ""}
              onChange={({ currentTarget }) => {
                setChosen(currentTarget.value);
                if (["network", "lots", "trends"].includes(place.view))
                  location.hash = link(place.view, currentTarget.value);
              }}
            >
              {feeders.data.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <nav aria-label="Views">
          <ul>
            {shown.map(([key, { name }]) => (
              <li key={key}>
                <a href={link(key)} {...(here === key ? { "aria-current": "page" as const } : {})}>
                  {name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
      </header>
      <main id="main">
        {status.data === undefined || feeders.data === undefined ? (
          <Waiting error={status.error ?? feeders.error} what="the chain" />
        ) : (
          <SharedContext.Provider value={{ status: status.data, feeders: feeders.data, feeder }}>
            <Problems status={status.data} error={status.error ?? feeders.error} />
            <current.view key={`${place.view}/${place.rest.join("/")}`} rest={place.rest} />
          </SharedContext.Provider>
        )}
      </main>
      {status.data !== undefined && <Foot status={status.data} />}
    </>
  );
}

function Problems({ status, error }: { status: StatusJson; error: string | undefined }) {
  const problems = [
    ...(error === undefined ? [] : [`This page's server does not answer: ${error}`]),
    ...status.problems,
  ];
  return (
    <div aria-live="polite">
      {problems.map((problem) => (
        <p class="problem" key={problem}>
          {problem}
        </p>
      ))}
    </div>
  );
}

function Foot({ status }: { status: StatusJson }) {
  const { head, followed, chainId, market, registry, speed } = status;
  return (
    <footer>
      <p>
        Chain {chainId}, block {followed}
        {head !== null && head.number > followed + 2 ? ` of ${head.number}` : ""}
        {head !== null && ` · the chain's time is ${dateTime(head.time)}`}
        {speed > 1 && `, ${Math.round(speed)} times as fast as yours`} · times in {zone()}
      </p>
      <p>
        Market <code>{market}</code> · meter registry <code>{registry}</code>
      </p>
    </footer>
  );
}
