/** The node's HTTP surface: what its docs list, and its tests ask for. `token`: wants API_TOKEN, where one is set. */
export const NODE_ENDPOINTS = [
  {
    method: "GET",
    path: "/health",
    token: false,
    answers: "200, or 503 with everything that is wrong; and the checks",
  },
  {
    method: "GET",
    path: "/ready",
    token: false,
    answers: "200 once the node takes part, 503 before and while it stops",
  },
  {
    method: "GET",
    path: "/metrics",
    token: false,
    answers: "Prometheus' text, with a Chainlink node's names where it has them",
  },
  {
    method: "PATCH",
    path: "/v2/resume/:id",
    token: false,
    answers:
      'takes an async bridge\'s answer, {"value": …} or {"error": "…"}; the id is the secret, as on a Chainlink node',
  },
  { method: "GET", path: "/", token: true, answers: "the page behind PAGE_URL, else the status page" },
  { method: "GET", path: "/status", token: true, answers: "the status page: what is wrong, and the last runs" },
  { method: "GET", path: "/jobs", token: true, answers: "the jobs with their ids, order and tasks" },
  {
    method: "GET",
    path: "/runs",
    token: true,
    answers:
      "runs, newest first; ?state= ?job= ?group= ?feeder= ?limit= (50, at most 999) ?before=; the Link header names the next page",
  },
  {
    method: "GET",
    path: "/runs/:id",
    token: true,
    answers: "one run with its causes, its tasks' outputs and its transactions",
  },
  {
    method: "POST",
    path: "/runs/:id/again",
    token: true,
    answers: "202: an ended run is run again, a waiting one now",
  },
  { method: "POST", path: "/replay/:block", token: true, answers: "202: blocks from there on are read again" },
  { method: "GET", path: "/transactions", token: true, answers: "transactions, newest first; ?limit=" },
  { method: "GET", path: "/queue", token: true, answers: "how many jobs wait, run and rest in the queue" },
  { method: "GET", path: "/board", token: true, answers: "BullMQ's board" },
] as const;
