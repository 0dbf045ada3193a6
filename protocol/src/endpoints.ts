/** One line of a process' HTTP surface: what its docs list, and its tests ask for. */
export interface Endpoint {
  method: "GET" | "POST" | "PATCH";
  /** As in Express: `:name` stands for one segment. */
  path: string;
  /** Whether it asks for the process' bearer token, where one is set. */
  token: boolean;
  /** What it answers, in words; shapes stand in the part's README. */
  answers: string;
}

/** Endpoints as a Markdown table, for the docs. */
export function endpointsTable(endpoints: readonly Endpoint[]): string {
  const rows = endpoints.map(
    ({ method, path, token, answers }) => `| ${method} | \`${path}\` | ${token ? "yes" : "no"} | ${answers} |`,
  );
  return ["| method | path | token | answers |", "|---|---|---|---|", ...rows].join("\n");
}
