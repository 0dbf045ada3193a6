import type { Endpoint } from "@bijuli/protocol";

/** What the node answers over HTTP; shapes stand in README.md. */
export const NODE_ENDPOINTS: readonly Endpoint[] = [
  { method: "GET", path: "/health", token: false, answers: "problems and checks; 503 while there is a problem" },
  { method: "GET", path: "/ready", token: false, answers: "200 once it takes requests" },
  { method: "GET", path: "/metrics", token: false, answers: "Prometheus' metrics" },
  { method: "GET", path: "/", token: true, answers: "the page" },
  { method: "GET", path: "/jobs", token: true, answers: "the job specs that run" },
  {
    method: "GET",
    path: "/runs",
    token: true,
    answers: "the newest runs first; `?state=&job=&before=&limit=`",
  },
  { method: "GET", path: "/runs/:id", token: true, answers: "all that is known of a run" },
  { method: "POST", path: "/runs/:id/again", token: true, answers: "runs it again, on the record" },
  { method: "POST", path: "/replay/:block", token: true, answers: "reads the chain's logs again from that block on" },
  { method: "GET", path: "/transactions", token: true, answers: "the newest transactions; `?limit=`" },
  { method: "GET", path: "/queue", token: true, answers: "how many jobs wait, run, are delayed or failed" },
  { method: "GET", path: "/board", token: true, answers: "BullMQ's board" },
];
