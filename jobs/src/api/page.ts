import type { Job } from "../spec/job.ts";

interface PageData {
  problems: string[];
  checks: Record<string, unknown>;
  jobs: readonly Job[];
  runs: readonly Record<string, unknown>[];
  counts: readonly { state: string; count: number }[];
}

/** One page that tells an operator how the node is and what its last runs came to. */
export function statusPage({ problems, checks, jobs, runs, counts }: PageData): string {
  const rows = runs
    .map(
      (run) =>
        `<tr class="${text(run.state)}"><td><a href="/runs/${text(run.id)}">${text(run.id).slice(0, 8)}</a></td><td>${text(run.state)}</td><td>${text(
          run.blockNumber,
        )}</td><td>${text(run.group).slice(0, 24)}</td><td>${text(run.attempts)}</td><td>${text(run.cause ?? "")}</td></tr>`,
    )
    .join("\n");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>Oracle node</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #8884; padding: .2rem .5rem; text-align: left }
.bad { color: #b00020 } .delivered td:nth-child(2) { color: #137333 } pre { overflow: auto }
</style>
<h1>Oracle node</h1>
<p>${problems.length === 0 ? "All is well." : `<ul class="bad">${problems.map((problem) => `<li>${text(problem)}</li>`).join("")}</ul>`}</p>
<p>${counts.map(({ state, count }) => `${text(state)}: ${count}`).join(" · ")}</p>
<p>Jobs: ${jobs.map((job) => `${text(job.name)} (${text(job.externalJobId)}, ${job.ordering.mode})`).join(", ")} ·
<a href="/board">queue</a> · <a href="/metrics">metrics</a> · <a href="/health">health</a> · <a href="/transactions">transactions</a></p>
<table><tr><th>run</th><th>state</th><th>block</th><th>group</th><th>attempts</th><th>cause</th></tr>
${rows}
</table>
<pre>${text(JSON.stringify(checks, null, 2))}</pre>
</html>
`;
}

function text(value: unknown): string {
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
