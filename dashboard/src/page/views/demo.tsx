import { useEffect, useState } from "preact/hooks";
import type { DemoJson, SwitchJson } from "../../server/demo-shapes.ts";
import { ask } from "../api.ts";
import { useShared } from "../context.ts";
import { Tag, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";

const POLL_MS = 1_500;

/** The demo's switches: what a person can do to the network, and where it shows. */
export function Demo() {
  const { status } = useShared();
  const [state, setState] = useState<DemoJson | undefined>(undefined);
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | undefined>(undefined);

  useEffect(() => {
    const load = () =>
      ask<DemoJson>("./api/demo").then(
        (now) => {
          setState(now);
          setError(undefined);
        },
        (failure: Error) => setError(failure.message),
      );
    void load();
    const timer = setInterval(load, POLL_MS);
    return () => clearInterval(timer);
  }, []);

  const flip = async (change: SwitchJson, words: string) => {
    setBusy(true);
    setSaid(`${words} …`);
    try {
      const response = await fetch("./api/demo", {
        method: "POST",
        headers: { "content-type": "application/json", "x-bijuli-switch": "1" },
        body: JSON.stringify(change),
      });
      const answer = (await response.json()) as DemoJson & { error?: { message: string } };
      if (!response.ok) throw new Error(answer.error?.message ?? `the server answered ${response.status}`);
      setState(answer);
      setSaid(`${words}: done.`);
    } catch (failure) {
      setSaid(`${words}: ${(failure as Error).message}`);
    } finally {
      setBusy(false);
    }
  };

  if (state === undefined) return <Waiting error={error} what="the switches" />;
  const { theft, sensors, readers, node } = state;
  const fixed = sensors.filter(({ alterable }) => !alterable);
  return (
    <>
      <Title about="Do something to the network and watch what the contract makes of it. What you switch holds for lots from now on: a closed lot never changes.">
        Switches
      </Title>
      <output class="said">{said}</output>
      <section class="panel" aria-labelledby="theft">
        <h2 id="theft">Steal energy</h2>
        {theft === null ? (
          <p>
            This network replays a recording, which cannot be altered; start a simulated one with plain{" "}
            <code>npm start</code>.
          </p>
        ) : (
          <ul class="switches">
            <Switch
              name="On the line, before the distributor's meter"
              about={
                <>
                  The plants send more than arrives: the loss is above the ideal, and the price falls by the penalty.{" "}
                  <a href={link("network")}>Watch the loss</a>.
                </>
              }
              on={theft.line !== 0}
              busy={busy}
              label={theft.line === 0 ? `Steal ${theft.watts} W` : "Stop"}
              flip={() => void flip({ switch: "line", watts: theft.line === 0 ? theft.watts : 0 }, "Theft on the line")}
            />
            <Switch
              name="Behind the distributor's meter"
              about={
                <>
                  It arrives, and no consumer's meter sees it: unaccounted energy.{" "}
                  <a href={link("alarms")}>Watch the alarms</a>.
                </>
              }
              on={theft.behind !== 0}
              busy={busy}
              label={theft.behind === 0 ? `Steal ${theft.watts} W` : "Stop"}
              flip={() =>
                void flip({ switch: "behind", watts: theft.behind === 0 ? theft.watts : 0 }, "Theft behind the meter")
              }
            />
          </ul>
        )}
      </section>
      <section class="panel" aria-labelledby="sensors">
        <h2 id="sensors">Fail a sensor</h2>
        <p>
          The reader goes on, but measures nothing: its lots carry the gap and the sensor's bit, and the meter says so
          itself.
        </p>
        {fixed.length > 0 && <p class="note">{fixed.length} meters replay a recording and cannot be altered.</p>}
        <ul class="switches many">
          {sensors
            .filter(({ alterable }) => alterable)
            .map(({ serial, failing }) => (
              <Switch
                key={serial}
                name={serial}
                on={failing}
                busy={busy}
                label={failing ? "Repair" : "Fail"}
                flip={() => void flip({ switch: "sensor", serial, failing: !failing }, `Sensor of ${serial}`)}
              />
            ))}
        </ul>
      </section>
      <section class="panel" aria-labelledby="readers">
        <h2 id="readers">Stop a reader</h2>
        <p>
          Nobody can read the meter. A consumer's lots wait until the grace time is over; a plant's or the distributor's
          hold the whole feeder until it is back. Nothing is lost: started again, it signs what it measured meanwhile.
        </p>
        <ul class="switches many">
          {readers.map(({ serial, running }) => (
            <Switch
              key={serial}
              name={serial}
              on={!running}
              busy={busy}
              label={running ? "Stop" : "Start"}
              flip={() => void flip({ switch: "reader", serial, running: !running }, `Reader ${serial}`)}
            />
          ))}
        </ul>
      </section>
      <section class="panel" aria-labelledby="node">
        <h2 id="node">Stop the node</h2>
        <p>
          No lot is opened or delivered until it is back; then they are cleared in their order, one after the other.{" "}
          {status.node && <a href={link("requests")}>Watch the requests</a>}
        </p>
        <ul class="switches">
          <Switch
            name="The oracle node"
            on={!node.running}
            busy={busy}
            label={node.running ? "Stop" : "Start"}
            flip={() => void flip({ switch: "node", running: !node.running }, "The node")}
          />
        </ul>
      </section>
    </>
  );
}

function Switch({
  name,
  about,
  on,
  busy,
  label,
  flip,
}: {
  name: string;
  about?: preact.ComponentChildren;
  on: boolean;
  busy: boolean;
  label: string;
  flip: () => void;
}) {
  return (
    <li class={on ? "on" : ""}>
      <div>
        <strong>{name}</strong> {on && <Tag tone="poor">switched</Tag>}
        {about !== undefined && <p>{about}</p>}
      </div>
      <button type="button" aria-pressed={on} disabled={busy} onClick={flip} aria-label={`${label}: ${name}`}>
        {label}
      </button>
    </li>
  );
}
