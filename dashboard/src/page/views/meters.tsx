import { qualityNames } from "@bijuli/protocol";
import type { MeterJson } from "../../server/shapes.ts";
import { useApi } from "../api.ts";
import { lotBegin, useShared } from "../context.ts";
import { kWh } from "../format.ts";
import { Hash, nameOf, Table, Tag, Time, Title, Waiting } from "../pieces.tsx";
import { link } from "../router.ts";

/** The meters: how fresh they are, what ails them, who signs for them. */
export function Meters() {
  const { data, error } = useApi<MeterJson[]>("./api/meters");
  const { status } = useShared();
  if (data === undefined) return <Waiting error={error} what="the meters" />;
  return (
    <>
      <Title
        about={
          status.adapter
            ? "Freshness is what the adapter sees; registers are those of the newest cleared reading."
            : "This server knows no adapter (ADAPTER_URL): freshness is told by the chain alone."
        }
      >
        Meters
      </Title>
      <Table
        caption="All meters"
        hidden
        head={["Meter", "Role", "Health", "Newest cleared", "Forward register ›", "Quality", "Signer"]}
      >
        {data.map((meter) => (
          <tr key={meter.meter}>
            <th scope="row">
              {meter.account === null ? nameOf(meter) : <a href={link("account", meter.account)}>{nameOf(meter)}</a>}
            </th>
            <td>{meter.role ?? "–"}</td>
            <td>
              <Health meter={meter} />
            </td>
            <td>{meter.lot === null ? "–" : <Time at={lotBegin(BigInt(meter.lot) + 1n, status.lotSeconds)} />}</td>
            <td class="number" title={meter.forward === null ? "" : `${meter.forward} Units`}>
              {meter.forward === null ? "–" : kWh(meter.forward)}
            </td>
            <td>
              {meter.quality === null ? "–" : meter.quality === 0 ? "clean" : qualityNames(meter.quality).join(", ")}
            </td>
            <td>
              <Hash value={meter.signer} what="signer" />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}

function Health({ meter }: { meter: MeterJson }) {
  const { reader, suspendedFrom, equivocations } = meter;
  if (suspendedFrom !== null) return <Tag tone="poor">suspended</Tag>;
  if (equivocations > 0) return <Tag tone="poor">contradicted itself</Tag>;
  if (reader === null) return <Tag tone="plain">unknown</Tag>;
  if (reader.error !== null && reader.circuit !== "closed")
    return (
      <>
        <Tag tone="poor">silent</Tag> <small>{reader.error}</small>
      </>
    );
  if (!reader.fresh) return <Tag tone="fair">stale</Tag>;
  return <Tag tone="good">fresh</Tag>;
}
