const UNIT_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's durations ("1h30m", "250ms", "-1.5s", "0") in milliseconds; undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  const [, sign, amounts] = /^([+-]?)(.+)$/.exec(text.trim()) ?? [];
  if (amounts === "0") return 0;
  if (amounts === undefined || !/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(amounts)) return undefined;
  let total = 0;
  for (const [, amount, unit] of amounts.matchAll(/([\d.]+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * UNIT_MS[unit!]!;
  }
  return sign === "-" ? -total : total;
}
