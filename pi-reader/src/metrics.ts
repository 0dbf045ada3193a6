import type { Registry } from "prom-client";
import { microToNumber } from "./decimal.ts";
import type { Meter } from "./meter.ts";

/** Counts requests by route and status, and tells Prometheus about the meter. */
export class Metrics {
  readonly #meter: Meter;
  readonly #requests = new Map<string, { route: string; status: string; count: number }>();
  #registry: Promise<Registry> | undefined;
  closeFailures = 0;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  countRequest(route: string, status: number): void {
    const key = `${route} ${status}`;
    const entry = this.#requests.get(key) ?? { route, status: String(status), count: 0 };
    entry.count++;
    this.#requests.set(key, entry);
  }

  /** Prometheus' text and its content type. */
  async exposition(): Promise<{ text: string; contentType: string }> {
    this.#registry ??= this.#register();
    const registry = await this.#registry;
    return { text: await registry.metrics(), contentType: registry.contentType };
  }

  /** prom-client is loaded by the first scrape: a meter that nobody scrapes starts without it. */
  async #register(): Promise<Registry> {
    const { Registry, Gauge, Counter, collectDefaultMetrics } = await import("prom-client");
    const registry = new Registry();
    registry.setDefaultLabels({ serial: this.#meter.serial });
    collectDefaultMetrics({ register: registry });
    const gauge = (name: string, help: string, value: () => number | undefined | Promise<number>) =>
      new Gauge({
        name: `bijuli_reader_${name}`,
        help,
        registers: [registry],
        async collect() {
          const now = await value();
          if (now === undefined) this.remove();
          else this.set(now);
        },
      });
    const meter = this.#meter;
    gauge("forward_units", "Forward register, Units of 0.36 J", async () => Number((await meter.now()).forward));
    gauge("reverse_units", "Reverse register, Units of 0.36 J", async () => Number((await meter.now()).reverse));
    gauge("power_watts", "Present power", () => {
      const live = meter.source.live();
      return live && microToNumber(live.power);
    });
    gauge("newest_lot", "Newest closed lot", () =>
      meter.newestLot === undefined ? undefined : Number(meter.newestLot),
    );
    gauge("newest_lot_quality", "Quality bits of the newest closed lot", () => newestLot(meter)?.quality);
    gauge("newest_lot_covered_seconds", "How much of the newest closed lot was measured", () => {
      const lot = newestLot(meter);
      return lot && lot.coveredMs / 1000;
    });
    gauge("source_ok", "1 while the source is well", () => (meter.source.health().status === "ok" ? 1 : 0));
    gauge("close_failures", "Closings that failed since the start", () => this.closeFailures);
    for (const name of Object.keys(meter.source.counters?.() ?? {})) {
      gauge(`source_${name}`, `The source's ${name.replaceAll("_", " ")}`, () => meter.source.counters?.()[name]);
    }
    const requests = this.#requests;
    new Counter({
      name: "bijuli_reader_http_requests_total",
      help: "HTTP requests by route and status",
      labelNames: ["route", "status"],
      registers: [registry],
      collect() {
        this.reset();
        for (const { route, status, count } of requests.values()) this.inc({ route, status }, count);
      },
    });
    return registry;
  }
}

function newestLot(meter: Meter) {
  return meter.newestLot === undefined ? undefined : meter.lots(meter.newestLot, meter.newestLot)[0];
}
