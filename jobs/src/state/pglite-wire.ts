import { Duplex } from "node:stream";
import type { PGlite } from "@electric-sql/pglite";

/**
 * What `pg` takes for a socket: PostgreSQL's protocol, straight into a PGlite of this process. What is written at once is
 * answered at once, before anything else has its turn. PGlite's own `query` makes six round trips of a statement and knows
 * no prepared ones; `pg` over this makes one, in about half the time and a third where the statement is prepared, and
 * speaks to a server in the same way.
 */
export class PgliteWire extends Duplex {
  readonly #db: PGlite;

  constructor(db: PGlite) {
    super();
    this.#db = db;
  }

  /** As a net.Socket's: there is nothing to reach. */
  connect(): this {
    queueMicrotask(() => this.emit("connect"));
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  override _read(): void {
    // What there is was pushed when it was answered.
  }

  override _write(message: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#answer(message, done);
  }

  override _writev(chunks: readonly { chunk: Buffer }[], done: (error?: Error) => void): void {
    this.#answer(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.push(null);
    done();
  }

  #answer(message: Buffer, done: (error?: Error) => void): void {
    // The streaming call, for the plain one keeps all that was ever answered. What it shows lies in PGlite's own memory.
    const onRawData = (bytes: Uint8Array) => this.push(Buffer.from(bytes));
    this.#db.execProtocolRawStream(message, { syncToFs: false, onRawData }).then(() => done(), done);
  }
}
