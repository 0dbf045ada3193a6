import { type LookupAddress, lookup as systemLookup } from "node:dns";
import http from "node:http";
import https from "node:https";
import { BlockList, type LookupFunction } from "node:net";

export interface ReaderAnswer {
  status: number;
  /** Seconds of its Retry-After, when it gave one. */
  retryAfter: number | undefined;
  /** Its Date header as unix ms. */
  date: number | undefined;
  body: Buffer;
}

/** Why a reader gave no answer that could be read. */
export class ReaderFault extends Error {
  /** "unreachable": no answer came; "broken": one came that could not be read to its end. */
  readonly kind: "unreachable" | "broken";
  constructor(kind: "unreachable" | "broken", message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/**
 * Where no reader can be, and clouds keep their instances' credentials: addresses that no name may lead to, whoever
 * answers for it. An operator who means such an address can give it as numbers.
 */
const NOWHERE = new BlockList();
NOWHERE.addSubnet("169.254.0.0", 16, "ipv4");
NOWHERE.addSubnet("0.0.0.0", 8, "ipv4");
NOWHERE.addSubnet("fe80::", 10, "ipv6");
NOWHERE.addAddress("fd00:ec2::254", "ipv6");
// Alibaba's, Oracle's and Azure's.
for (const address of ["100.100.100.200", "192.0.0.192", "168.63.129.16"]) NOWHERE.addAddress(address, "ipv4");
NOWHERE.addAddress("::", "ipv6");

/** The system's lookup of names, without what no name may lead to. */
export function guardedLookup(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "");
      const all = found as LookupAddress[];
      const usable = all.filter(({ address, family }) => !NOWHERE.check(address, family === 6 ? "ipv6" : "ipv4"));
      if (usable.length === 0) {
        const why = `${hostname} leads to ${all[0]?.address}, where no reader is asked`;
        return callback(Object.assign(new Error(why), { code: why }), "");
      }
      if (options.all === true) callback(null, usable);
      else callback(null, usable[0]!.address, usable[0]!.family);
    });
}

/**
 * Asks readers over kept-alive connections. It follows no redirect, decodes no compression, sends no cookie, and stops
 * reading at a size limit.
 */
export class ReaderHttp {
  readonly #http: http.Agent;
  readonly #https: https.Agent;

  /** @param options.lookup how names are looked up; the system's unless told */
  constructor(options: { maxSockets: number; lookup?: LookupFunction }) {
    const agent = {
      keepAlive: true,
      maxSockets: 64,
      maxTotalSockets: options.maxSockets,
      scheduling: "lifo",
      lookup: guardedLookup(options.lookup ?? (systemLookup as LookupFunction)),
    } as const;
    this.#http = new http.Agent(agent);
    this.#https = new https.Agent(agent);
  }

  /**
   * @param url absolute; built from the operator's configuration and numbers only
   * @throws ReaderFault
   */
  get(url: string, options: { token: string | undefined; maxBytes: number; timeoutMs: number }): Promise<ReaderAnswer> {
    const secure = url.startsWith("https:");
    const headers: http.OutgoingHttpHeaders = { accept: "application/json" };
    if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
    return new Promise((resolve, reject) => {
      let answered = false;
      let late = false;
      const fail = (cause: unknown): void => {
        const error = cause as NodeJS.ErrnoException;
        clearTimeout(timer);
        if (late) reject(new ReaderFault("unreachable", "it did not answer in time"));
        else if (answered)
          reject(new ReaderFault("broken", `its answer broke off: ${error.code ?? error.message}`, cause));
        else if (error.code?.startsWith("HPE_")) {
          reject(new ReaderFault("broken", `it does not speak HTTP: ${error.code}`, cause));
        } else reject(new ReaderFault("unreachable", error.code ?? error.message, cause));
      };
      const request = (secure ? https : http).get(url, {
        agent: secure ? this.#https : this.#http,
        headers,
        maxHeaderSize: 16_384,
      });
      // One timer over the whole exchange: a reader that sends a byte now and then is slow all the same.
      const timer = setTimeout(() => {
        late = true;
        request.destroy(new Error("timeout"));
      }, options.timeoutMs);
      request.on("error", fail);
      // Without this Node drops a connection that is to be another protocol's silently, and nobody would be answered.
      request.on("upgrade", (_response, socket) => {
        clearTimeout(timer);
        socket.destroy();
        reject(new ReaderFault("broken", "it wants to speak another protocol"));
      });
      request.on("response", (response) => {
        answered = true;
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > options.maxBytes) {
            clearTimeout(timer);
            reject(new ReaderFault("broken", `its answer is larger than ${options.maxBytes} bytes`));
            request.destroy();
            return;
          }
          chunks.push(chunk);
        });
        response.on("error", fail);
        response.on("end", () => {
          if (!response.complete) return fail(new Error("incomplete"));
          clearTimeout(timer);
          const after = Number(response.headers["retry-after"]);
          const date = Date.parse(response.headers.date ?? "");
          resolve({
            status: response.statusCode ?? 0,
            retryAfter: Number.isFinite(after) && after >= 0 ? after : undefined,
            date: Number.isNaN(date) ? undefined : date,
            body: Buffer.concat(chunks),
          });
        });
      });
    });
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}
