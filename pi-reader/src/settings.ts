import { defineSettings, from, meterIdOf } from "@bijuli/protocol";
import { z } from "zod";

/** All that the reader reads from its environment. */
export const readerSettings = defineSettings({
  READER_SERIAL: {
    schema: from.text.superRefine((serial, context) => {
      try {
        meterIdOf(serial);
      } catch (error) {
        context.addIssue({ code: "custom", message: (error as Error).message });
      }
    }),
    description: "the meter's serial, 1–64 bytes; on chain it is known by its hash",
  },
  READER_KEY: {
    schema: from.privateKey.optional(),
    description: "the private key that signs: 0x and 64 hex digits; or use READER_KEY_FILE",
    secret: true,
  },
  READER_KEY_FILE: {
    schema: from.optionalText,
    description: "a file with the private key or a keystore, as keygen writes it",
  },
  READER_KEY_PASSWORD_FILE: {
    schema: from.optionalText,
    description:
      "file with the keystore's password, where READER_KEY_FILE is one; or systemd's credential reader-key-password",
  },
  READER_NEXT_KEY_FILE: {
    schema: from.optionalText,
    description: "the key that takes over at READER_NEXT_FROM_LOT, as READER_KEY_FILE; the registry must know of it",
  },
  READER_NEXT_FROM_LOT: {
    schema: from.bigint.optional(),
    description: "the first lot that READER_NEXT_KEY_FILE signs, as the registry was told",
  },
  READER_STORE: { schema: from.text, description: "path of the SQLite store; it must outlive the process" },
  READER_SOURCE: {
    schema: from.text,
    description:
      "what measures: ina219:{…}, ina226:{…}, ina228:{…}, ads1115:{…}, modbus:{…}, replay:FILE.csv or simulate:{…}",
  },
  READER_HOST: {
    schema: from.text,
    default: "127.0.0.1",
    description: "address to listen on; beyond loopback only with READER_TOKEN",
  },
  READER_PORT: { schema: from.port, default: "8420", description: "port to listen on; 0 takes a free one" },
  READER_TOKEN: {
    schema: from.optionalText,
    description: "bearer token that every request but /health must carry",
    secret: true,
  },
  CHAIN_ID: { schema: from.bigint, description: "chain of the registry: part of what is signed" },
  REGISTRY_ADDRESS: { schema: from.address, description: "the MeterRegistry's address: part of what is signed" },
  LOT_SECONDS: {
    schema: from.integer(1, 86_400),
    default: "300",
    description: "length of a lot in seconds, as the registry has it",
  },
  READER_SAMPLE_MS: {
    schema: from.integer(1, 60_000),
    default: "1000",
    description: "milliseconds between two looks at a sensor",
  },
  READER_GAP_LIMIT_MS: {
    schema: from.integer(20, 600_000),
    default: "5000",
    description:
      "two samples further apart than this are not joined: the time between is a gap; at least twice READER_SAMPLE_MS",
  },
  READER_CHECKPOINT_SECONDS: {
    schema: from.integer(1, 300),
    default: "10",
    description: "how often the open lot is saved: the most that a power cut can lose",
  },
  READER_COUNTER_TOLERANCE_BPS: {
    schema: from.integer(1, 10_000),
    default: "200",
    description: "how far a sensor's own counter may be from what is integrated, in hundredths of a percent",
  },
  READER_RETAIN_DAYS: {
    schema: from.integer(32, 36_500).optional(),
    description: "days of lots that the store keeps, once READER_ARCHIVE has the older ones; without it, all",
  },
  READER_ARCHIVE: {
    schema: from.optionalText,
    description: "folder for the exports of the lots that the store no longer keeps",
  },
  READER_CALIBRATION: {
    schema: from.optionalText,
    description: "file with the calibration of a chip; a Modbus meter has its own",
  },
  READER_CLOCK_SYNC: {
    schema: from.choice(["auto", "always"]),
    default: "auto",
    description: "auto asks systemd whether the clock is synchronised; always believes the machine's clock",
  },
  READER_ADAPTER_URL: {
    schema: from.url.optional(),
    description:
      "the meter's adapter: asked at the start which lot it knows, so that an old copy of the store is not used",
  },
  READER_ADAPTER_TOKEN: {
    schema: from.optionalText,
    description: "bearer token that the adapter requires for requests",
    secret: true,
  },
  READER_PUSH: {
    schema: from.flag,
    default: "false",
    description: "push every closed lot to READER_ADAPTER_URL, for a meter that it cannot reach",
  },
  BIJULI_CLOCK: {
    schema: from.optionalText,
    description: "file of a shared virtual clock; without it, the machine's time",
  },
  LOG_LEVEL: {
    schema: from.text.pipe(z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])),
    default: "info",
    description: "fatal, error, warn, info, debug, trace or silent",
  },
});
