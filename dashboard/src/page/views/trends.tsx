import { useMemo, useState } from "preact/hooks";
import type { BucketJson, SeriesJson } from "../../server/shapes.ts";
import { useApi } from "../api.ts";
import { Chart } from "../chart.tsx";
import { useShared } from "../context.ts";
import { kWh, percent, price } from "../format.ts";
import { Table, Time, Title, Waiting } from "../pieces.tsx";

const RANGES = [
  { name: "6 hours", seconds: 21_600 },
  { name: "A day", seconds: 86_400 },
  { name: "A week", seconds: 7 * 86_400 },
  { name: "A month", seconds: 30 * 86_400 },
  { name: "All", seconds: undefined },
] as const;
const POINTS = 400;
const ROWS = 100;

/** Of integers only what the eye needs: five digits. */
const forEye = (value: string, scale: bigint): number => Number((BigInt(value) * 100_000n) / scale) / 100_000;

/** Loss, price and energy over time, drawn and as a table. */
export function Trends() {
  const { feeder, status } = useShared();
  const [range, setRange] = useState<(typeof RANGES)[number]>(RANGES[4]);
  const newest = feeder?.newest;
  const end = newest ? Number((BigInt(newest.lot) + 1n) * BigInt(status.lotSeconds)) : undefined;
  const from = range.seconds === undefined || end === undefined ? "" : `&from=${end - range.seconds}`;
  const { data, error } = useApi<SeriesJson>(feeder && `./api/feeders/${feeder.id}/series?points=${POINTS}${from}`);
  const drawn = useMemo(() => data && lines(data), [data]);
  return (
    <>
      <Title about={data && `${data.points.length} points, each ${one(data.resolution)}; times in your zone.`}>
        Loss and price{feeder ? ` of ${feeder.name}` : ""}
      </Title>
      <fieldset class="choices">
        <legend>Time</legend>
        {RANGES.map((option) => (
          <label key={option.name}>
            <input type="radio" name="range" checked={range === option} onChange={() => setRange(option)} />
            {option.name}
          </label>
        ))}
      </fieldset>
      {data === undefined || drawn === undefined ? (
        <Waiting error={error} what="the lots" />
      ) : data.points.length === 0 ? (
        <p class="waiting">No lot has been cleared yet.</p>
      ) : (
        <>
          <Chart
            title="Loss on the line, beside the ideal"
            times={drawn.times}
            lines={drawn.loss}
            show={(value) => `${value.toFixed(1)} %`}
          />
          <Chart
            title="What consumers pay"
            times={drawn.times}
            lines={drawn.price}
            show={(value) => `${Math.round(value).toLocaleString()} gwei`}
          />
          <Chart
            title="Energy"
            times={drawn.times}
            lines={drawn.energy}
            show={(value) => `${value.toPrecision(3)} kWh`}
          />
          <Numbers points={data.points} />
        </>
      )}
    </>
  );
}

const one = (resolution: string): string =>
  resolution === "lot" ? "one lot" : resolution === "hour" ? "an hour" : resolution === "day" ? "a day" : resolution;

function lines({ points, ideal }: SeriesJson) {
  const times = points.map(({ start }) => start);
  const loss = (value: string) => forEye(value, 10n ** 16n);
  const gwei = (value: string) => forEye(value, 10n ** 9n);
  const energy = (value: string) => forEye(value, 10n ** 7n);
  const several = points.some(({ lots }) => lots > 1);
  return {
    times,
    loss: [
      { label: "Loss", colour: "--poor", values: points.map((point) => loss(point.loss)), filled: true },
      ...(several
        ? [{ label: "Worst lot", colour: "--accent", values: points.map((point) => loss(point.lossHigh)) }]
        : []),
      { label: "Ideal", colour: "--good", values: points.map(() => loss(ideal)), dashed: true },
    ],
    price: [
      {
        label: several ? "Mean price" : "Price",
        colour: "--blue",
        values: points.map((point) => gwei(point.price)),
        filled: true,
      },
      ...(several
        ? [
            { label: "Lowest", colour: "--good", values: points.map((point) => gwei(point.priceLow)), dashed: true },
            {
              label: "Highest",
              colour: "--accent",
              values: points.map((point) => gwei(point.priceHigh)),
              dashed: true,
            },
          ]
        : []),
    ],
    energy: [
      { label: "Sent", colour: "--accent", values: points.map((point) => energy(point.sent)) },
      { label: "Delivered", colour: "--blue", values: points.map((point) => energy(point.delivered)) },
      {
        label: "Unaccounted",
        colour: "--poor",
        values: points.map((point) => energy(point.unaccounted)),
        filled: true,
      },
    ],
  };
}

function Numbers({ points }: { points: BucketJson[] }) {
  const [open, setOpen] = useState(false);
  const shown = points.slice(-ROWS).reverse();
  return (
    <details open={open} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>The same as a table</summary>
      {open && (
        <Table
          caption={points.length > ROWS ? `The newest ${ROWS} of ${points.length} points` : "Loss, price and energy"}
          head={[
            "From",
            "Lots ›",
            "Sent ›",
            "Received ›",
            "Delivered ›",
            "Unaccounted ›",
            "Loss ›",
            "Worst ›",
            "Price ›",
          ]}
        >
          {shown.map((point) => (
            <tr key={point.start}>
              <th scope="row">
                <Time at={point.start} />
              </th>
              <td class="number">{point.lots}</td>
              <td class="number">{kWh(point.sent)}</td>
              <td class="number">{kWh(point.received)}</td>
              <td class="number">{kWh(point.delivered)}</td>
              <td class="number">{kWh(point.unaccounted)}</td>
              <td class="number">{percent(point.loss)}</td>
              <td class="number">{percent(point.lossHigh)}</td>
              <td class="number">{price(point.price)}</td>
            </tr>
          ))}
        </Table>
      )}
    </details>
  );
}
