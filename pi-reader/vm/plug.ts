import { disagreement, readingFromJson } from "@bijuli/protocol";
import { Machine } from "./machine.ts";
import { makeDisk, READER, readerEnv, type Workshop } from "./workshop.ts";

export const LOT_SECONDS = 2;
export const CHECKPOINT_SECONDS = 1;
const TOKEN = "for-tests";

/** How a program ends that a bug of the emulation has made to crash: by SIGILL, SIGTRAP, SIGABRT (V8's own), SIGBUS, SIGFPE, SIGSEGV. */
const CRASHES = [132, 133, 134, 135, 136, 139];

/** What a reader once said: it must stand for ever. */
export interface Acknowledged {
  readings: Map<string, { reading: object }>;
  /** The greatest forward register that was shown, open lot included. */
  forward: bigint;
}

/** A reader on a machine that loses power, whose sensor always shows 24 V and 5 A. */
export class Plug {
  readonly #workshop: Workshop;
  readonly #disk: string;
  readonly #preload: string;
  #machine: Machine | undefined;
  /** The codes with which a Node in the machine ended that crashed under emulation. */
  readonly crashes: number[] = [];
  /** The forward register in the reader's first answer since power came, open lot included. */
  #first = 0n;

  constructor(workshop: Workshop, name: string, options: { sync: boolean }) {
    this.#workshop = workshop;
    this.#disk = makeDisk(workshop.folder, name);
    this.#preload = options.sync ? "" : "LD_PRELOAD=/bijuli/lib/nosync.so ";
  }

  get machine(): Machine {
    return this.#machine!;
  }

  /** Power comes: the machine boots, the sensor shows 120 W, the reader starts; returns when it answers, or has ended. */
  async in(): Promise<boolean> {
    const { image, folder } = this.#workshop;
    this.#machine = await Machine.boot({ image, folder, disk: this.#disk });
    const registers = { 1: 0xa00f, 2: 0x004b, 6: 0x0800, 254: 0x4954, 255: 0x6022 };
    const set = Object.entries(registers).map(
      ([register, word]) => `i2cset -y 0 0x40 0x${Number(register).toString(16)} 0x${word.toString(16)} w`,
    );
    await this.machine.run(
      "mount -t ext4 -o errors=remount-ro /dev/vdb /data && insmod /modules/i2c-stub.ko chip_addr=0x40",
    );
    await this.machine.run(set.join(" && "));
    const env = readerEnv({
      READER_SOURCE: 'ina226:{"bus":0,"shuntOhms":"0.002","averages":1,"conversion":140}',
      READER_HOST: "0.0.0.0",
      READER_TOKEN: TOKEN,
      LOT_SECONDS: String(LOT_SECONDS),
      READER_SAMPLE_MS: "100",
      READER_CHECKPOINT_SECONDS: String(CHECKPOINT_SECONDS),
    });
    const serve = `${this.#preload}${env} ${READER} serve >/tmp/reader.log 2>&1`;
    await this.machine.run(`( ( ${serve}; echo ended with $? >>/tmp/reader.log ) & ) ; true`);
    for (let tries = 0; tries < 600; tries++) {
      const live = await this.get("/live");
      if (live !== undefined) {
        this.#first = BigInt(live.forward);
        return true;
      }
      if (tries > 50 && (await this.machine.attempt("pidof node")).code !== 0) return false;
      await pause(100);
    }
    throw new Error(await this.log());
  }

  /**
   * Power comes back: what the reader does not stand by any more, and the forward register that it begins with (asked before
   * anything else, so that what it measures meanwhile hides no loss). Emulated by QEMU, a Node crashes now and then by itself;
   * that is one power cut more, which is counted.
   * @param crashes how many of them are borne
   */
  async comesBack(known: Acknowledged, crashes: number): Promise<{ problems: string[]; forward: bigint }> {
    for (;;) {
      const problems = (await this.in()) ? await this.broken(known) : [`it ended: ${await this.log()}`];
      const crashed = problems.length > 0 && (await this.crashed());
      if (!crashed || this.crashes.length > crashes) return { problems, forward: this.#first };
      await this.machine.cut();
    }
  }

  /** Whether emulation has made the reader crash, or a program that ended with `code`; each time is counted. */
  async crashed(code?: number): Promise<boolean> {
    const ended = code ?? Number(/ended with (\d+)/.exec(await this.log())?.[1]);
    if (!CRASHES.includes(ended)) return false;
    this.crashes.push(ended);
    return true;
  }

  log(): Promise<string> {
    return this.machine.run("cat /tmp/reader.log");
  }

  /** What the reader answers; undefined where it has none (yet). */
  async get<T = { forward: string }>(path: string, status = 200): Promise<T | undefined> {
    try {
      const answer = await fetch(`${this.machine.url}${path}`, {
        headers: { authorization: `Bearer ${TOKEN}` },
        signal: AbortSignal.timeout(5000),
      });
      return answer.status === status ? ((await answer.json()) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Looks at the reader all the time for so long; what it said is added to what it must stand by. */
  async watch(known: Acknowledged, ms: number): Promise<void> {
    const until = performance.now() + ms;
    for (let runs = 1; performance.now() < until; runs++) {
      const path = runs % 4 === 0 ? "/readings/latest?lots=3" : "/readings/latest";
      const served = await this.get<{ reading: { lot: string; energies: string } }>(path);
      if (served !== undefined) known.readings.set(`${served.reading.lot}?lots=${runs % 4 === 0 ? 3 : 1}`, served);
      const live = await this.get("/live");
      if (live !== undefined && BigInt(live.forward) > known.forward) known.forward = BigInt(live.forward);
      await pause(20);
    }
  }

  /** What the reader does not stand by any more. */
  async broken(known: Acknowledged): Promise<string[]> {
    const problems: string[] = [];
    const after: object[] = [];
    for (const [path, before] of known.readings) {
      const now = await this.get<{ reading: object }>(`/readings/${path}`);
      if (now === undefined) problems.push(`${path} is lost`);
      else if (JSON.stringify(now) !== JSON.stringify(before)) problems.push(`${path} is another one`);
      if (now !== undefined) after.push(now.reading);
    }
    const all = [...known.readings.values()].map(({ reading }) => reading).concat(after);
    const parsed = all.map((reading) => readingFromJson(reading as Parameters<typeof readingFromJson>[0]));
    for (const a of parsed) {
      const other = parsed.find((b) => disagreement(a, b) !== undefined);
      if (other !== undefined) problems.push(`the readings of ${a.lot} and ${other.lot} disagree`);
    }
    return problems;
  }
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
