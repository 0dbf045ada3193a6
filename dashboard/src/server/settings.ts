import { defineSettings, from } from "@bijuli/protocol";
import { z } from "zod";

/** The page's server: what it follows, what it asks besides the chain, and where it listens. */
export const dashboardSettings = defineSettings({
  RPC_URL: {
    schema: from.text.transform((text) => text.split(",").map((url) => url.trim())).pipe(z.array(from.url)),
    default: "http://127.0.0.1:8545",
    description: "JSON-RPC endpoints between commas, the preferred one first",
    secret: true,
  },
  MARKET_ADDRESS: {
    schema: from.address,
    description: "the EnergyMarket whose feeders are shown; registry and token are asked from it",
  },
  CHAIN_ID: {
    schema: from.bigint.optional(),
    description: "the chain's id; the server stops when the RPC serves another",
  },
  START_BLOCK: {
    schema: from.integer(0, 2 ** 48),
    default: "0",
    description: "first block to read: that of the deployment (blockNumber in the address book)",
  },
  REORG_DEPTH: {
    schema: from.integer(1, 10_000),
    default: "64",
    description: "blocks that a reorg may take back",
  },
  LOG_RANGE: { schema: from.integer(1, 100_000), default: "2000", description: "blocks of one eth_getLogs at most" },
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
  NODE_URL: { schema: from.url.optional(), description: "the oracle node: how its requests stand" },
  NODE_TOKEN: { schema: from.optionalText, description: "the node's API_TOKEN, where it has one", secret: true },
  ADAPTER_URL: { schema: from.url.optional(), description: "the adapter: its meters' serials and freshness" },
  ADAPTER_TOKEN: { schema: from.optionalText, description: "the adapter's EA_TOKEN, where it has one", secret: true },
  UNACCOUNTED_ALARM_BPS: {
    schema: from.integer(1, 10_000),
    default: "300",
    description: "unaccounted energy, in bps of what was available, that raises an alarm",
  },
  DASHBOARD_HOST: { schema: from.text, default: "127.0.0.1", description: "address to listen on" },
  DASHBOARD_PORT: { schema: from.port, default: "8090", description: "its port; 0: any" },
  DATA_DIR: { schema: from.text, default: ".bijuli/dashboard", description: "folder of its SQLite file" },
  BIJULI_CLOCK: {
    schema: from.optionalText,
    description: "file of a shared virtual clock; without it, the machine's time",
  },
  DEMO_URL: { schema: from.url.optional(), description: "the demo's switches (npm start sets it)" },
  DEMO_TOKEN: { schema: from.optionalText, description: "what the switches ask for", secret: true },
  LOG_LEVEL: {
    schema: from.choice(["fatal", "error", "warn", "info", "debug", "trace", "silent"]),
    default: "info",
    description: "log level",
  },
});
