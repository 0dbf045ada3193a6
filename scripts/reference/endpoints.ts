import { ADAPTER_ENDPOINTS } from "../../adapter/src/endpoints.ts";
import { DASHBOARD_ENDPOINTS } from "../../dashboard/src/server/endpoints.ts";
import { NODE_ENDPOINTS } from "../../jobs/src/api/endpoints.ts";
import { READER_ENDPOINTS } from "../../pi-reader/src/endpoints.ts";
import { endpointsTable } from "../../protocol/src/index.ts";

const parts = {
  "pi-reader": READER_ENDPOINTS,
  adapter: ADAPTER_ENDPOINTS,
  "jobs (the node)": NODE_ENDPOINTS,
  dashboard: DASHBOARD_ENDPOINTS,
};

/** Every process' HTTP surface, as the part itself lists it; test/reference.test.ts holds it against the routes in their sources. */
export function endpointsReference(): string {
  return Object.entries(parts)
    .map(([part, endpoints]) => `## ${part}\n\n${endpointsTable(endpoints)}`)
    .join("\n\n");
}
