import type { Endpoint } from "@bijuli/protocol";

/** What the page's server answers; shapes stand in shapes.ts. */
export const DASHBOARD_ENDPOINTS: readonly Endpoint[] = [
  { method: "GET", path: "/", token: false, answers: "the page" },
  {
    method: "GET",
    path: "/health",
    token: false,
    answers: "200 while it follows the chain, else 503 with what ails it",
  },
  { method: "GET", path: "/ready", token: false, answers: "200 once the store has caught up with the chain, else 503" },
  { method: "GET", path: "/metrics", token: false, answers: "Prometheus' metrics" },
  {
    method: "GET",
    path: "/api/status",
    token: false,
    answers: "chain, contracts, lot length, clock, how far it follows",
  },
  { method: "GET", path: "/api/feeders", token: false, answers: "the feeders with their newest lot" },
  {
    method: "GET",
    path: "/api/feeders/:feeder",
    token: false,
    answers: "a feeder: terms, members, newest lot, open clearings",
  },
  {
    method: "GET",
    path: "/api/feeders/:feeder/lots",
    token: false,
    answers: "its cleared lots, newest first; `before`, `limit`",
  },
  {
    method: "GET",
    path: "/api/feeders/:feeder/clearings",
    token: false,
    answers: "its clearings with stage and transactions; `before`, `limit`",
  },
  {
    method: "GET",
    path: "/api/feeders/:feeder/series",
    token: false,
    answers: "energy, loss and price over time in at most `points` points; `from`, `to` in unix seconds",
  },
  {
    method: "GET",
    path: "/api/feeders/:feeder/lots/:lot",
    token: false,
    answers: "one lot with every signed reading, the one before it, signers and transactions",
  },
  {
    method: "GET",
    path: "/api/alarms",
    token: false,
    answers: "what is out of the ordinary, newest first; `feeder`, `kind`, `severity`, `before`, `limit`",
  },
  { method: "GET", path: "/api/accounts", token: false, answers: "the accounts; `after`, `limit`" },
  {
    method: "GET",
    path: "/api/accounts/:account",
    token: false,
    answers: "an account with its days and its statement; `before`, `limit`",
  },
  {
    method: "GET",
    path: "/api/meters",
    token: false,
    answers: "the meters with signer, newest reading, and what the adapter says of their readers",
  },
  {
    method: "GET",
    path: "/api/requests",
    token: false,
    answers: "the market's requests with their order and delivery, and the node's run; `before`, `limit`",
  },
  {
    method: "GET",
    path: "/api/bill",
    token: false,
    answers:
      "an account's bill with its evidence; `account`, `from`, `to` (lots), `format` (json, csv, greenbutton, html)",
  },
  { method: "GET", path: "/api/events", token: false, answers: "server-sent events: which feeders have changed" },
  {
    method: "GET",
    path: "/api/demo",
    token: false,
    answers: "the demo's switches, where `npm start` runs; 404 elsewhere",
  },
  { method: "POST", path: "/api/demo", token: false, answers: "throws one of them; only from the page itself" },
];
