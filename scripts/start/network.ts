import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  BijuliError,
  type Clock,
  clockFromFile,
  type Hex,
  lotOf,
  lotStart,
  meterIdOf,
  type ReadingDomain,
  readingDomain,
} from "@bijuli/protocol";
import { Wallet } from "ethers";
import { CHAIN_ID, mineByClock, startChain } from "./chain.ts";
import { writeClock } from "./clock-file.ts";
import { Control } from "./control.ts";
import { type Grid, type GridMeter, metersOf } from "./grid.ts";
import { freePort } from "./ports.ts";
import { listeningUrl, Processes } from "./processes.ts";
import { type Commissioning, Provisioner, type SetUpFeeder } from "./provision.ts";
import { DemoSwitches } from "./switches.ts";

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Fast enough that an opening and its deliveries follow each other closely; slow enough to leave the machine to the rest. */
const BLOCK_MS = 100;
const READY_MS = 30_000;

export interface NetworkOptions {
  grid: Grid;
  dir: string;
  /** Unix ms at which virtual time begins. */
  originMs: number;
  speed: number;
  lots: number | undefined;
  rpcPort: number | undefined;
  /** Where the page is served; undefined: there is none. */
  pagePort?: number;
  queueUrl: string | undefined;
  progress: (message: string) => void;
  /** What the adapter is told instead of a reader's own address: tests put a meter there that misbehaves. */
  frontOf?: (serial: string, url: string) => string;
}

/** A whole network on this machine: each part a process of its own, joined by HTTP, chain and queue alone. */
export class Network {
  readonly #options: NetworkOptions;
  readonly #processes: Processes;
  readonly #mining = new AbortController();
  #mined: Promise<void> = Promise.resolve();
  #clock: Clock | undefined;
  #control: Control | undefined;
  #page: Promise<string> | undefined;
  /** What it takes to start a part again, by name. */
  readonly #lives = new Map<string, () => Promise<string>>();
  #provisioner: Provisioner | undefined;
  feeders: SetUpFeeder[] = [];
  /** Where the parts listen, by name. */
  readonly links: Record<string, string> = {};
  /** serial → the reader's address. */
  readonly readers = new Map<string, string>();
  /** What is done to the simulated meters. */
  readonly switches: DemoSwitches;

  constructor(options: NetworkOptions) {
    this.#options = options;
    rmSync(options.dir, { recursive: true, force: true });
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    this.#processes = new Processes(options.dir, at(".bijuli/compile-cache"));
    this.switches = new DemoSwitches(join(options.dir, "switches.json"));
  }

  get grid(): Grid {
    return this.#options.grid;
  }

  get clock(): Clock {
    return this.#clock!;
  }

  /** The page's address, once it is served; it starts while the first lot is measured. */
  get page(): Promise<string> {
    return this.#page ?? Promise.reject(new BijuliError("part-failed", "this network has no page"));
  }

  /** Rejects when a part ends by itself. */
  get failed(): Promise<never> {
    return this.#processes.failed;
  }

  get book() {
    return this.#provisioner!.book;
  }

