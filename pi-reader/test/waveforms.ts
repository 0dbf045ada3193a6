import { Integrator, type PowerSample } from "../src/integrator.ts";

/*
 * What the integration rule alone gets wrong: known waveforms, whose energy is known analytically, sampled ten times a
 * second for an hour, by the meter's own integrator and by other rules from the same samples.
 */
const S = 1_000_000_000n;
export const HOUR = 3600;
const HZ = 10;

export interface Waveform {
  name: string;
  /** Watts at a second. */
  watts: (second: number) => number;
  /** Joules in the hour: forward, and reverse. */
  forward: number;
  reverse: number;
  /** Relative error that the meter's rule may have. */
  allowed: number;
}

/** Seconds of the first `second` in which a pulse of `on` seconds every `every` seconds is on. */
const pulsed = (second: number, on: number, every: number): number => {
  const whole = Math.floor(second / every);
  return whole * on + Math.min(second - whole * every, on);
};

const TONES = [0.0123, 0.0707, 0.331, 0.917, 1.618, 2.713, 4.301];
/** ∫ of 500 W and seven tones that fit no sample rate. */
const noiseJoules = (second: number): number =>
  TONES.reduce((sum, hz) => sum - (60 / (2 * Math.PI * hz)) * Math.cos(2 * Math.PI * hz * second), 500 * second);
const swing = (second: number): number => Math.sin((2 * Math.PI * second) / 60);

export const WAVEFORMS: readonly Waveform[] = [
  { name: "constant, 100.123456 W", watts: () => 100.123456, forward: 100.123456 * HOUR, reverse: 0, allowed: 1e-12 },
  { name: "ramp, 0 … 3600 W", watts: (s) => s, forward: (HOUR * HOUR) / 2, reverse: 0, allowed: 1e-12 },
  {
    name: "sine, 100 ± 100 W, 60 s",
    watts: (s) => 100 + 100 * swing(s),
    forward: 100 * HOUR,
    reverse: 0,
    allowed: 1e-9,
  },
  {
    name: "square, 0.37 s of 1000 W every 1.93 s",
    watts: (s) => (s % 1.93 < 0.37 ? 1000 : 0),
    forward: 1000 * pulsed(HOUR, 0.37, 1.93),
    reverse: 0,
    // Ten samples a second see a pulse's edges with a tenth of a second's blur, which evens out over many pulses.
    allowed: 5e-3,
  },
  {
    name: "pulses of 0.25 s, 2000 W every 7.1917 s",
    watts: (s) => (s % 7.1917 < 0.25 ? 2000 : 0),
    forward: 2000 * pulsed(HOUR, 0.25, 7.1917),
    reverse: 0,
    allowed: 2e-2,
  },
  {
    name: "noise, seven tones up to 4.3 Hz",
    watts: (s) => 500 + TONES.reduce((sum, hz) => sum + 60 * Math.sin(2 * Math.PI * hz * s), 0),
    forward: noiseJoules(HOUR) - noiseJoules(0),
    reverse: 0,
    allowed: 1e-3,
  },
  {
    name: "sign changes, ± 100 W sine, 60 s",
    watts: (s) => 100 * swing(s),
    forward: (100 * HOUR) / Math.PI,
    reverse: (100 * HOUR) / Math.PI,
    allowed: 1e-4,
  },
];

/** Joules forward by each rule, from the same samples. */
export interface Integrals {
  forward: number;
  reverse: number;
  left: number;
  right: number;
  float32: number;
}

export function integrate({ watts }: Waveform): Integrals {
  const integrator = new Integrator(10n * S);
  let forward = 0n;
  let reverse = 0n;
  let left = 0;
  let right = 0;
  let float32 = Math.fround(0);
  let before: PowerSample | undefined;
  for (let i = 0; i <= HOUR * HZ; i++) {
    const sample = { atNs: (BigInt(i) * S) / BigInt(HZ), power: BigInt(Math.round(watts(i / HZ) * 1e6)) };
    const piece = integrator.add(sample);
    if (piece) {
      forward += piece.forwardUntil(piece.toNs);
      reverse += piece.reverseUntil(piece.toNs);
    }
    if (before) {
      const [p0, p1] = [Number(before.power) / 1e6, Number(sample.power) / 1e6];
      left += Math.max(p0, 0) / HZ;
      right += Math.max(p1, 0) / HZ;
      float32 = Math.fround(float32 + Math.fround(Math.max((p0 + p1) / 2, 0) / HZ));
    }
    before = sample;
  }
  const joules = (femtojoules: bigint) => Number(femtojoules) / 1e15;
  return { forward: joules(forward), reverse: joules(reverse), left, right, float32 };
}

const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A relative error as the README shows it; what a 64-bit float cannot tell from none is none. */
function shown(error: number): string {
  if (Math.abs(error) < 1e-12) return "0";
  const [mantissa, exponent] = error.toExponential(1).split("e");
  const raised = [...String(Math.abs(Number(exponent)))].map((digit) => DIGITS[Number(digit)]).join("");
  return `${mantissa!.replace("-", "−")} · 10${Number(exponent) < 0 ? "⁻" : ""}${raised}`;
}

/** The README's table. */
export function accuracyTable(): string {
  const rows = WAVEFORMS.map((waveform) => {
    const { forward, left, right, float32 } = integrate(waveform);
    const errors = [forward, left, right, float32].map((value) => shown((value - waveform.forward) / waveform.forward));
    return `| ${waveform.name} | ${errors.join(" | ")} |`;
  });
  return [
    "| waveform | trapezoid, exact integers | left rectangle | right rectangle | trapezoid summed in float32 |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}
