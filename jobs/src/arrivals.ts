import { explain } from "@bijuli/protocol";
import type { Logger } from "pino";
import { topicOf } from "./chain/abi.ts";
import { marketTopic, stageRequested } from "./chain/market.ts";
import { type RequestPolicy, runOf } from "./chain/requests.ts";
import type { RpcClient } from "./chain/rpc.ts";
import type { RpcBlock, RpcLog } from "./chain/types.ts";
import type { Delivery } from "./delivery/delivery.ts";
import type { NodeMetrics } from "./metrics.ts";
import type { Job } from "./spec/job.ts";
import { FINISHED, type Run, type StageReference } from "./state/run.ts";
import type { RunStore } from "./state/run-store.ts";

/** What the market announced, for those who open and heal. */
export interface MarketNews {
  feederCreated(feeder: string): void;
  lotsOpened(feeder: string): void;
  stageRequested(log: RpcLog): void;
}

export interface ArrivalsOptions {
  rpc: RpcClient;
  store: RunStore;
  jobs: ReadonlyMap<string, Job>;
  policy: RequestPolicy;
  /** Lower case. */
  market: string | undefined;
  news: MarketNews;
  metrics: NodeMetrics;
  logger: Logger;
}

/** Topics of the logs that are read, of the Operators and the market. */
export const ARRIVAL_TOPICS: readonly string[] = [
  topicOf.oracleRequest,
  topicOf.cancelOracleRequest,
  marketTopic.stageRequested,
  marketTopic.feederCreated,
  marketTopic.lotsOpened,
];

/** Makes runs of the chain's logs: written down first, then put into their lines. */
export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #delivery: Delivery;
  readonly #bySpecId = new Map<string, Job>();

  constructor(options: ArrivalsOptions, delivery: Delivery) {
    this.#options = options;
    this.#delivery = delivery;
    for (const job of options.jobs.values()) for (const specId of job.specIds) this.#bySpecId.set(specId, job);
  }

  async take(logs: readonly RpcLog[]): Promise<void> {
    const { market, news } = this.#options;
    const stages = new Map<string, StageReference>();
    const cancelled = new Set<string>();
    const requests: { log: RpcLog; job: Job }[] = [];
    for (const log of logs) {
      const [topic] = log.topics;
      if (topic === topicOf.oracleRequest) {
        const job = this.#bySpecId.get(log.topics[1] ?? "");
        if (job !== undefined && job.contractAddress === log.address.toLowerCase()) requests.push({ log, job });
      } else if (topic === topicOf.cancelOracleRequest) cancelled.add(log.topics[1]!);
      else if (log.address.toLowerCase() !== market) continue;
      else if (topic === marketTopic.stageRequested) {
        const { requestId, stage } = stageRequested(log);
        stages.set(`${log.transactionHash} ${requestId}`, stage);
        news.stageRequested(log);
      } else if (topic === marketTopic.feederCreated) news.feederCreated(log.topics[1]!);
      else if (topic === marketTopic.lotsOpened) news.lotsOpened(log.topics[1]!);
    }
    await this.#takeIn(requests, stages);
    if (cancelled.size === 0) return;
    for (const run of this.#delivery.all()) {
      // What is sent already may still have been in time; its outcome tells.
      if (!cancelled.has(run.requestId) || run.state === "sent") continue;
      await this.#delivery.end(run.id, "cancelled", "cancelled by its requester");
    }
  }

  /** A request of the market that another node was asked for: its records are fetched here and submitted, in its place. */
  async takeOver(log: RpcLog, job: Job, stage: StageReference): Promise<void> {
    const run = runOf(log, job, this.#options.policy, stage);
    run.state = "unconfirmed";
    run.cause = undefined;
    const fresh = await this.#options.store.insert([run]);
    if (fresh.has(run.id)) this.#delivery.add([run]);
  }

  /** Marks the runs of blocks from `from` on whose block is no longer part of the chain. */
  async dropOrphans(from: number): Promise<void> {
    const { rpc, store, logger } = this.#options;
    const runs = (await store.fromBlock(Math.max(from, 0))).filter((run) => run.state !== "orphaned");
    const numbers = [...new Set(runs.map((run) => run.blockNumber))];
    const blocks = await Promise.all(
      numbers.map((number) => rpc.call<RpcBlock | null>("eth_getBlockByNumber", [`0x${number.toString(16)}`, false])),
    );
    const hashes = new Map(blocks.map((block, index) => [numbers[index]!, block?.hash]));
    const gone = runs.filter((run) => hashes.get(run.blockNumber) !== run.blockHash);
    const cause = "a reorg took its block out of the chain";
    await Promise.all(
      gone.map((run) =>
        this.#delivery.get(run.id) === undefined
          ? store.change([{ id: run.id, state: "orphaned", cause }])
          : this.#delivery.end(run.id, "orphaned", cause),
      ),
    );
    if (gone.length > 0) logger.warn({ count: gone.length }, "requests orphaned by a reorg");
  }

  async #takeIn(
    requests: readonly { log: RpcLog; job: Job }[],
    stages: ReadonlyMap<string, StageReference>,
  ): Promise<void> {
    if (requests.length === 0) return;
    const { policy, store, metrics, jobs, logger } = this.#options;
    const runs: Run[] = [];
    for (const { log, job } of requests) {
      try {
        const run = runOf(log, job, policy, undefined);
        run.stage = stages.get(`${log.transactionHash} ${run.requestId}`);
        if (run.stage !== undefined) await this.#takePlace(run);
        runs.push(run);
      } catch (error) {
        logger.error({ log, cause: explain(error) }, "an OracleRequest cannot be read: it is left out");
      }
    }
    const fresh = await store.insert(runs);
    const added = runs.filter((run) => fresh.has(run.id));
    for (const run of added) {
      const name = jobs.get(run.job)!.name;
      metrics.requests.inc({ job_name: name });
      const said = { run: run.id, request: run.requestId, job: name, group: run.group, block: run.blockNumber };
      if (run.state === "rejected") logger.warn({ ...said, cause: run.cause }, "request rejected");
      else logger.info(said, "request");
    }
    this.#delivery.add(added.filter(({ id }) => !fresh.get(id)!.again));
    // What was under way before its block went may have been done: it is tried as a call before it is paid for.
    this.#delivery.add(
      added.filter(({ id }) => fresh.get(id)!.again),
      true,
    );
  }

  /** A repeated request stands where the one that it repeats stands or stood. */
  async #takePlace(run: Run): Promise<void> {
    const before = await this.#options.store.predecessor(run.requestId, run.stage);
    if (
      before === undefined ||
      before.id === run.id ||
      before.group !== run.group ||
      before.blockHash === run.blockHash
    )
      return;
    run.placeBlock = before.placeBlock;
    run.placeLog = before.placeLog;
    if (FINISHED.includes(before.state) || before.state === "sent") return;
    // The old request is left: one delivery of the stage is enough, and it is the new one that is paid.
    await this.#delivery.end(before.id, "cancelled", `repeated by run ${run.id}`);
  }
}
