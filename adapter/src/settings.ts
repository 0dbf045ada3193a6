import { defineSettings, from, type SettingValues } from "@bijuli/protocol";

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
  LOT_SECONDS: { schema: from.integer(1, 4_294_967_295), default: "300", description: "length of a lot" },
  GRACE_SECONDS: {
    schema: from.integer(0, 31_536_000),
    default: "120",
    description: "seconds after a lot's end from which a consumer's missing reading no longer holds up its page",
  },
  BIJULI_CLOCK: { schema: from.optionalText, description: "file of the network's virtual clock; none is real time" },
  API_TIMEOUT: {
    schema: from.integer(10, 60_000),
    default: "5000",
    description: "ms that a reader has for a reading, all its answers together",
  },
  CACHE_MAX_AGE: {
    schema: from.integer(1000, 2_678_400_000),
    default: "172800000",
    description: "ms for which verified readings are kept, served and compared with later ones",
  },
  CACHE_MAX_ITEMS: {
    schema: from.integer(1, 50_000_000),
    default: "500000",
    description: "readings kept at most; the oldest go first",
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
  POLL_CONCURRENCY: { schema: from.integer(1, 1024), default: "16", description: "polls under way at once" },
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
  METRICS_ENABLED: { schema: from.flag, default: "true", description: "serve Prometheus metrics at /metrics" },
  LOG_LEVEL: {
    schema: from.choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"]),
    default: "info",
    description: "least level that is logged, as JSON lines on stderr",
  },
});

export type AdapterSettings = SettingValues<typeof ADAPTER_SETTINGS>;
