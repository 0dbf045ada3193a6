import { execFile } from "node:child_process";
import type { Timebase } from "./liveSource.ts";

const LOOK_EVERY_MS = 30_000;

/** How the reader learns whether the wall clock is synchronised: it asks systemd, or believes it always. */
export type ClockSync = "auto" | "always";

/**
 * The machine's clocks. CLOCK_MONOTONIC never steps, and NTP steers its pace. Whether the wall clock is synchronised
 * is the kernel's own flag, which chrony and systemd-timesyncd both set; timedatectl shows it.
 * @param sync "always" for a machine whose clock is right without NTP, such as one with a GPS receiver or a good RTC
 */
export function systemTimebase(sync: ClockSync, signal: AbortSignal): Timebase & { firstLook: Promise<void> } {
  let synchronised = sync === "always";
  const look = () =>
    new Promise<void>((resolve) => {
      execFile("timedatectl", ["show", "--property=NTPSynchronized", "--value"], { timeout: 5000 }, (error, stdout) => {
        synchronised = error === null && stdout.trim() === "yes";
        resolve();
      });
    });
  let firstLook = Promise.resolve();
  if (sync === "auto") {
    firstLook = look();
    const timer = setInterval(() => void look(), LOOK_EVERY_MS);
    timer.unref();
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }
  return {
    monotonicNs: () => process.hrtime.bigint(),
    wallMs: () => Date.now(),
    synchronised: () => synchronised,
    firstLook,
  };
}
