import type { Endpoint } from "@bijuli/protocol";

/** What the adapter answers over HTTP, below BASE_URL; shapes stand in README.md. */
export const ADAPTER_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "POST",
    path: "/",
    token: true,
    answers: "a Chainlink node's bridge request: the records of the meters that it names, or one meter's registers",
  },
  {
    method: "POST",
    path: "/readings",
    token: false,
    answers: "takes a reading that a reader behind NAT pushes; the meter's signature is the authentication",
  },
  { method: "GET", path: "/health", token: false, answers: "200 while it lives" },
  { method: "GET", path: "/ready", token: false, answers: "200 while enough meters are fresh, else 503" },
  { method: "GET", path: "/status", token: true, answers: "configuration without secrets, meters, circuits" },
  { method: "GET", path: "/evidence", token: true, answers: "readings that contradict each other, with calldata" },
  { method: "GET", path: "/metrics", token: true, answers: "Prometheus' metrics; on METRICS_PORT where one is set" },
];
