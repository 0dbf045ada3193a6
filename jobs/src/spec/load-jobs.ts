import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { BijuliError } from "@bijuli/protocol";
import type { NodeSettings } from "../settings.ts";
import { type Job, parseJob } from "./job.ts";
import { SpecError } from "./problem.ts";

/**
 * Reads the job specs that the settings name.
 * @throws BijuliError with file, line and field
 */
export function loadJobs(settings: Pick<NodeSettings, "JOBS" | "JOBS_DIR" | "CHAIN_ID">): Job[] {
  const files = [...(settings.JOBS ?? [])];
  if (settings.JOBS_DIR !== undefined) {
    try {
      const found = readdirSync(settings.JOBS_DIR).filter((name) => name.endsWith(".toml"));
      files.push(...found.sort().map((name) => join(settings.JOBS_DIR!, name)));
    } catch (cause) {
      throw new BijuliError("bad-jobs", `JOBS_DIR: the folder ${settings.JOBS_DIR} cannot be read`, { cause });
    }
  }
  if (files.length === 0)
    throw new BijuliError("bad-jobs", "there is no job to run", { remedy: "set JOBS_DIR or JOBS" });
  const jobs = files.map((file) => {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (cause) {
      throw new BijuliError("bad-jobs", `the job spec ${file} cannot be read`, { cause });
    }
    try {
      const job = parseJob(text, basename(file));
      if (job.evmChainId !== undefined && job.evmChainId !== settings.CHAIN_ID) {
        const line = text.split("\n").findIndex((one) => /^\s*evmChainID/.test(one)) + 1;
        throw new SpecError(
          line,
          "evmChainID",
          `is ${job.evmChainId}, but this node serves chain ${settings.CHAIN_ID}`,
        );
      }
      return job;
    } catch (error) {
      throw error instanceof SpecError ? error.inFile(file) : error;
    }
  });
  const twice = jobs.find(
    (job, index) => jobs.findIndex((other) => other.externalJobId === job.externalJobId) !== index,
  );
  if (twice !== undefined) throw new BijuliError("bad-jobs", `two jobs have the externalJobID ${twice.externalJobId}`);
  return jobs;
}
