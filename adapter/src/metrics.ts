import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from "prom-client";
import type { Roster } from "./meters.ts";

/**
 * A histogram without labels that costs a request nanoseconds; prom-client's own takes a microsecond for each value,
 * which is a twentieth of all that a request takes.
 */
class PlainHistogram {
  readonly name: string;
  readonly help: string;
  readonly aggregator = "sum";
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    for (let i = 0; i < this.#bounds.length; i++) {
      if (value <= this.#bounds[i]!) {
        this.#counts[i]!++;
        break;
      }
    }
    this.#sum += value;
    this.#count++;
  }

  /** What prom-client's registry asks of a metric. */
  async get() {
    let below = 0;
    const buckets = this.#bounds.map((le, i) => {
      below += this.#counts[i]!;
      return { metricName: `${this.name}_bucket`, labels: { le }, value: below };
    });
    const values = [
      ...buckets,
      { metricName: `${this.name}_bucket`, labels: { le: "+Inf" }, value: this.#count },
      { metricName: `${this.name}_sum`, labels: {}, value: this.#sum },
      { metricName: `${this.name}_count`, labels: {}, value: this.#count },
    ];
    return { name: this.name, help: this.help, type: "histogram", values, aggregator: this.aggregator };
  }

  reset(): void {
    this.#counts.fill(0);
    this.#sum = this.#count = 0;
  }
}

/** Beyond this many meters a series for each would be the larger part of every scrape. */
const SERIES_AT_MOST = 2000;

/**
 * Prometheus metrics. Those that Chainlink's framework has carry its names (ea-framework-js, src/metrics/index.ts), so
 * that an operator's dashboards work; the bijuli_ ones are about meters.
 */
export class AdapterMetrics {
  readonly registry = new Registry();
  readonly #requests: Counter;
  readonly #duration: PlainHistogram;
  readonly #payload: PlainHistogram;
  readonly #readerCalls: Counter;
  readonly #readerDuration: Histogram;
  readonly #cacheGets: Counter;
  readonly #cacheSets: Counter;
  readonly #redis: Counter;
  readonly #refused: Counter;
  readonly #evidence: Counter;
  readonly #stateWriteFailures: Counter;
  /** Requests answered from the cache since the last scrape. */
  #hits = 0;

  constructor(options: {
    version: string;
    roster: Roster;
    nowMs: () => number;
    lotEndMs: (lot: bigint) => number;
    /** The poller's rounds so far, and how long the last one took. */
    polls: () => { rounds: number; seconds: number };
  }) {
    const registers = [this.registry];
    this.registry.setDefaultLabels({ app_name: "BIJULI", app_version: options.version });
    collectDefaultMetrics({ register: this.registry });
    const flush = (): void => {
      this.#requests.inc({ method: "POST", status_code: 200, type: "cacheHit" }, this.#hits);
      this.#cacheGets.inc(this.#hits);
      this.#hits = 0;
    };
    this.#requests = new Counter({
      name: "http_requests_total",
      help: "Requests answered, by status and by where the answer came from",
      labelNames: ["method", "status_code", "type"],
      registers,
      collect: flush,
    });
    this.#duration = this.#plain(
      "http_request_duration_seconds",
      "Time from a request's arrival to its answer",
      [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30],
    );
    this.#payload = this.#plain("request_payload_size", "Bytes of requests' bodies", [100, 500, 1000, 2000, 5000]);
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
      collect: flush,
    });
    this.#cacheSets = new Counter({
      name: "cache_data_set_count",
      help: "Verified readings put in the cache",
      registers,
    });
    let counted = 0;
    new Counter({
      name: "bg_execute_total",
      help: "Polls of all meters that were begun, one a lot",
      registers,
      collect() {
        const { rounds } = options.polls();
        this.inc(rounds - counted);
        counted = rounds;
      },
    });
    new Gauge({
      name: "bg_execute_duration_seconds",
      help: "How long the last poll of all meters took; it must stay below a lot",
      registers,
      collect() {
        this.set(options.polls().seconds);
      },
    });
    this.#redis = new Counter({
      name: "redis_commands_sent_count",
      help: "Commands sent to the shared cache",
      labelNames: ["status", "function_name"],
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
    this.#stateWriteFailures = new Counter({
      name: "bijuli_state_write_failures_total",
      help: "Times that DATA_DIR could not be written: what meters said since would be forgotten by a restart",
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
    new Gauge({
      name: "bijuli_readers_clock_off",
      help: "Readers whose clock differs from this machine's by more than a few seconds; /status names them",
      registers,
      collect() {
        this.set(options.roster.meters.filter((meter) => meter.clockSkew !== undefined).length);
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
  }

  #plain(name: string, help: string, bounds: readonly number[]): PlainHistogram {
    const histogram = new PlainHistogram(name, help, bounds);
    this.registry.registerMetric(histogram as unknown as Metric);
    return histogram;
  }

  request(status: number, cached: boolean, seconds: number, bytes: number): void {
    if (status === 200 && cached) {
      this.#hits++;
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

  redisCommand(ok: boolean, name: string): void {
    this.#redis.inc({ status: ok ? "SUCCESS" : "FAIL", function_name: name });
  }

  verified(): void {
    this.#cacheSets.inc();
  }

  refused(cause: string): void {
    this.#refused.inc({ cause });
  }

  stateWriteFailed(): void {
    this.#stateWriteFailures.inc();
  }

  contradiction(): void {
    this.#evidence.inc();
  }
}
