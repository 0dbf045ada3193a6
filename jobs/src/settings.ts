import { defineSettings, from, type SettingValues } from "@bijuli/protocol";
import { z } from "zod";

const list = from.text.transform((value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);
const urls = (protocol: RegExp, message: string) =>
  list.pipe(z.array(z.url({ protocol, error: message })).min(1, "names no URL"));
const optional = <T extends z.ZodType<unknown, string>>(schema: T) => schema.optional();

/** The oracle node's settings, each with what it is for: they drive parsing, --help, redaction and the docs' table. */
export const nodeSettings = defineSettings({
  CHAIN_ID: { schema: from.bigint, description: "the chain's id; the node stops when the RPC serves another" },
  RPC_URL: {
    schema: urls(/^(https?|wss?)$/, "must be http(s) or ws(s) URLs between commas"),
    default: "http://127.0.0.1:8545",
    description: "JSON-RPC endpoints between commas, the preferred one first; a ws(s) one tells of new blocks as well",
    secret: true,
  },
  RPC_WS_URL: {
    schema: optional(urls(/^wss?$/, "must be ws(s) URLs between commas")),
    description: "WebSocket endpoints that only tell of new blocks, sooner than polling",
    secret: true,
  },
  JOBS_DIR: { schema: from.optionalText, description: "folder whose *.toml files are the job specs" },
  JOBS: { schema: optional(list), description: "job spec files between commas" },
  BRIDGES: {
    schema: from.json(z.record(z.string(), z.url({ protocol: /^https?$/ }))),
    default: "{}",
    description: 'external adapters by bridge name: {"bijuli":"http://127.0.0.1:8080"}',
  },
  BRIDGE_RESPONSE_URL: {
    schema: optional(from.url),
    description: "this node's address as adapters see it: where async bridges' answers are sent",
  },
  NODE_KEY: {
    schema: optional(list.pipe(z.array(z.string().regex(/^0x[0-9a-fA-F]{64}$/, "must be private keys")).min(1))),
    description: "private keys that send, 0x…, between commas",
    secret: true,
  },
  NODE_KEY_FILE: { schema: from.optionalText, description: "file with those keys, one a line, instead of NODE_KEY" },
  KEYSTORE: {
    schema: from.optionalText,
    description: "folder of encrypted keys (`node keys create`), instead of NODE_KEY",
  },
  KEYSTORE_PASSWORD_FILE: {
    schema: from.optionalText,
    description: "file whose first line is the keystore's password",
  },
  FORWARDER: { schema: optional(from.address), description: "AuthorizedForwarder through which transactions are sent" },
  QUEUE_URL: {
    schema: from.optionalText,
    description:
      "BullMQ's queue: nothing or a folder (embedded PostgreSQL), redis://… (also redis+sentinel://h1,h2/name and redis+cluster://h1,h2), or postgres://…",
    secret: true,
  },
  QUEUE_NAME: {
    schema: optional(from.text.regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1–64 letters, digits, - and _")),
    description: "the queue's name, where networks that are not one share a Redis; runs-<chain id> when left out",
  },
  DATABASE_URL: {
    schema: from.optionalText,
    description: "postgres://… for runs and transactions, instead of the embedded one",
    secret: true,
  },
  DATA_DIR: { schema: from.text, default: ".bijuli/node", description: "folder of the embedded PostgreSQL" },
  MARKET_ADDRESS: {
    schema: optional(from.address),
    description: "the EnergyMarket whose lots are opened and healed by submit",
  },
  OPEN_FEEDERS: {
    schema: z
      .undefined()
      .or(z.literal("all"))
      .or(z.literal("none"))
      .or(
        from.json(
          z.array(
            z.strictObject({
              feeder: z.string().regex(/^0x[0-9a-fA-F]{64}$/),
              until: z.string().regex(/^\d+$/).optional(),
            }),
          ),
        ),
      ),
    description:
      'feeders whose lots are opened: all, none, or [{"feeder":"0x…","until"?:"lot"}]; all when there is a market',
  },
  HEAL_SILENT: {
    schema: from.choice(["off", "feeder", "node", "submit"]),
    default: "feeder",
    description:
      "what is done about a request of the market that no operator serves: it is repeated while the feeder pays (feeder), also with this node's LINK (node), its records are submitted at this node's gas (submit), or nothing (off)",
  },
  HEAL_AFTER_SECONDS: {
    schema: from.integer(0, 31_536_000),
    default: "60",
    description: "real seconds that a request is given before that, besides the feeder's own terms",
  },
  HEAL_JOB: {
    schema: from.optionalText,
    description: "name or externalJobID of the job that fetches records to submit; the only one when left out",
  },
  START_BLOCK: {
    schema: optional(from.integer(0, 2 ** 48)),
    description: "first block to read when nothing is stored; the head then",
  },
  MIN_CONTRACT_PAYMENT_JUELS: {
    schema: from.bigint,
    default: "0",
    description: "least LINK payment of a request, unless its job says",
  },
  MIN_INCOMING_CONFIRMATIONS: {
    schema: from.integer(0, 1000),
    default: "1",
    description: "blocks, its own included, that hold a request before it runs, unless its job says",
  },
  MIN_OUTGOING_CONFIRMATIONS: {
    schema: from.integer(0, 1000),
    default: "1",
    description:
      "blocks, its own included, that hold a delivery before its run is at an end, unless its ethtx task says",
  },
  CLOCK_TOLERANCE_SECONDS: {
    schema: from.integer(0, 86_400),
    default: "300",
    description: "real seconds that a new block's time may be off this machine's clock; 0: not looked at",
  },
  REORG_DEPTH: {
    schema: from.integer(1, 10_000),
    default: "64",
    description: "blocks that a reorg may take back; read again after a start",
  },
  POLL_INTERVAL_MS: {
    schema: from.integer(10, 60_000),
    default: "1000",
    description: "how often the RPC is asked for a new block",
  },
  RPC_TIMEOUT_MS: {
    schema: from.integer(100, 600_000),
    default: "10000",
    description: "how long an RPC may take to answer",
  },
  LOG_RANGE: { schema: from.integer(1, 100_000), default: "1000", description: "blocks of one eth_getLogs at most" },
  GAS_LIMIT: {
    schema: from.integer(21_000, 2 ** 32),
    default: "500000",
    description: "gas of a callback whose spec names none",
  },
  MAX_GAS_LIMIT: {
    schema: from.integer(21_000, 2 ** 32),
    default: "16000000",
    description: "most gas that a transaction is given",
  },
  TIP_WEI: { schema: from.bigint, default: "1000000000", description: "priority fee per gas" },
  MAX_FEE_WEI: { schema: from.bigint, default: "500000000000", description: "most that is bid per gas" },
  BUMP_AFTER_BLOCKS: {
    schema: from.integer(1, 1000),
    default: "3",
    description: "blocks after which a waiting transaction is bid higher",
  },
  BUMP_PERCENT: { schema: from.integer(10, 500), default: "20", description: "how much higher" },
  MAX_IN_FLIGHT: {
    schema: from.integer(1, 10_000),
    default: "64",
    description: "transactions of one key that may wait for a block",
  },
  MIN_BALANCE_WEI: {
    schema: from.bigint,
    default: "10000000000000000",
    description: "ether of a key below which /health fails",
  },
  JOB_CONCURRENCY: {
    schema: from.integer(1, 10_000),
    default: "256",
    description: "pipelines that run at the same time",
  },
  HTTP_TIMEOUT_MS: {
    schema: from.integer(10, 3_600_000),
    default: "15000",
    description: "how long a bridge or http task may take",
  },
  HTTP_MAX_BYTES: {
    schema: from.integer(1, 2 ** 30),
    default: "32768",
    description: "size of an answer that is still taken",
  },
  HTTP_ALLOW_UNRESTRICTED: {
    schema: from.flag,
    default: "false",
    description: "let http tasks reach inner addresses that a request names",
  },
  RETRY_MIN_MS: {
    schema: from.integer(1, 3_600_000),
    default: "200",
    description: "wait before a failed run is tried again, doubled each time",
  },
  RETRY_MAX_MS: { schema: from.integer(1, 86_400_000), default: "5000", description: "longest wait between attempts" },
  RETRY_FOR_SECONDS: {
    schema: from.integer(1, 31_536_000),
    default: "604800",
    description: "how long a failing run is retried by itself",
  },
  RETENTION_DAYS: { schema: from.integer(1, 36_500), default: "30", description: "how long finished runs are kept" },
  NODE_HOST: { schema: from.text, default: "127.0.0.1", description: "address of the status page and API" },
  NODE_PORT: { schema: from.port, default: "6688", description: "their port; 0: any" },
  PAGE_URL: {
    schema: optional(from.url),
    description:
      "address of the web page's process: / and every GET path that is not the node's own are passed on to it",
  },
  API_TOKEN: {
    schema: from.optionalText,
    description: "bearer token of the API and the board; a must beyond loopback",
    secret: true,
  },
  BIJULI_CLOCK: {
    schema: from.optionalText,
    description: "virtual clock file; the node follows the chain's time and only holds it against this clock",
  },
  LOG_LEVEL: {
    schema: from.choice(["fatal", "error", "warn", "info", "debug", "trace", "silent"]),
    default: "info",
    description: "log level",
  },
});

export type NodeSettings = SettingValues<typeof nodeSettings>;
