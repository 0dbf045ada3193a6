import { once } from "node:events";
import type { Server } from "node:http";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, explain, loadSettings, openClock, readingDomain, settingsHelp } from "@bijuli/protocol";
import { pino } from "pino";
import type { AdapterClient } from "../adapterClient.ts";
import { keepFinding } from "../findings.ts";
import { readKey } from "../keyFile.ts";
import { checkKnownLot, isOldCopy, KnownLotCheck } from "../knownLot.ts";
import type { LiveSource } from "../liveSource.ts";
import { Meter } from "../meter.ts";
import { Metrics } from "../metrics.ts";
import { openLive, sensorOf } from "../openLive.ts";
import { openSource } from "../openSource.ts";
import { Pusher } from "../pusher.ts";
import { findingText, findingToJson } from "../reconciler.ts";
import { isLoopback, readerServer } from "../server.ts";
import { readerSettings } from "../settings.ts";
import { keySigner } from "../signer.ts";
import { storedSigners } from "../signerHistory.ts";
import { Store } from "../store.ts";
import { version } from "../version.ts";
import { startWatchdog } from "../watchdog.ts";
import type { Command } from "./command.ts";

/**
 * A sensor that hangs so long makes the watchdog start the reader anew; one that fails is asked at least this often. A
 * disk that fails does not: lots that wait for it would be lost.
 */
const STUCK_MS = 45_000;
/** Connections get this long to finish after SIGTERM. */
const DRAIN_MS = 3000;

