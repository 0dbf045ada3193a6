import { WAD } from "@bijuli/protocol";
import type { ClearingJson, FeederJson, LotJson, MemberJson } from "../../server/shapes.ts";
import { useApi } from "../api.ts";
import { lotBegin, useShared } from "../context.ts";
import { bps, clockTime, kWh, money, percent, price, ratio } from "../format.ts";
import { Fact, LotLink, nameOf, Tag, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";
import { Ribbons } from "./ribbons.tsx";

/** So many consumers are drawn; the others are summed up, and listed with the accounts. */
const DRAWN = 8;

/** A feeder as it is now: what flows from its plants to its consumers, what is lost, what it costs, who owes. */
export function NetworkView() {
  const { feeder, feeders } = useShared();
  const { data, error } = useApi<FeederJson>(feeder && `./api/feeders/${feeder.id}`);
  if (feeders.length === 0) {
    return (
      <>
        <Title about="No feeder has been created on this market yet.">Network</Title>
        <Waiting error={error} what="the chain" />
      </>
    );
  }
  if (data === undefined) return <Waiting error={error} what="the feeder" />;
  return (
    <>
      <Title
        about={
          data.newest ? (
            <>
              Newest cleared lot <LotLink feeder={data.id} lot={data.newest.lot} /> · {data.lots.toLocaleString()}{" "}
              {data.lots === 1 ? "lot" : "lots"} cleared
            </>
          ) : (
            "No lot has been cleared yet."
          )
        }
      >
        Feeder {data.name}
      </Title>
      <Progress open={data.open} />
      <Figures feeder={data} />
      {data.newest && <Flow people={data.people} lot={data.newest} feeder={data} />}
      {!data.newest && <Members people={data.people} />}
    </>
  );
}

const AWAITED = ["the plants' readings", "the distributor's reading", "the consumers' readings"];

function Progress({ open }: { open: ClearingJson[] }) {
  const { lotSeconds } = useShared().status;
  const oldest = open.at(-1);
  if (oldest === undefined) return null;
  const begin = lotBegin(BigInt(oldest.last) - BigInt(oldest.lots - 1), lotSeconds);
  const end = lotBegin(BigInt(oldest.last) + 1n, lotSeconds);
  return (
    <p class="progress">
      <span class="pulse" aria-hidden="true" />
      {clockTime(begin)}–{clockTime(end)} is being cleared: it waits for {AWAITED[oldest.stage]}.
      {open.length > 1 && ` ${open.length - 1} more behind it.`}
    </p>
  );
}

function Figures({ feeder }: { feeder: FeederJson }) {
  const { newest, terms, people } = feeder;
  const owed = people.reduce((sum, member) => sum + BigInt(member.owed), 0n);
  const debtors = people.filter((member) => member.owed !== "0").length;
  const excess = BigInt(newest?.excessLoss ?? 0);
  const { unaccountedAlarmBps } = useShared().status;
  const missing = newest ? ratio(BigInt(newest.unaccounted), BigInt(newest.available)) : 0n;
  const alarming = missing * 10_000n > BigInt(unaccountedAlarmBps) * WAD;
  return (
    <dl class="figures">
      <Fact name="Price" note={newest && terms && margin(newest, terms.idealLossBps, terms.serviceBps)}>
        {newest ? price(newest.price, 0) : "–"}
      </Fact>
      <Fact
        name="Loss"
        tone={excess > 0n ? "poor" : "good"}
        note={
          terms && (
            <>
              ideal {bps(terms.idealLossBps)}
              {excess > 0n ? `, ${percent(excess)} above it: penalty` : ""}
            </>
          )
        }
      >
        {newest ? percent(newest.actualLoss) : "–"}
      </Fact>
      <Fact
        name="Unaccounted"
        tone={alarming ? "poor" : undefined}
        note={
          newest &&
          (alarming
            ? `${percent(missing)} of what arrived: look behind the meter`
            : `${percent(missing)} of what arrived`)
        }
      >
        {newest ? kWh(newest.unaccounted) : "–"}
      </Fact>
      <Fact
        name="Arrears"
        tone={owed > 0n ? "poor" : undefined}
        note={debtors === 0 ? "nobody owes" : `${debtors} in arrears`}
      >
        {money(owed)}
      </Fact>
      <Fact name="Sent" note={newest ? `plants are paid ${money(newest.plantsPaid)}` : undefined}>
        {newest ? kWh(newest.sent) : "–"}
      </Fact>
      <Fact name="Delivered" note={newest ? `consumers are charged ${money(newest.consumersCharged)}` : undefined}>
        {newest ? kWh(newest.delivered) : "–"}
      </Fact>
    </dl>
  );
}

function margin({ factor }: LotJson, ideal: string, service: string): string {
  const full = WAD + ((BigInt(ideal) + BigInt(service)) * WAD) / 10_000n;
  const part = BigInt(factor);
  return part < full ? `${percent(full - part)} off as a penalty` : `the plants' price and ${percent(full - WAD)}`;
}

function Flow({ people, lot, feeder }: { people: MemberJson[]; lot: LotJson; feeder: FeederJson }) {
  const plants = people.filter(({ role }) => role === "plant");
  const distributor = people.find(({ role }) => role === "distributor");
  const consumers = people
    .filter(({ role }) => role === "consumer")
    .sort((a, b) => (BigInt(b.energy ?? 0) > BigInt(a.energy ?? 0) ? 1 : -1));
  const drawn = consumers.length > DRAWN + 1 ? consumers.slice(0, DRAWN) : consumers;
  const rest = consumers.slice(drawn.length);
  const sum = (members: readonly MemberJson[]) =>
    members.reduce((total, { energy }) => total + BigInt(energy ?? 0), 0n);
  const whole = BigInt(lot.sent) > BigInt(lot.received) ? BigInt(lot.sent) : BigInt(lot.received);
  const share = (energy: bigint) => Number(ratio(energy, whole === 0n ? 1n : whole) / 10n ** 14n) / 10_000;

  const left = plants.map((plant) => share(BigInt(plant.energy ?? 0)));
  const right = [
    share(BigInt(lot.lost)),
    ...drawn.map((consumer) => share(BigInt(consumer.energy ?? 0))),
    ...(rest.length > 0 ? [share(sum(rest))] : []),
    share(BigInt(lot.unaccounted)),
  ];
  const kinds = ["loss", ...drawn.map(() => "used"), ...(rest.length > 0 ? ["used"] : []), "astray"];
  return (
    <section class="flow" aria-label="Energy flow in the newest lot">
      <div class="column">
        <h2>Plants</h2>
        <ul>
          {plants.map((plant) => (
            <Person key={plant.account} member={plant} share={share(BigInt(plant.energy ?? 0))} verb="is paid" />
          ))}
        </ul>
      </div>
      <Ribbons from={left} kinds={left.map(() => "sent")} direction="in" />
      <div class="column middle">
        <h2>Distributor</h2>
        <ul>
          {distributor && (
            <li class="card hub">
              <a class="name" href={link("account", distributor.account)}>
                {nameOf(distributor)}
              </a>
              <p class="energy">{kWh(lot.received)}</p>
              <p>
                received of {kWh(lot.sent)} sent
                <LossBar
                  high={lot.excessLoss !== "0"}
                  actual={BigInt(lot.actualLoss)}
                  ideal={BigInt(feeder.terms?.idealLossBps ?? 0)}
                />
              </p>
              <Balance member={distributor} />
            </li>
          )}
        </ul>
      </div>
      <Ribbons from={right} kinds={kinds} direction="out" />
      <div class="column">
        <h2>Consumers</h2>
        <ul>
          <li class={`card slim ${BigInt(lot.excessLoss) > 0n ? "poor" : ""}`}>
            <span class="name">Lost on the line</span>
            <p class="energy">{kWh(lot.lost)}</p>
          </li>
          {drawn.map((consumer) => (
            <Person
              key={consumer.account}
              member={consumer}
              share={share(BigInt(consumer.energy ?? 0))}
              verb="is charged"
            />
          ))}
          {rest.length > 0 && (
            <li class="card slim">
              <a class="name" href={link("accounts")}>
                {rest.length} more
              </a>
              <p class="energy">{kWh(sum(rest))}</p>
            </li>
          )}
          <li class="card slim">
            <span class="name">Unaccounted</span>
            <p class="energy">{kWh(lot.unaccounted)}</p>
          </li>
        </ul>
      </div>
    </section>
  );
}

/** The measured loss beside the ideal one, on one scale. */
function LossBar({ actual, ideal, high }: { actual: bigint; ideal: bigint; high: boolean }) {
  const idealWad = (ideal * WAD) / 10_000n;
  const scale = (actual > idealWad ? actual : idealWad) + WAD / 50n;
  const part = (value: bigint) => Number((value * 1_000n) / scale) / 10;
  return (
    <svg
      class={`lossbar ${high ? "poor" : "good"}`}
      viewBox="0 0 100 6"
      preserveAspectRatio="none"
      role="img"
      aria-label={`loss ${percent(actual)}, ideal ${percent(idealWad)}`}
    >
      <rect class="scale" width="100" height="6" />
      <rect class="actual" width={part(actual)} height="6" />
      <rect class="ideal" x={part(idealWad)} width="0.8" height="6" />
    </svg>
  );
}

function Person({ member, share, verb }: { member: MemberJson; share: number; verb: string }) {
  return (
    <li class="card">
      <a class="name" href={link("account", member.account)}>
        {nameOf(member)}
      </a>
      {member.energy === null ? (
        <p class="energy">not read yet</p>
      ) : (
        <>
          <p class="energy">{kWh(member.energy)}</p>
          <p>
            {verb} {money(member.money ?? "0")}
          </p>
        </>
      )}
      <span class="share" style={{ width: `${Math.min(share, 1) * 100}%` }} aria-hidden="true" />
      <Balance member={member} />
    </li>
  );
}

function Balance({ member }: { member: MemberJson }) {
  if (member.owed !== "0") return <Tag tone="poor">owes {money(member.owed)}</Tag>;
  if (member.reserveLow) return <Tag tone="fair">reserve low</Tag>;
  return null;
}

function Members({ people }: { people: MemberJson[] }) {
  return (
    <ul class="members">
      {people.map((member) => (
        <li key={member.account} class="card">
          <a class="name" href={link("account", member.account)}>
            {nameOf(member)}
          </a>
          <p>{member.role}</p>
        </li>
      ))}
    </ul>
  );
}
