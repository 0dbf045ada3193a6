/** What other parts use of the oracle node: its command, and how a job spec is filled in for a network. */
export { runCommand } from "./commands.ts";
export { nodeSettings } from "./settings.ts";
export { type Job, parseJob, provisionSpec, specIdsOf } from "./spec/job.ts";
