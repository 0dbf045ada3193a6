import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Roster } from "./meters.ts";

/** Beyond this many meters a series for each would be the larger part of every scrape. */
const SERIES_AT_MOST = 2000;

/**
 * Prometheus metrics. Those that Chainlink's framework has carry its names (ea-framework-js, src/metrics/index.ts), so
 * that an operator's dashboards work; the bijuli_ ones are about meters.
 */
export class AdapterMetrics {
  readonly registry = new Registry();
  readonly #requests: Counter;
  readonly #duration: Histogram;
  readonly #payload: Histogram;
  readonly #readerCalls: Counter;
  readonly #readerDuration: Histogram;
  readonly #cacheGets: Counter;
  readonly #cacheSets: Counter;
  readonly #refused: Counter;
  readonly #evidence: Counter;
  readonly #hit: { inc(): void };
  readonly #hot: { inc(): void };

  constructor(options: { version: string; roster: Roster; nowMs: () => number; lotEndMs: (lot: bigint) => number }) {
    const registers = [this.registry];
    this.registry.setDefaultLabels({ app_name: "BIJULI", app_version: options.version });
    collectDefaultMetrics({ register: this.registry });
    this.#requests = new Counter({
      name: "http_requests_total",
      help: "Requests answered, by status and by where the answer came from",
      labelNames: ["method", "status_code", "type"],
      registers,
    });
    this.#duration = new Histogram({
      name: "http_request_duration_seconds",
      help: "Time from a request's arrival to its answer",
      buckets: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30],
      registers,
    });
    this.#payload = new Histogram({
      name: "request_payload_size",
      help: "Bytes of requests' bodies",
      buckets: [100, 500, 1000, 2000, 5000],
      registers,
    });
    this.#readerCalls = new Counter({
      name: "data_provider_requests",
      help: "Requests made to readers; status 0 when none came",
      labelNames: ["method", "provider_status_code"],
      registers,
    });
    this.#readerDuration = new Histogram({
      name: "data_provider_request_duration_seconds",
      help: "Time that readers took to answer",
      buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30],
      registers,
    });
    this.#cacheGets = new Counter({
      name: "cache_data_get_count",
      help: "Requests answered from the cache alone",
      registers,
    });
    this.#cacheSets = new Counter({
      name: "cache_data_set_count",
      help: "Verified readings put in the cache",
      registers,
    });
    this.#refused = new Counter({
      name: "bijuli_readings_refused_total",
      help: "Readings that could not be had or were not believed, by cause",
      labelNames: ["cause"],
      registers,
    });
    this.#evidence = new Counter({
      name: "bijuli_contradictions_total",
      help: "Pairs of signed readings of one meter that contradict each other: an alarm",
      registers,
    });
    const age = (): number[] => {
      const now = options.nowMs();
      return options.roster.meters.flatMap((meter) =>
        meter.newest === undefined ? [] : (now - options.lotEndMs(meter.newest.lot)) / 1000,
      );
    };
    new Gauge({
      name: "bijuli_meters",
      help: "Meters configured, and those of which a reading was ever verified",
      labelNames: ["state"],
      registers,
      collect() {
        this.set({ state: "configured" }, options.roster.meters.length);
        this.set({ state: "read" }, options.roster.meters.filter((meter) => meter.newest !== undefined).length);
      },
    });
    new Gauge({
      name: "bijuli_newest_reading_age_seconds_max",
      help: "Age of the newest verified reading of the meter that is furthest behind",
      registers,
      collect() {
        const ages = age();
        this.set(ages.reduce((most, one) => Math.max(most, one), 0));
      },
    });
    if (options.roster.meters.length <= SERIES_AT_MOST) {
      new Gauge({
        name: "bijuli_newest_reading_age_seconds",
        help: "Age of a meter's newest verified reading, counted from its lot's end",
        labelNames: ["serial"],
        registers,
        collect() {
          const now = options.nowMs();
          for (const meter of options.roster.meters) {
            if (meter.newest !== undefined) {
              this.set({ serial: meter.serial }, (now - options.lotEndMs(meter.newest.lot)) / 1000);
            }
          }
        },
      });
    }
    this.#hot = this.#requests.labels({ method: "POST", status_code: "200", type: "cacheHit" });
    this.#hit = this.#cacheGets.labels();
  }

  request(status: number, cached: boolean, seconds: number, bytes: number): void {
    if (status === 200 && cached) {
      this.#hot.inc();
      this.#hit.inc();
    } else {
      const type = status === 200 ? "dataProviderHit" : "adapterError";
      this.#requests.inc({ method: "POST", status_code: status, type });
    }
    this.#duration.observe(seconds);
    this.#payload.observe(bytes);
  }

  readerCall(status: number, seconds: number): void {
    this.#readerCalls.inc({ method: "GET", provider_status_code: status });
    this.#readerDuration.observe(seconds);
  }

  verified(): void {
    this.#cacheSets.inc();
  }

  refused(cause: string): void {
    this.#refused.inc({ cause });
  }

  contradiction(): void {
    this.#evidence.inc();
  }
}
