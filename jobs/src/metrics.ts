import { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * The node's metrics. Where a Chainlink node has one for the same thing it has the same name (core/services/pipeline,
 * chainlink-framework's txmgr and headtracker); the rest begin with bijuli_node_.
 */
export class NodeMetrics {
  readonly registry = new Registry();

  readonly taskTime = this.#gauge("pipeline_task_execution_time", "How long each pipeline task took to execute (ns)", [
    "job_id",
    "job_name",
    "task_id",
    "task_type",
  ]);
  readonly tasksFinished = this.#counter(
    "pipeline_tasks_total_finished",
    "The total number of pipeline tasks which have finished",
    ["job_id", "job_name", "task_id", "task_type", "status"],
  );
  readonly runErrors = this.#counter("pipeline_run_errors", "Number of errors for each pipeline spec", [
    "job_id",
    "job_name",
  ]);
  readonly runTime = this.#gauge(
    "pipeline_run_total_time_to_completion",
    "How long each pipeline run took to finish, from the moment it was created (ns)",
    ["job_id", "job_name"],
  );
  readonly bridgeErrors = this.#counter("bridge_errors_total", "Bridge error count scoped by name", ["name"]);
  readonly bridgeLatency = this.#gauge("bridge_latency_seconds", "Bridge latency in seconds scoped by name", ["name"]);
  readonly currentHead = this.#gauge("head_tracker_current_head", "The highest seen head number", ["evmChainID"]);
  readonly unconfirmed = this.#gauge("unconfirmed_transactions", "Number of currently unconfirmed transactions", [
    "evmChainID",
  ]);
  readonly confirmed = this.#counter(
    "tx_manager_num_confirmed_transactions",
    "Total number of confirmed transactions",
    ["evmChainID", "purpose"],
  );
  readonly balance = this.#gauge("eth_balance", "Each Ethereum account's balance", ["account", "evmChainID"]);
  readonly outcomes = this.#counter("bijuli_node_runs_finished_total", "Runs by how they ended", [
    "job_name",
    "outcome",
  ]);
  readonly requests = this.#counter("bijuli_node_requests_total", "OracleRequest logs taken in", ["job_name"]);
  readonly open = this.#gauge("bijuli_node_open_runs", "Runs that are not at an end", []);
  readonly reorgs = this.#counter("bijuli_node_reorgs_total", "Reorgs seen", []);
  readonly blocksToDelivery = this.#histogram(
    "bijuli_node_blocks_to_delivery",
    "Blocks from a request's to its delivery's",
    [],
    [1, 2, 3, 5, 10, 20, 50, 100, 1000],
  );

  #counter<const L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge<const L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram<const L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets: number[],
  ): Histogram<L> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.registry] });
  }
}
