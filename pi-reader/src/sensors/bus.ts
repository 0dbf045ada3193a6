/** An I2C bus as the drivers need it. The chips are big-endian; so are the words here. */
export interface I2cBus {
  readonly name: string;
  /** An unsigned 16-bit register. */
  readWord(address: number, register: number): Promise<number>;
  writeWord(address: number, register: number, value: number): Promise<void>;
  /** A register of `length` bytes, most significant first. */
  readBytes(address: number, register: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** 16 bits as two's complement. */
export const signed16 = (word: number): number => (word & 0x8000 ? word - 0x1_0000 : word);

/** The 20-bit value in the upper bits of a 24-bit register, as two's complement. */
export function signed20(bytes: Uint8Array): number {
  const value = (bytes[0]! << 12) | (bytes[1]! << 4) | (bytes[2]! >> 4);
  return value & 0x8_0000 ? value - 0x10_0000 : value;
}

/** Integer division to the nearest, halves away from zero. */
export function divideRound(dividend: bigint, divisor: bigint): bigint {
  const half = divisor / 2n;
  return dividend < 0n ? -((-dividend + half) / divisor) : (dividend + half) / divisor;
}

/** µW of µV · µA. */
export const powerOf = (microvolts: bigint, microamps: bigint): bigint =>
  divideRound(microvolts * microamps, 1_000_000n);

/** An address as people write it. */
export const hexAddress = (address: number): string => `0x${address.toString(16).padStart(2, "0")}`;
