/*
 * The client of every measurement: 50 kept-alive connections, each with one request under way, over plain sockets and
 * with the request's bytes made once, so that the server is what is measured. Reads its task as JSON from its argument,
 * prints what it saw as JSON.
 */
import { connect } from "node:net";

export interface ClientTask {
  host: string;
  port: number;
  path: string;
  body: string;
  connections: number;
  warmUpMs: number;
  measureMs: number;
}
export interface ClientResult {
  requests: number;
  seconds: number;
  p50: number;
  p99: number;
  failures: number;
  bytes: number;
}

if (process.argv[2] !== undefined) {
  const task: ClientTask = JSON.parse(process.argv[2]);
  const request = Buffer.from(
    `POST ${task.path} HTTP/1.1\r\nHost: ${task.host}:${task.port}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(task.body)}\r\n\r\n${task.body}`,
  );
  const latencies: number[] = [];
  let failures = 0;
  let bytes = 0;
  let measuring = false;
  let stopping = false;
  const connection = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(task.port, task.host);
      socket.setNoDelay(true);
      let sent = 0;
      let got = 0;
      let wanted = 0;
      let head: Buffer | undefined;
      const send = (): void => {
        if (stopping) {
          socket.destroy();
          resolve();
          return;
        }
        got = 0;
        wanted = 0;
        sent = performance.now();
        socket.write(request);
      };
      socket.on("data", (chunk: Buffer) => {
        if (wanted === 0) {
          head = head === undefined ? chunk : Buffer.concat([head, chunk]);
          const end = head.indexOf("\r\n\r\n");
          if (end === -1) return;
          const text = head.toString("latin1", 0, end).toLowerCase();
          if (measuring && !text.startsWith("http/1.1 200")) failures++;
          wanted = end + 4 + Number(/content-length: (\d+)/.exec(text)?.[1]);
          got = head.length;
          head = undefined;
        } else got += chunk.length;
        if (got < wanted) return;
        if (measuring) {
          latencies.push(performance.now() - sent);
          bytes = wanted;
        }
        send();
      });
      socket.on("error", reject);
      socket.on("connect", send);
    });
  const all = Array.from({ length: task.connections }, connection);
  await new Promise((resolve) => setTimeout(resolve, task.warmUpMs));
  process.stdout.write("measuring\n");
  const began = performance.now();
  measuring = true;
  await new Promise((resolve) => setTimeout(resolve, task.measureMs));
  measuring = false;
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write("measured\n");
  stopping = true;
  await Promise.all(all);
  latencies.sort((a, b) => a - b);
  const at = (share: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  const result: ClientResult = { requests: latencies.length, seconds, p50: at(0.5), p99: at(0.99), failures, bytes };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
