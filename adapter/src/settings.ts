import { isIP } from "node:net";
import { defineSettings, from, SettingsError, type SettingValues } from "@bijuli/protocol";
import { HEADER_SAFE } from "./meters.ts";

const optional = <S extends { optional(): unknown }>(schema: S) => schema.optional() as ReturnType<S["optional"]>;
const base64 = from.text
  .regex(/^[A-Za-z0-9+/=\s]+$/, "must be Base64")
  .transform((text) => Buffer.from(text, "base64"));

/**
 * Everything an operator can set, by the names of Chainlink's adapter framework where it has one
 * (smartcontractkit/ea-framework-js, src/config/index.ts). This one map drives parsing, redaction, /status, --help and
 * the docs' table. Times in ms run in real time; those in seconds follow the network's clock (BIJULI_CLOCK).
 */
export const ADAPTER_SETTINGS = defineSettings({
  EA_PORT: { schema: from.port, default: "8080", description: "port for requests; 0 takes a free one" },
  EA_HOST: {
    schema: from.text,
    default: "127.0.0.1",
    description: "address to listen on; beyond loopback EA_TOKEN or MTLS_ENABLED is needed",
  },
  BASE_URL: { schema: from.text, default: "/", description: "path under which the adapter answers" },
  READERS: {
    schema: from.optionalText,
    secret: true,
    description: 'the meters, as JSON: [{"serial", "url"?, "token"?, "signer"?}]; one without url pushes its readings',
  },
  READERS_FILE: { schema: from.optionalText, description: "a file that holds the same JSON, instead of READERS" },
  CHAIN_ID: { schema: from.bigint, description: "chain of the MeterRegistry, part of what meters sign" },
  REGISTRY_ADDRESS: { schema: from.address, description: "the MeterRegistry, part of what meters sign" },
  RPC_URL: {
    schema: optional(from.url),
    secret: true,
    description: "JSON-RPC of the chain: the registry there then tells each meter's signer, rotations included",
  },
  LOT_SECONDS: { schema: from.integer(1, 4_294_967_295), default: "300", description: "length of a lot" },
  GRACE_SECONDS: {
    schema: from.integer(0, 31_536_000),
    default: "120",
    description: "seconds after a lot's end from which a consumer's missing reading no longer holds up its page",
  },
  STALE_SECONDS: {
    schema: from.integer(1, 31_536_000),
    default: "900",
    description: "age of a meter's newest reading, from its lot's end, beyond which the meter counts as stale",
  },
  READY_FRESH_PERCENT: {
    schema: from.integer(0, 100),
    default: "50",
    description: "share of the meters that must be fresh for /ready to say 200",
  },
  BIJULI_CLOCK: { schema: from.optionalText, description: "file of the network's virtual clock; none is real time" },
  API_TIMEOUT: {
    schema: from.integer(10, 60_000),
    default: "5000",
    description: "ms that a reader has for a reading, all its answers together, and the chain for its answer",
  },
  CACHE_TYPE: {
    schema: from.choice(["local", "redis"]),
    default: "local",
    description: "redis: share readings with other adapters over CACHE_REDIS_URL, in front of it the local cache",
  },
  CACHE_REDIS_URL: {
    schema: optional(from.text.regex(/^rediss?:\/\//, "must be a redis:// or rediss:// URL")),
    secret: true,
    description: "the shared cache",
  },
  CACHE_REDIS_TIMEOUT: {
    schema: from.integer(10, 10_000),
    default: "500",
    description: "ms after which a request goes on without the shared cache",
  },
  CACHE_PREFIX: { schema: from.text, default: "bijuli:", description: "prefix of keys in the shared cache" },
  CACHE_MAX_AGE: {
    schema: from.integer(1000, 2_678_400_000),
    default: "172800000",
    description: "ms for which verified readings are kept, served and compared with later ones",
  },
  CACHE_MAX_ITEMS: {
    schema: from.integer(1, 50_000_000),
    default: "500000",
    description: "readings kept at most, a run counting once for each 16 lots begun; the oldest go first",
  },
  POLL_ENABLED: { schema: from.flag, default: "true", description: "read every meter shortly after each lot's end" },
  POLL_DELAY: {
    schema: from.integer(0, 60_000),
    default: "300",
    description: "ms after a lot's end before its readings are asked for; at most a tenth of a lot",
  },
  POLL_JITTER: {
    schema: from.integer(0, 600_000),
    default: "2000",
    description: "ms over which a lot's polls are spread at random; at most a fifth of a lot",
  },
  POLL_CONCURRENCY: {
    schema: from.integer(1, 1024),
    default: "64",
    description: "polls under way at once: a poll of all takes at least meters × a reader's answer time / this",
  },
  VERIFY_THREADS: {
    schema: optional(from.integer(0, 64)),
    description:
      "threads that verify signatures (0.4 ms each); by default none up to 10,000 meters, above them one for each core but one",
  },
  BACKFILL_LOTS: {
    schema: from.integer(0, 8928),
    default: "12",
    description: "lots before the newest that are read unasked when a meter was away for a while, the newest first",
  },
  DATA_DIR: {
    schema: from.optionalText,
    description:
      "folder in which each meter's newest reading and all evidence outlast a restart; one adapter each. Without it a restart forgets what meters said before",
  },
  EVIDENCE_FILE: {
    schema: from.optionalText,
    description: "file to which readings that contradict each other are appended, a JSON line a pair",
  },
  MAX_PAYLOAD_SIZE_LIMIT: {
    schema: from.integer(1024, 1_073_741_824),
    default: "1048576",
    description: "bytes of a request's body at most",
  },
  RESPONSE_SIZE_LIMIT: {
    schema: from.integer(1024, 16_777_216),
    default: "32768",
    description: "bytes of an answer at most: a Chainlink node accepts 32768 (JobPipeline.HTTPRequest.MaxSize)",
  },
  MAX_CONCURRENT_REQUESTS: {
    schema: from.integer(1, 1_000_000),
    default: "1000",
    description: "job requests under way at once, and as many pushes; one more gets 503",
  },
  REQUESTS_PER_SECOND: {
    schema: from.integer(0, 1_000_000),
    default: "0",
    description: "job requests a second from one address, with as many at once; 0 is no limit",
  },
  PUSHES_PER_SECOND: {
    schema: from.integer(0, 1_000_000),
    default: "20",
    description: "pushed readings a second from one address (verifying one takes 0.4 ms); 0 is no limit",
  },
  EA_TOKEN: {
    schema: from.optionalText,
    secret: true,
    description: "bearer token that requests must carry; /health, /ready and pushes need none",
  },
  TLS_ENABLED: { schema: from.flag, default: "false", description: "listen with TLS" },
  MTLS_ENABLED: {
    schema: from.flag,
    default: "false",
    description: "listen with TLS and take only clients with a certificate of TLS_CA",
  },
  TLS_PRIVATE_KEY: { schema: optional(base64), secret: true, description: "the key, PEM in Base64" },
  TLS_PUBLIC_KEY: { schema: optional(base64), secret: true, description: "the certificate, PEM in Base64" },
  TLS_PASSPHRASE: { schema: from.optionalText, secret: true, description: "the key's passphrase" },
  TLS_CA: {
    schema: optional(base64),
    secret: true,
    description: "the authority of clients' certificates, PEM in Base64",
  },
  METRICS_ENABLED: { schema: from.flag, default: "true", description: "serve Prometheus metrics at /metrics" },
  METRICS_PORT: {
    schema: optional(from.port),
    description: "serve /metrics on this port instead of EA_PORT, with the same TLS and EA_TOKEN",
  },
  LOG_LEVEL: {
    schema: from.choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"]),
    default: "info",
    description: "least level that is logged, as JSON lines on stderr",
  },
});

export type AdapterSettings = SettingValues<typeof ADAPTER_SETTINGS>;

/** Hosts that only this machine reaches. */
const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/**
 * Refuses settings that contradict each other.
 * @throws SettingsError with a line for each contradiction
 */
export function checkSettings(settings: AdapterSettings): void {
  const problems: string[] = [];
  const refuse = (wrong: boolean, why: string): void => {
    if (wrong) problems.push(why);
  };
  const { TLS_ENABLED, MTLS_ENABLED, TLS_PRIVATE_KEY, TLS_PUBLIC_KEY, TLS_CA } = settings;
  refuse(
    !isLoopback(settings.EA_HOST) && settings.EA_TOKEN === undefined && !MTLS_ENABLED,
    `EA_HOST=${settings.EA_HOST} listens beyond this machine: set EA_TOKEN or MTLS_ENABLED`,
  );
  refuse(
    settings.CACHE_TYPE === "redis" && settings.CACHE_REDIS_URL === undefined,
    "CACHE_TYPE=redis needs CACHE_REDIS_URL",
  );
  refuse(TLS_ENABLED && MTLS_ENABLED, "TLS_ENABLED and MTLS_ENABLED: set one of them");
  refuse(
    (TLS_ENABLED || MTLS_ENABLED) && (TLS_PRIVATE_KEY === undefined || TLS_PUBLIC_KEY === undefined),
    "TLS_PRIVATE_KEY and TLS_PUBLIC_KEY are needed for TLS",
  );
  refuse(MTLS_ENABLED && TLS_CA === undefined, "TLS_CA is needed for MTLS_ENABLED");
  refuse(
    !/^(\/[\w.~-]+)*\/?$/.test(settings.BASE_URL) || !settings.BASE_URL.startsWith("/"),
    `BASE_URL=${settings.BASE_URL} must start with / and hold letters, digits, ".", "_", "~", "-" and single / only`,
  );
  refuse(
    settings.EA_TOKEN !== undefined && !HEADER_SAFE.test(settings.EA_TOKEN),
    "EA_TOKEN must be visible ASCII characters, without spaces: no request could carry it in its header",
  );
  refuse(
    settings.METRICS_PORT === settings.EA_PORT && settings.EA_PORT !== 0,
    `METRICS_PORT=${settings.METRICS_PORT} is EA_PORT: leave it out to serve /metrics there`,
  );
  const lotMs = settings.LOT_SECONDS * 1000;
  // A network with a clock of its own may run a thousand times as fast: its lots say nothing of real timers.
  if (settings.BIJULI_CLOCK === undefined) {
    refuse(
      settings.POLL_ENABLED && settings.POLL_DELAY + settings.POLL_JITTER >= lotMs,
      `POLL_DELAY + POLL_JITTER = ${settings.POLL_DELAY + settings.POLL_JITTER} ms must end within a lot of ${lotMs} ms`,
    );
    refuse(
      settings.API_TIMEOUT >= lotMs,
      `API_TIMEOUT=${settings.API_TIMEOUT} ms waits for a reader beyond the next lot of ${lotMs} ms`,
    );
    refuse(
      settings.CACHE_MAX_AGE < lotMs + settings.GRACE_SECONDS * 1000,
      `CACHE_MAX_AGE=${settings.CACHE_MAX_AGE} ms would forget a reading before its lot's grace time is over (${lotMs + settings.GRACE_SECONDS * 1000} ms)`,
    );
  }
  refuse(
    settings.STALE_SECONDS <= settings.LOT_SECONDS,
    `STALE_SECONDS=${settings.STALE_SECONDS} makes every meter stale before its next lot of ${settings.LOT_SECONDS} s is over`,
  );
  if (problems.length > 0) throw new SettingsError(problems);
}
