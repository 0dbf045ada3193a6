import type { RequestJson } from "../../server/shapes.ts";
import { useShared } from "../context.ts";
import { More } from "../more.tsx";
import { usePages } from "../pages.ts";
import { Hash, LotLink, Table, Tag, Time, Title, Waiting } from "../pieces.tsx";

const STAGES = ["plant", "distributor", "consumers"];

/** What the market asked of its oracles, in order, and how each request stands: on chain and with the node. */
export function Requests() {
  const { status } = useShared();
  const list = usePages<RequestJson>("./api/requests", "before", ({ id }) => id, 600);
  if (list.items === undefined) return <Waiting error={list.error} what="the requests" />;
  return (
    <>
      <Title
        about={
          status.node
            ? "Newest first. They are delivered in the order in which they were asked: plant, distributor, consumers, lot by lot."
            : "Newest first. This server knows no node (NODE_URL): only what the chain says is shown."
        }
      >
        Requests
      </Title>
      <Table
        caption="Requests, newest first"
        hidden
        head={["Asked", "Feeder", "Lots to", "Stage", "Meters ›", "On chain", "At the node", "Request", "Delivered by"]}
      >
        {list.items.map((request) => (
          <tr key={request.id}>
            <td>
              <Time at={request.asked.at} />
            </td>
            <td>{request.feederName}</td>
            <td>
              <LotLink feeder={request.feeder} lot={request.lot} />
            </td>
            <th scope="row">{STAGES[request.stage]}</th>
            <td class="number">
              {request.count}
              {request.first > 0 && ` from ${request.first}`}
            </td>
            <td>
              <OnChain request={request} />
            </td>
            <td>
              {request.run === null ? (
                "–"
              ) : (
                <>
                  <Tag tone={RUN_TONES[request.run.state] ?? "fair"}>{request.run.state}</Tag>{" "}
                  {request.run.state !== "delivered" && request.run.cause !== null && (
                    <small>{request.run.cause.slice(0, 160)}</small>
                  )}
                </>
              )}
            </td>
            <td>
              <Hash value={request.id} what="request" />
            </td>
            <td>{request.cleared ? <Hash value={request.cleared.tx} what="transaction" /> : "–"}</td>
          </tr>
        ))}
      </Table>
      <More list={list} what="requests" />
    </>
  );
}

const RUN_TONES: Readonly<Record<string, "good" | "fair" | "poor" | "plain">> = {
  delivered: "good",
  pending: "fair",
  ready: "plain",
  sent: "plain",
  unconfirmed: "plain",
  "callback-failed": "poor",
  rejected: "poor",
  quarantined: "poor",
  abandoned: "poor",
};

function OnChain({ request }: { request: RequestJson }) {
  const again = request.deferrals > 0 ? ` after ${request.deferrals} deferral${request.deferrals > 1 ? "s" : ""}` : "";
  if (request.state === "cleared") return <Tag tone="good">cleared{again}</Tag>;
  if (request.state === "deferred") return <Tag tone="fair">deferred: {request.cause}</Tag>;
  if (request.state === "refused") return <Tag tone="fair">refused: {request.cause}</Tag>;
  return <Tag tone="plain">awaited</Tag>;
}
