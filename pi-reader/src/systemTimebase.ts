import { execFile } from "node:child_process";
import { ClockSync } from "./clockSync.ts";
import type { Timebase } from "./liveSource.ts";

const LOOK_EVERY_MS = 30_000;

/** How the reader learns whether the wall clock is synchronised: it asks systemd, or believes it always. */
export type ClockSyncSetting = "auto" | "always";

/**
 * The machine's clocks. CLOCK_MONOTONIC never steps, and NTP steers its pace. Whether the wall clock is synchronised
 * is the kernel's own flag, which chrony and systemd-timesyncd both set; timedatectl shows it.
 * @param sync "always" for a machine whose clock is right without NTP, such as one with a GPS receiver or a good RTC
 */
export function systemTimebase(sync: ClockSyncSetting, signal: AbortSignal): Timebase & { firstLook: Promise<void> } {
  const monotonicNs = () => process.hrtime.bigint();
  const wallMs = () => Date.now();
  if (sync === "always") return { monotonicNs, wallMs, synchronised: () => true, firstLook: Promise.resolve() };
  const clock = new ClockSync(askSystemd, () => Date.now() - performance.now());
  const timer = setInterval(() => void clock.look(), LOOK_EVERY_MS);
  timer.unref();
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  return { monotonicNs, wallMs, synchronised: () => clock.synchronised, firstLook: clock.look() };
}

/** False where there is no systemd to ask, too. */
function askSystemd(): Promise<boolean> {
  return new Promise((resolve) => {
    execFile("timedatectl", ["show", "--property=NTPSynchronized", "--value"], { timeout: 5000 }, (error, stdout) =>
      resolve(error === null && stdout.trim() === "yes"),
    );
  });
}
