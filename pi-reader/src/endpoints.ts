import type { Endpoint } from "@bijuli/protocol";

/** What the meter answers over HTTP; shapes stand in README.md. HEAD is answered as GET. */
export const READER_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "GET",
    path: "/identity",
    token: true,
    answers: "serial, meterId, signers, lot length, EIP-712 domain, sensor, calibration, clock, opening reading",
  },
  {
    method: "GET",
    path: "/readings/latest",
    token: true,
    answers: "the signed reading of the newest closed lot; `?lots=n` covers n of them",
  },
  {
    method: "GET",
    path: "/readings/:lot",
    token: true,
    answers: "the signed reading that ends with that lot; `?lots=n`; immutable, with ETag; 425 while the lot is open",
  },
  {
    method: "GET",
    path: "/lots",
    token: true,
    answers: "per lot energy, registers, quality, samples, coveredMs, voltage, current, power; `?from=&to=&limit=`",
  },
  { method: "GET", path: "/live", token: true, answers: "voltage, current, power, registers, the open lot's progress" },
  { method: "GET", path: "/health", token: false, answers: "which part ails; 503 when one does" },
  { method: "GET", path: "/ready", token: true, answers: "200 once it signs lots" },
  { method: "GET", path: "/metrics", token: true, answers: "Prometheus' metrics" },
];