export const serve: Command = {
  help: `serve: measures, closes and signs lots, and answers over HTTP until SIGTERM or SIGINT

Settings (environment):
${settingsHelp(readerSettings)}
`,
  async run(args) {
    parseArgs({ args, options: {}, strict: true });
    const settings = loadSettings(readerSettings);
    if (!isLoopback(settings.READER_HOST) && settings.READER_TOKEN === undefined) {
      throw new BijuliError(
        "no-token",
        `READER_HOST=${settings.READER_HOST} is beyond loopback and READER_TOKEN is missing`,
        { remedy: "consumption is personal data: set a token, or listen on 127.0.0.1" },
      );
    }
    const unlock = {
      passwordFile: settings.READER_KEY_PASSWORD_FILE,
      credentials: process.env.CREDENTIALS_DIRECTORY,
    };
    const signer = keySigner(await readKey({ key: settings.READER_KEY, file: settings.READER_KEY_FILE, ...unlock }));
    const { READER_NEXT_KEY_FILE: nextFile, READER_NEXT_FROM_LOT: fromLot } = settings;
    if ((nextFile === undefined) !== (fromLot === undefined)) {
      throw new BijuliError(
        "bad-settings",
        "READER_NEXT_KEY_FILE and READER_NEXT_FROM_LOT go together: one is missing",
      );
    }
    const next =
      nextFile === undefined
        ? undefined
        : { signer: keySigner(await readKey({ file: nextFile, ...unlock })), fromLot: fromLot! };
    const domain = readingDomain({ chainId: settings.CHAIN_ID, registry: settings.REGISTRY_ADDRESS });
    const logger = pino(
      { level: settings.LOG_LEVEL, base: { part: "reader", serial: settings.READER_SERIAL } },
      pino.destination({ fd: 2, sync: true }),
    );
    const stop = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());

    const store = Store.open(settings.READER_STORE);
    // A start that fails half-way, and a stop on a full disk: what still listens or is connected would keep the process.
    let opened: LiveSource | undefined;
    let server: Server | undefined;
    try {
      const common = { serial: settings.READER_SERIAL, domain, lotSeconds: settings.LOT_SECONDS, signer, next, store };
      const { meter, clock, calibration, sampling } =
        sensorOf(settings.READER_SOURCE) === undefined ? replaying() : await measuring();

      let known: KnownLotCheck | undefined;
      const adapter = await askAdapter();
      const retention = await archiving();
      const metrics = new Metrics(meter);
      server = readerServer({ meter, clock, version, calibration, token: settings.READER_TOKEN, metrics });
      await listen(server, settings.READER_HOST, settings.READER_PORT);
      const address = server.address() as { address: string; port: number; family: string };
      const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
      logger.info({ url: `http://${host}:${address.port}`, signer: meter.signer }, "listening");
      const watchdog = startWatchdog(() => (meter.source.idleMs?.() ?? 0) < STUCK_MS);

      // An old copy of the store that shows only now: nothing more is signed with it.
      let refused: Error | undefined;
      const closing = meter.run(stop.signal, (error) => {
        metrics.closeFailures++;
        logger.error({ err: error }, explain(error));
        if (isOldCopy(error)) refuse(error);
      });
      const checking = known?.run(stop.signal).catch(refuse);
      const pushing =
        adapter !== undefined && settings.READER_PUSH
          ? new Pusher(meter, adapter, store).run(stop.signal, (error) => logger.warn({ err: error }, explain(error)))
          : undefined;
      const retaining = retention?.run(
        stop.signal,
        (error) => logger.error({ err: error }, explain(error)),
        (file) => logger.info({ file }, "archived"),
      );
      await Promise.all([closing, sampling(), pushing, retaining, checking]);
      if (refused !== undefined) throw refused;
      logger.info("stopping");
      watchdog.stop();
      server.close();
      server.closeIdleConnections();
      await Promise.race([once(server, "close"), new Promise((done) => setTimeout(done, DRAIN_MS).unref())]);
      server.closeAllConnections();
      return ExitCode.OK;

      function refuse(error: Error): void {
        refused = error;
        stop.abort();
      }

      async function askAdapter(): Promise<AdapterClient | undefined> {
        if (settings.READER_ADAPTER_URL === undefined) {
          if (!settings.READER_PUSH) return undefined;
          throw new BijuliError("bad-settings", "READER_PUSH is set and READER_ADAPTER_URL is missing");
        }
        const { AdapterClient } = await import("../adapterClient.ts");
        const client = new AdapterClient({
          url: settings.READER_ADAPTER_URL,
          token: settings.READER_ADAPTER_TOKEN,
          serial: settings.READER_SERIAL,
          signers: storedSigners(store)!,
          domain,
          lotSeconds: settings.LOT_SECONDS,
        });
        // What can be measured again says again what was signed; a source that cannot must not be an old copy's.
        if (meter.source.repeatable) return client;
        known = new KnownLotCheck(
          () => checkKnownLot(store, client, settings.READER_SERIAL),
          (error) => logger.warn(`the store was not checked against the adapter yet: ${explain(error)}`),
        );
        await known.ask();
        // Once lots can be closed the clock is synchronised, so that there is a network.
        if (!known.answered) meter.beforeFirstClosing = () => known!.ask();
        return client;
      }

      async function archiving() {
        const { READER_RETAIN_DAYS: days, READER_ARCHIVE: archive, LOT_SECONDS: lotSeconds } = settings;
        if ((days === undefined) !== (archive === undefined)) {
          throw new BijuliError("bad-settings", "READER_RETAIN_DAYS and READER_ARCHIVE go together: one is missing");
        }
        if (days === undefined || archive === undefined) return undefined;
        const { Retention } = await import("../retention.ts");
        return new Retention({ store, lotSeconds, days, archive });
      }

      function replaying() {
        const clock = openClock(settings.BIJULI_CLOCK);
        const began = Number(store.get("began") ?? clock.nowMs());
        const meter = new Meter({
          ...common,
          source: openSource(settings.READER_SOURCE, clock, settings.LOT_SECONDS, began),
        });
        // Only now is it certain that the store is this meter's.
        if (store.get("began") === undefined) store.set({ began: String(began) });
        return { meter, clock, calibration: undefined, sampling: async () => {} };
      }

      async function measuring() {
        if (settings.BIJULI_CLOCK !== undefined) {
          throw new BijuliError("bad-settings", "BIJULI_CLOCK is set, but a sensor measures in real time", {
            remedy: "unset it, or use replay or simulate",
          });
        }
        // A replaying reader needs none of this, and a demo starts many of them.
        const { openLinuxBus } = await import("../sensors/linuxBus.ts");
        const { systemTimebase } = await import("../systemTimebase.ts");
        const timebase = systemTimebase(settings.READER_CLOCK_SYNC, stop.signal);
        await timebase.firstLook;
        const { source, calibration } = await openLive({
          source: settings.READER_SOURCE,
          calibration: settings.READER_CALIBRATION,
          timebase,
          store,
          lotSeconds: settings.LOT_SECONDS,
          sampleMs: settings.READER_SAMPLE_MS,
          gapLimitMs: settings.READER_GAP_LIMIT_MS,
          counterToleranceBps: settings.READER_COUNTER_TOLERANCE_BPS,
          onFault: (fault) => logger.warn({ err: fault }, explain(fault)),
          onFinding: (finding) => {
            logger.warn(findingToJson(finding), findingText(finding));
            try {
              keepFinding(store, finding, { timeMs: source.clock.nowMs(), lot: meter.openLot });
            } catch (error) {
              logger.error({ err: error }, explain(error));
            }
          },
          openBus: openLinuxBus,
        });
        opened = source;
        const meter = new Meter({ ...common, source });
        const save = () => {
          try {
            store.set({ checkpoint: source.checkpoint() });
          } catch (error) {
            logger.error({ err: error }, explain(error));
          }
        };
        const sampling = async () => {
          const timer = setInterval(save, settings.READER_CHECKPOINT_SECONDS * 1000);
          try {
            await source.run(stop.signal);
            await meter.closeDue();
          } finally {
            clearInterval(timer);
            save();
          }
        };
        return { meter, clock: source.clock, calibration, sampling };
      }
    } finally {
      server?.close();
      server?.closeAllConnections();
      await opened?.close().catch(() => {});
      store.close();
    }
  },
};

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why = code === "EADDRINUSE" ? "is in use" : code === "EACCES" ? "needs more rights" : "cannot be listened on";
    throw new BijuliError("cannot-listen", `READER_PORT=${port} on ${host} ${why}`, {
      cause: code === "EADDRINUSE" ? undefined : cause,
      remedy: "choose another port, or stop what has it",
    });
  }
}
