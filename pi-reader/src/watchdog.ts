import { execFile } from "node:child_process";

/**
 * Tells systemd that the reader is up and, as long as `alive` says so, that it lives. Without systemd (no
 * NOTIFY_SOCKET) it does nothing. Node has no datagram sockets of the Unix family, so systemd-notify speaks.
 */
export function startWatchdog(alive: () => boolean, env: NodeJS.ProcessEnv = process.env): { stop(): void } {
  if (!env.NOTIFY_SOCKET) return { stop: () => {} };
  const notify = (state: string) => execFile("systemd-notify", [state], () => {});
  notify("READY=1");
  const micros = Number(env.WATCHDOG_USEC ?? 0);
  if (!(micros > 0)) return { stop: () => void notify("STOPPING=1") };
  const timer = setInterval(() => alive() && notify("WATCHDOG=1"), micros / 1000 / 2);
  timer.unref();
  return {
    stop: () => {
      clearInterval(timer);
      notify("STOPPING=1");
    },
  };
}
