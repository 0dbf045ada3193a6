import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { lotBegin, useShared } from "./context.ts";
import { clockTime, dateTime, fullTime, short } from "./format.ts";
import { link } from "./router.ts";

/** A view's heading; it takes the focus when the view changes, so that a screen reader begins there. */
export function Title({ children, about }: { children: ComponentChildren; about?: ComponentChildren }) {
  return (
    <header class="title">
      <h1 tabIndex={-1}>{children}</h1>
      {about !== undefined && <p>{about}</p>}
    </header>
  );
}

export function Waiting({ error, what }: { error: string | undefined; what: string }) {
  return error === undefined ? (
    <output class="waiting">Reading {what} …</output>
  ) : (
    <p class="problem" role="alert">
      {error}
    </p>
  );
}

/** One number with its name. */
export function Fact({
  name,
  children,
  note,
  tone,
}: {
  name: string;
  children: ComponentChildren;
  note?: ComponentChildren;
  tone?: string | undefined;
}) {
  return (
    <div class={`fact${tone ? ` ${tone}` : ""}`}>
      <dt>{name}</dt>
      <dd>
        <span class="value">{withUnit(children)}</span>
        {note !== undefined && <span class="note">{note}</span>}
      </dd>
    </div>
  );
}

/** "0.25 kWh" with a smaller kWh: the number is what is read first. */
function withUnit(children: ComponentChildren): ComponentChildren {
  if (typeof children !== "string") return children;
  const at = children.lastIndexOf("\u00a0");
  return at < 0 ? (
    children
  ) : (
    <>
      {children.slice(0, at)} <span class="unit">{children.slice(at + 1)}</span>
    </>
  );
}

/** A table that scrolls by itself where the screen is narrow; reachable by keyboard. */
export function Table({
  caption,
  head,
  children,
  hidden = false,
}: {
  caption: string;
  head: readonly string[];
  children: ComponentChildren;
  hidden?: boolean;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="scroll" tabIndex={0} aria-label={caption}>
      <table>
        <caption class={hidden ? "unseen" : ""}>{caption}</caption>
        <thead>
          <tr>
            {head.map((name) => (
              <th scope="col" key={name} class={name.endsWith(" ›") ? "number" : ""}>
                {name.replace(" ›", "")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  );
}

/** A transaction, a block's or meter's id: short, whole on demand, copied by a click. */
export function Hash({ value, what }: { value: string; what: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard?.writeText(value).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1_500);
    });
  };
  return (
    <button type="button" class="hash" title={value} onClick={copy}>
      <span class="unseen">{what} </span>
      {copied ? "copied" : short(value)}
      <span class="unseen">, copy</span>
    </button>
  );
}

export function Time({ at, long = false }: { at: number; long?: boolean }) {
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={fullTime(at)}>
      {long ? fullTime(at) : dateTime(at)}
    </time>
  );
}

/** A lot's span, as a link to it. */
export function LotLink({ feeder, lot }: { feeder: string; lot: string }) {
  const { lotSeconds } = useShared().status;
  const begin = lotBegin(lot, lotSeconds);
  return (
    <a href={link("lot", feeder, lot)} title={`lot ${lot}`}>
      {dateTime(begin)}–{clockTime(begin + lotSeconds)}
    </a>
  );
}

export function Tag({ tone, children }: { tone: "good" | "fair" | "poor" | "plain"; children: ComponentChildren }) {
  return <span class={`tag ${tone}`}>{children}</span>;
}

/** A name for a meter: its serial where somebody told it, else its id. */
export const nameOf = ({ serial, meter }: { serial: string | null; meter: string }): string => serial ?? short(meter);
