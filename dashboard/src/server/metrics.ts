import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Follower } from "./follower.ts";
import type { Store } from "./store.ts";

/** What /metrics says. */
export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<"route" | "status">;

  constructor(follower: Follower, store: Store, viewers: () => number) {
    collectDefaultMetrics({ register: this.registry });
    const registers = [this.registry];
    this.#requests = new Counter({
      name: "bijuli_dashboard_requests_total",
      help: "Answers by route and status",
      labelNames: ["route", "status"],
      registers,
    });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name: `bijuli_dashboard_${name}`,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge("head_block", "The chain's newest block", () => follower.head?.number ?? 0);
    gauge("followed_block", "The newest block whose events are shown", () => follower.followed);
    gauge("reorgs", "Reorgs that were followed since the start", () => follower.reorgs);
    gauge("logs", "Events taken in since the start", () => follower.logs);
    gauge("failing", "1 while the chain cannot be followed", () => (follower.failure === undefined ? 0 : 1));
    gauge("viewers", "Pages that listen for changes", viewers);
    gauge("lots", "Cleared lots in the store", () => Number(store.get("select sum(lots) as n from feeder")?.n ?? 0));
  }

  answered(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }
}
