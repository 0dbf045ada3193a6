import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { clockTime, dateTime, monthDay } from "./format.ts";

export interface Line {
  label: string;
  /** A custom property of the style sheet. */
  colour: string;
  values: (number | null)[];
  dashed?: boolean;
  filled?: boolean;
  /** Bars instead of a line. */
  bars?: boolean;
}

const HEIGHT = 240;
const DARK = "(prefers-color-scheme: dark)";

/** Pixels that an axis' labels take: uPlot cuts what does not fit. */
const roomFor = (labels: readonly string[] | null): number =>
  Math.max(48, 16 + 7 * Math.max(0, ...(labels ?? []).map((label) => label.length)));

/** Lines over time (unix seconds); numbers here are for the eye only, the table beside it has them in full. */
export function Chart({
  title,
  times,
  lines,
  show,
}: {
  title: string;
  times: number[];
  lines: Line[];
  show: (value: number) => string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [dark, setDark] = useState(matchMedia(DARK).matches);
  const shape = JSON.stringify([title, dark, lines.map(({ label, colour, dashed }) => [label, colour, dashed])]);
  const data: uPlot.AlignedData = [times, ...lines.map(({ values }) => values)];
  const newest = useRef(data);
  newest.current = data;

  useEffect(() => {
    const query = matchMedia(DARK);
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);

  useEffect(() => {
    const element = box.current!;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
    const timeOf = (at: number) =>
      span > 3 * 86_400 || (at - new Date(at * 1000).getTimezoneOffset() * 60) % 86_400 === 0
        ? monthDay(at)
        : clockTime(at);
    const made = new uPlot(
      {
        width: Math.max(element.clientWidth, 200),
        height: HEIGHT,
        cursor: { y: false },
        legend: { live: true },
        scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low), high === 0 ? 1 : high * 1.08] } },
        axes: [
          { ...axis, values: (_, values) => values.map(timeOf) },
          { ...axis, size: (_, values) => roomFor(values), values: (_, values) => values.map(show) },
        ],
        series: [
          { label: "Time", value: (_, at) => (at === null ? "–" : dateTime(at)) },
          ...lines.map(
            (line): uPlot.Series => ({
              label: line.label,
              stroke: colour(line.colour),
              width: 2,
              points: { show: times.length < 40 },
              value: (_, value) => (value === null ? "–" : show(value)),
              ...(line.dashed ? { dash: [6, 4], points: { show: false } } : {}),
              ...(line.filled ? { fill: `${colour(line.colour)}22` } : {}),
              ...(line.bars ? { paths: uPlot.paths.bars!({ size: [0.7, 40] }), fill: `${colour(line.colour)}88` } : {}),
            }),
          ),
        ],
      },
      newest.current,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: Math.max(element.clientWidth, 200), height: HEIGHT }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(newest.current), [times, lines]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={box} role="img" aria-label={`${title}; the same numbers stand in the table below`} />
    </figure>
  );
}
