import {
  encodeEnergies,
  encodeRecord,
  type Hex,
  LOT_READING_TYPES,
  type LotReading,
  meterIdOf,
  type ReadingDomain,
  signReading,
  typedDataDomain,
} from "@bijuli/protocol";
import { concat, id, SigningKey, TypedDataEncoder, toBeHex } from "ethers";

/** A meter that measured what a test says, and signs any run of its lots. */
export class TestMeter {
  readonly serial: string;
  readonly meterId: Hex;
  key: SigningKey;
  readonly #domain: ReadingDomain;
  readonly #lotSeconds: number;
  readonly #firstLot: bigint;
  readonly #start: bigint;
  /** Energy of each lot from the first on; what is not there is 0. */
  readonly energies = new Map<bigint, bigint>();

  constructor(serial: string, domain: ReadingDomain, lotSeconds: number, firstLot: bigint, start = 0n) {
    this.serial = serial;
    this.meterId = meterIdOf(serial);
    this.key = new SigningKey(id(`key of ${serial}`));
    this.#domain = domain;
    this.#lotSeconds = lotSeconds;
    this.#firstLot = firstLot;
    this.#start = start;
  }

  energy(lot: bigint): bigint {
    return this.energies.get(lot) ?? 0n;
  }

  register(lot: bigint): bigint {
    let sum = this.#start;
    for (const [at, energy] of this.energies) if (at <= lot) sum += energy;
    return sum;
  }

  /** The reading of the `n` lots that end with `lot`. */
  reading(lot: bigint, n: number, quality = 0): LotReading {
    const energies = Array.from({ length: n }, (_, i) => this.energy(lot - BigInt(n - 1 - i)));
    const { meterId } = this;
    return { meterId, lot, lotSeconds: this.#lotSeconds, forward: this.register(lot), reverse: 0n, quality, energies };
  }

  sign(reading: LotReading, key = this.key): Hex {
    return signReading(this.#domain, reading, key);
  }

  record(lot: bigint, n: number, change: Partial<LotReading> = {}): Hex {
    const reading = { ...this.reading(lot, n), ...change };
    return encodeRecord(reading, this.sign(reading));
  }

  /** A record that no honest meter would make, properly signed. */
  dishonestRecord(lot: bigint, energies: readonly bigint[], forward: bigint): Hex {
    const bytes = concat(energies.map((energy) => toBeHex(energy, 6)));
    const reading = {
      meterId: this.meterId,
      lot,
      lotSeconds: this.#lotSeconds,
      forward,
      reverse: 0n,
      quality: 0,
      energies: bytes,
    };
    const digest = TypedDataEncoder.hash(typedDataDomain(this.#domain), LOT_READING_TYPES, reading);
    const { r, yParityAndS } = this.key.sign(digest);
    const n = toBeHex(energies.length, 2);
    return concat([n, "0x0000", toBeHex(forward, 8), toBeHex(0, 8), r, yParityAndS, bytes]) as Hex;
  }

  /** The reading of the lot before the first, as the contract takes it. */
  opening(): { reading: object; signature: Hex } {
    const reading: LotReading = {
      meterId: this.meterId,
      lot: this.#firstLot - 1n,
      lotSeconds: this.#lotSeconds,
      forward: this.#start,
      reverse: 0n,
      quality: 0x100,
      energies: [0n],
    };
    return {
      reading: { ...reading, energies: encodeEnergies(reading.energies) },
      signature: this.sign(reading),
    };
  }
}
