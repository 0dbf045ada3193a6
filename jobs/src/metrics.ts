import { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * The node's metrics. Where a Chainlink node has one for the same thing it has the same name (core/services/pipeline,
 * chainlink-framework's txmgr and headtracker); the rest begin with bijuli_node_.
 */
export class NodeMetrics {
  readonly registry = new Registry();

  readonly taskTime = new Gauge({
    name: "pipeline_task_execution_time",
    help: "How long each pipeline task took to execute (ns)",
    labelNames: ["job_id", "job_name", "task_id", "task_type"] as const,
    registers: [this.registry],
  });
  readonly tasksFinished = new Counter({
    name: "pipeline_tasks_total_finished",
    help: "The total number of pipeline tasks which have finished",
    labelNames: ["job_id", "job_name", "task_id", "task_type", "status"] as const,
    registers: [this.registry],
  });
  readonly runErrors = new Counter({
    name: "pipeline_run_errors",
    help: "Number of errors for each pipeline spec",
    labelNames: ["job_id", "job_name"] as const,
    registers: [this.registry],
  });
  readonly runTime = new Gauge({
    name: "pipeline_run_total_time_to_completion",
    help: "How long each pipeline run took to finish, from the moment it was created (ns)",
    labelNames: ["job_id", "job_name"] as const,
    registers: [this.registry],
  });
  readonly bridgeErrors = new Counter({
    name: "bridge_errors_total",
    help: "Bridge error count scoped by name",
    labelNames: ["name"] as const,
    registers: [this.registry],
  });
  readonly bridgeLatency = new Gauge({
    name: "bridge_latency_seconds",
    help: "Bridge latency in seconds scoped by name",
    labelNames: ["name"] as const,
    registers: [this.registry],
  });
  readonly currentHead = new Gauge({
    name: "head_tracker_current_head",
    help: "The highest seen head number",
    labelNames: ["evmChainID"] as const,
    registers: [this.registry],
  });
  readonly unconfirmed = new Gauge({
    name: "unconfirmed_transactions",
    help: "Number of currently unconfirmed transactions",
    labelNames: ["evmChainID"] as const,
    registers: [this.registry],
  });
  readonly confirmed = new Counter({
    name: "tx_manager_num_confirmed_transactions",
    help: "Total number of confirmed transactions",
    labelNames: ["evmChainID", "purpose"] as const,
    registers: [this.registry],
  });
  readonly balance = new Gauge({
    name: "eth_balance",
    help: "Each Ethereum account's balance",
    labelNames: ["account", "evmChainID"] as const,
    registers: [this.registry],
  });
  readonly outcomes = new Counter({
    name: "bijuli_node_runs_finished_total",
    help: "Runs by how they ended",
    labelNames: ["job_name", "outcome"] as const,
    registers: [this.registry],
  });
  readonly requests = new Counter({
    name: "bijuli_node_requests_total",
    help: "OracleRequest logs taken in",
    labelNames: ["job_name"] as const,
    registers: [this.registry],
  });
  readonly open = new Gauge({
    name: "bijuli_node_open_runs",
    help: "Runs that are not at an end",
    registers: [this.registry],
  });
  readonly reorgs = new Counter({
    name: "bijuli_node_reorgs_total",
    help: "Reorgs seen",
    registers: [this.registry],
  });
  readonly blocksToDelivery = new Histogram({
    name: "bijuli_node_blocks_to_delivery",
    help: "Blocks from a request's to its delivery's",
    buckets: [1, 2, 3, 5, 10, 20, 50, 100, 1000],
    registers: [this.registry],
  });
}
