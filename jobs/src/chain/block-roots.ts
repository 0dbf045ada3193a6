import { BijuliError } from "@bijuli/protocol";
import type { ValueMap } from "../pipeline/value.ts";
import type { Job } from "../spec/job.ts";
import type { Run } from "../state/run.ts";
import type { JsonRpc } from "./rpc.ts";

interface Roots {
  receiptsRoot: string;
  transactionsRoot: string;
  stateRoot: string;
}

const NAMED = /\$\(\s*jobRun(?:\.block(?:Receipts|Transactions|State)Root)?\s*\)/;

/**
 * What Chainlink's directrequest/delegate.go has in jobRun of the header of the request's block. The chain is asked only when
 * a task of the job names one of these, or jobRun as a whole; without an answer that task fails.
 */
export async function blockRoots(run: Run, job: Job, rpc: JsonRpc): Promise<ValueMap> {
  const named = job.pipeline.some(({ attributes }) => Object.values(attributes).some((text) => NAMED.test(text)));
  if (!named) return {};
  try {
    const block = await rpc.call<Roots | null>("eth_getBlockByHash", [run.blockHash, false]);
    if (block === null) throw new BijuliError("temporary", "it is not known");
    return {
      blockReceiptsRoot: block.receiptsRoot,
      blockTransactionsRoot: block.transactionsRoot,
      blockStateRoot: block.stateRoot,
    };
  } catch (cause) {
    const missing = new BijuliError("temporary", `block ${run.blockHash}`, { cause });
    return { blockReceiptsRoot: missing, blockTransactionsRoot: missing, blockStateRoot: missing };
  }
}
