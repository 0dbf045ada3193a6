import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** How a line can go wrong. */
export type LineFault = "silent" | "garbage" | "exception" | "other-unit" | "late";

/** An Eastron meter's input registers, and the RTU frames in which it answers; the line to it can fail. */
export class EastronMeter {
  readonly unit: number;
  /** Floats by register. */
  readonly values = new Map<number, number>();
  fault: LineFault | undefined;
  asked = 0;

  constructor(unit: number, values: Readonly<Record<number, number>>) {
    this.unit = unit;
    for (const [register, value] of Object.entries(values)) this.values.set(Number(register), value);
  }

  /** The words of a run of registers. */
  words(register: number, count: number): number[] {
    const bytes = Buffer.alloc(2 * count);
    for (let at = 0; at < count; at += 2) bytes.writeFloatBE(this.values.get(register + at) ?? 0, 2 * at);
    return Array.from({ length: count }, (_, index) => bytes.readUInt16BE(2 * index));
  }

  /** Answers RTU requests on a duplex line: a socket, or a serial line's other end. */
  serve(read: NodeJS.ReadableStream, write: NodeJS.WritableStream): void {
    let heard = Buffer.alloc(0);
    read.on("data", (data: Buffer) => {
      heard = Buffer.concat([heard, data]);
      for (; heard.length >= 8; heard = heard.subarray(8)) {
        const answer = this.#answer(heard.subarray(0, 8));
        if (answer === undefined) continue;
        if (this.fault === "late") setTimeout(() => write.write(answer), 350);
        else write.write(answer);
      }
    });
    read.on("error", () => {});
    write.on("error", () => {});
  }

  #answer(request: Buffer): Buffer | undefined {
    this.asked++;
    if (this.fault === "silent" || request[0] !== this.unit || crc16(request) !== 0) return undefined;
    if (this.fault === "exception") return frame([this.unit, request[1]! | 0x80, 2]);
    const words = this.words(request.readUInt16BE(2), request.readUInt16BE(4));
    const bytes = words.flatMap((word) => [word >> 8, word & 0xff]);
    const unit = this.fault === "other-unit" ? this.unit + 1 : this.unit;
    const answer = frame([unit, request[1]!, bytes.length, ...bytes]);
    if (this.fault === "garbage") answer[5]! ^= 0x10;
    return answer;
  }
}

/** Modbus' CRC; that of a frame with its CRC is zero. */
function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  }
  return crc;
}

function frame(bytes: readonly number[]): Buffer {
  const crc = crc16(Uint8Array.from(bytes));
  return Buffer.from([...bytes, crc & 0xff, crc >> 8]);
}

/** RTU frames through a plain TCP converter; the port. */
export async function rtuOverTcp(t: TestContext, meter: EastronMeter): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    meter.serve(socket, socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as { port: number }).port;
}

/** Opens a pseudo terminal, says its name, and passes bytes between it and its own input and output. */
const PTY = `
import os, pty, select, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
sys.stderr.write(os.ttyname(slave)); sys.stderr.flush()
while True:
    for fd in select.select([master, 0], [], [])[0]:
        data = os.read(fd, 4096)
        if not data: sys.exit()
        os.write(1 if fd == master else master, data)
`;

/** A serial line with the meter at its other end; the device. */
export async function serialLine(t: TestContext, meter: EastronMeter): Promise<string> {
  const child: ChildProcess = spawn("python3", ["-c", PTY]);
  t.after(() => child.kill("SIGKILL"));
  const [name] = (await once(child.stderr!, "data")) as [Buffer];
  meter.serve(child.stdout!, child.stdin!);
  return name.toString();
}