  /** Starts and joins all parts; the clock stands still until `run`. */
  async setUp(): Promise<void> {
    const { grid, dir, originMs, speed, rpcPort, progress } = this.#options;
    const meters = grid.feeders.flatMap((feeder) => metersOf(grid, feeder));
    writeClock(this.#clockPath, { origin: originMs, speed });
    this.#clock = clockFromFile(this.#clockPath);

    progress("starting the chain");
    // Set-up happens in the lot before the first one: meters and terms hold for lots that have not begun.
    const firstLot = lotOf(BigInt(Math.floor(originMs / 1000)), grid.lotSeconds);
    const genesis = Number(lotStart(firstLot - 1n, grid.lotSeconds));
    const rpcUrl = await startChain(this.#processes, rpcPort ?? (await freePort()), genesis);
    this.links.chain = rpcUrl;

    progress("deploying the contracts");
    const nodeKey = Wallet.createRandom();
    this.#provisioner = new Provisioner(rpcUrl);
    const book = await this.#provisioner.deploy(grid.lotSeconds, nodeKey.address);
    writeFileSync(join(dir, "addresses.json"), `${JSON.stringify(book, null, 2)}\n`);

    progress(`starting ${meters.length} readers`);
    const commissioning = new Map<string, Commissioning>();
    await Promise.all(
      meters.map(async (meter) => commissioning.set(meter.serial, await this.#startReader(meter, firstLot))),
    );

    const job = this.#writeJob(book.operator as Hex);
    const adapter = this.#startAdapter(meters, commissioning);
    for (const feeder of grid.feeders) {
      progress(`registering feeder ${feeder.name}: ${metersOf(grid, feeder).length} meters, their accounts and terms`);
      this.feeders.push(await this.#provisioner.setUp(grid, feeder, firstLot, commissioning, job.specId));
    }
    progress("starting adapter and node");
    await this.#startNode(rpcUrl, await adapter, job.file, nodeKey.privateKey);
  }

  /** Starts the clock: from here on samples, lots and blocks follow it. */
  run(): void {
    const { originMs, speed } = this.#options;
    writeClock(this.#clockPath, { origin: originMs, speed, startedAt: Date.now() });
    this.#mined = mineByClock(this.links.chain!, this.#clock!, BLOCK_MS, this.#mining.signal);
    this.#mined.catch(() => {});
  }

  readerRuns(serial: string): boolean {
    return this.#processes.runs(readerName(serial));
  }

  nodeRuns(): boolean {
    return this.#processes.runs("node");
  }

  switchReader(serial: string, running: boolean): Promise<void> {
    return this.#switchPart(readerName(serial), running);
  }

  switchNode(running: boolean): Promise<void> {
    return this.#switchPart("node", running);
  }

  async #switchPart(name: string, running: boolean): Promise<void> {
    if (this.#processes.runs(name) === running) return;
    if (running) await this.#lives.get(name)!();
    else await this.#processes.stopOne(name);
  }

  /** Starts a part at any free port; started again, it listens where it did. */
  async #startPart(
    name: string,
    script: string,
    args: readonly string[],
    env: Record<string, string>,
    port: string,
  ): Promise<string> {
    const begin = (number: string) =>
      this.#processes.start(name, process.execPath, [at(script), ...args], { ...env, [port]: number }, listeningUrl);
    const url = await begin("0");
    this.#lives.set(name, () => begin(new URL(url).port));
    return url;
  }

  /** Stops all parts; when it returns, no process is left. */
  async stop(): Promise<void> {
    this.#control?.close();
    this.#provisioner?.close();
    // The chain goes on mining until the node has drained: a delivery in flight may still land.
    await this.#processes.stop(() => {
      this.#mining.abort();
      return this.#mined.catch(() => {});
    });
  }

  /** What the meters of this network sign under. */
  get domain(): ReadingDomain {
    return readingDomain({ chainId: CHAIN_ID, registry: this.book.registry });
  }

  get #clockPath(): string {
    return join(this.#options.dir, "clock.json");
  }

  get #partSettings(): Record<string, string> {
    const { lotSeconds } = this.#options.grid;
    return {
      CHAIN_ID: `${CHAIN_ID}`,
      REGISTRY_ADDRESS: this.book.registry,
      LOT_SECONDS: `${lotSeconds}`,
      BIJULI_CLOCK: this.#clockPath,
      LOG_LEVEL: process.env.LOG_LEVEL ?? "info",
    };
  }

  async #startReader(meter: GridMeter, firstLot: bigint): Promise<Commissioning> {
    const env = {
      ...this.#partSettings,
      READER_SERIAL: meter.serial,
      READER_KEY: Wallet.createRandom().privateKey,
      READER_STORE: join(this.#options.dir, `reader-${meter.meterId.slice(2, 14)}.sqlite`),
      READER_SOURCE: this.#sourceOf(meter),
      READER_HOST: "127.0.0.1",
      // A feeder has many readers and each needs little: a third of what Node would take by itself.
      NODE_OPTIONS: "--max-semi-space-size=1 --max-old-space-size=96",
    };
    const url = await this.#startPart(readerName(meter.serial), "pi-reader/src/cli.ts", ["serve"], env, "READER_PORT");
    this.readers.set(meter.serial, url);
    const { signer, opening } = await getJson<{ signer: string; opening: Opening | null }>(new URL("/identity", url));
    // A meter that begins with the network has signed its opening; one that began earlier has closed the lot before.
    const before = (firstLot - 1n).toString();
    const opens =
      opening?.reading.lot === before ? opening : await getJson<Opening>(new URL(`/readings/${before}`, url));
    return { signer, reading: opens.reading, signature: opens.signature };
  }

  /** A simulated meter is told where the switches lie, and what it is called there. */
  #sourceOf({ serial, source }: GridMeter): string {
    if ("replay" in source) return `replay:${source.replay}`;
    return `simulate:${JSON.stringify({ ...source.simulate, switches: { file: this.switches.path, sensor: serial } })}`;
  }

  async #startAdapter(meters: GridMeter[], commissioning: ReadonlyMap<string, Commissioning>): Promise<string> {
    const readers = meters.map(({ serial }) => ({
      serial,
      url: this.#options.frontOf?.(serial, this.readers.get(serial)!) ?? this.readers.get(serial),
      signer: commissioning.get(serial)!.signer,
    }));
    const file = join(this.#options.dir, "readers.json");
    writeFileSync(file, JSON.stringify(readers, null, 2));
    const env = {
      ...this.#partSettings,
      EA_PORT: "0",
      EA_HOST: "127.0.0.1",
      READERS_FILE: file,
      GRACE_SECONDS: `${Math.min(...this.#options.grid.feeders.map(({ terms }) => terms.graceSeconds))}`,
    };
    const url = await this.#processes.start("adapter", process.execPath, [at("adapter/src/cli.ts")], env, listeningUrl);
    this.links.adapter = url;
    return url;
  }

  /** The job's spec with the deployed Operator filled in, as an operator would when adding it to a node. */
  #writeJob(operator: Hex): { file: string; specId: Hex } {
    const template = readFileSync(at("jobs/specs/lot-readings.toml"), "utf8");
    const id = template.match(/^externalJobID\s*=\s*"([0-9a-f-]{36})"/m)?.[1];
    if (!id) throw new BijuliError("bad-spec", "jobs/specs/lot-readings.toml has no externalJobID");
    const file = join(this.#options.dir, "lot-readings.toml");
    writeFileSync(file, template.replace(/^(contractAddress\s*=\s*)"[^"]*"/m, `$1"${operator}"`));
    // A job's id on chain: its UUID's 32 hex digits as ASCII.
    return { file, specId: `0x${Buffer.from(id.replaceAll("-", ""), "ascii").toString("hex")}` };
  }

  async #startNode(rpcUrl: string, adapterUrl: string, job: string, key: string): Promise<void> {
    const { lots, dir, queueUrl } = this.#options;
    const until = (feeder: SetUpFeeder) =>
      lots === undefined ? {} : { until: `${feeder.firstLot + BigInt(lots) - 1n}` };
    const env: Record<string, string> = {
      ...this.#partSettings,
      RPC_URL: rpcUrl,
      POLL_INTERVAL_MS: `${BLOCK_MS / 2}`,
      JOBS: job,
      BRIDGES: JSON.stringify({ bijuli: adapterUrl }),
      NODE_KEY: key,
      DATA_DIR: join(dir, "node"),
      MARKET_ADDRESS: this.book.market,
      OPEN_FEEDERS: JSON.stringify(this.feeders.map((feeder) => ({ feeder: feeder.feeder, ...until(feeder) }))),
      NODE_HOST: "127.0.0.1",
      ...(this.#pageUrl === undefined ? {} : { PAGE_URL: this.#pageUrl }),
      // A Redis may hold the queue of an earlier run, whose chain is gone; this run's is its own.
      ...(queueUrl ? { QUEUE_URL: queueUrl, QUEUE_NAME: `demo-${randomUUID()}` } : {}),
    };
    this.links.node = await this.#startPart("node", "jobs/src/cli.ts", ["start"], env, "NODE_PORT");
    if (this.#pageUrl !== undefined) {
      this.#page = this.#startPage(rpcUrl, adapterUrl, this.#pageUrl);
      this.#page.catch(() => {});
    }
    await untilReady("node", new URL("/ready", this.links.node));
  }

  get #pageUrl(): string | undefined {
    const { pagePort } = this.#options;
    return pagePort === undefined ? undefined : `http://127.0.0.1:${pagePort}`;
  }

  /** The page's server is a part like the others; it alone may throw the switches. */
  async #startPage(rpcUrl: string, adapterUrl: string, pageUrl: string): Promise<string> {
    this.#control = new Control(this);
    const env = {
      RPC_URL: rpcUrl,
      CHAIN_ID: `${CHAIN_ID}`,
      MARKET_ADDRESS: this.book.market,
      POLL_INTERVAL_MS: "200",
      NODE_URL: this.links.node!,
      ADAPTER_URL: adapterUrl,
      DASHBOARD_PORT: new URL(pageUrl).port,
      DATA_DIR: join(this.#options.dir, "page"),
      DEMO_URL: await this.#control.listen(),
      DEMO_TOKEN: this.#control.token,
      BIJULI_CLOCK: this.#clockPath,
      LOG_LEVEL: this.#partSettings.LOG_LEVEL!,
    };
    const script = at("dashboard/src/server/main.ts");
    const url = await this.#processes.start("page", process.execPath, [script], env, listeningUrl);
    // Who opens it at once is to find the feeder there.
    await untilReady("page", new URL("/ready", url));
    return `${url}/`;
  }
}

const readerName = (serial: string): string =>
  `reader-${serial.replaceAll(/[^A-Za-z0-9._-]/g, "_")}-${meterIdOf(serial).slice(2, 8)}`;

interface Opening {
  reading: { lot: string; energies: string };
  signature: Hex;
}

async function getJson<T>(url: URL): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(READY_MS) });
  if (!response.ok)
    throw new BijuliError("part-failed", `${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** Asks until the part says that it is ready. */
async function untilReady(name: string, url: URL): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (let said = "no answer"; performance.now() < deadline; await new Promise((resolve) => setTimeout(resolve, 50))) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
      if (response.ok) return;
      said = `${response.status} ${(await response.text()).slice(0, 200)}`;
    } catch (error) {
      said = (error as Error).message;
    }
    if (performance.now() + 50 >= deadline)
      throw new BijuliError("part-failed", `${name} was not ready within ${READY_MS / 1000} s: ${said}`);
  }
}
