import { BijuliError } from "@bijuli/protocol";

/** Digits kept by a division that says nothing else, as shopspring/decimal's DivisionPrecision. */
const DIVISION_PRECISION = 16;

/** More digits than this are a mistake, and would keep the process busy. */
const MAX_PRECISION = 10_000;

/**
 * A decimal number of any size: `digits · 10^-scale`. It stands for Go's shopspring/decimal, in which Chainlink's
 * arithmetic tasks calculate.
 */
export class Decimal {
  readonly digits: bigint;
  readonly scale: number;

  constructor(digits: bigint, scale = 0) {
    this.digits = digits;
    this.scale = scale;
  }

  /** Reads 12, -1.5, 3e2, .5 and hex integers. */
  static parse(text: string): Decimal {
    const trimmed = text.trim();
    if (/^[+-]?0x[0-9a-f]+$/i.test(trimmed)) {
      const magnitude = BigInt(trimmed.replace(/^[+-]/, ""));
      return new Decimal(trimmed.startsWith("-") ? -magnitude : magnitude);
    }
    const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,5}))?$/i.exec(trimmed);
    if (match === null || (match[2] === "" && (match[3] ?? "") === "")) {
      throw new BijuliError("bad-input", `${JSON.stringify(text)} is not a number`);
    }
    const [, sign, whole = "", fraction = "", exponent = "0"] = match;
    const digits = BigInt(`${whole}${fraction}` || "0") * (sign === "-" ? -1n : 1n);
    const scale = fraction.length - Number(exponent);
    return scale < 0 ? new Decimal(digits * 10n ** BigInt(-scale)) : new Decimal(digits, scale);
  }

  add(other: Decimal): Decimal {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.#at(scale) + other.#at(scale), scale);
  }

  multiply(other: Decimal): Decimal {
    return new Decimal(this.digits * other.digits, this.scale + other.scale);
  }

  /** Rounded half away from zero to `precision` decimals; below 0, to tens, hundreds and so on. */
  divide(other: Decimal, precision = DIVISION_PRECISION): Decimal {
    if (other.digits === 0n) throw new BijuliError("bad-input", "divide by zero");
    if (Math.abs(precision) > MAX_PRECISION) throw new BijuliError("bad-input", `precision ${precision} is too much`);
    const tens = 10n ** BigInt(Math.max(-precision, 0));
    const numerator = this.digits * 10n ** BigInt(other.scale + Math.max(precision, 0));
    const denominator = other.digits * 10n ** BigInt(this.scale) * tens;
    return new Decimal(roundedQuotient(numerator, denominator) * tens, Math.max(precision, 0));
  }

  compare(other: Decimal): number {
    const scale = Math.max(this.scale, other.scale);
    const difference = this.#at(scale) - other.#at(scale);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  }

  isInteger(): boolean {
    return this.scale === 0 || this.digits % 10n ** BigInt(this.scale) === 0n;
  }

  /** The integer part, towards zero. */
  toBigInt(): bigint {
    return this.scale === 0 ? this.digits : this.digits / 10n ** BigInt(this.scale);
  }

  toString(): string {
    if (this.scale === 0) return this.digits.toString();
    const negative = this.digits < 0n;
    const text = (negative ? -this.digits : this.digits).toString().padStart(this.scale + 1, "0");
    const fraction = text.slice(-this.scale).replace(/0+$/, "");
    return `${negative ? "-" : ""}${text.slice(0, -this.scale)}${fraction === "" ? "" : `.${fraction}`}`;
  }

  #at(scale: number): bigint {
    return this.digits * 10n ** BigInt(scale - this.scale);
  }
}

function roundedQuotient(numerator: bigint, denominator: bigint): bigint {
  const negative = numerator < 0n !== denominator < 0n;
  const n = numerator < 0n ? -numerator : numerator;
  const d = denominator < 0n ? -denominator : denominator;
  const rounded = (2n * n + d) / (2n * d);
  return negative ? -rounded : rounded;
}
