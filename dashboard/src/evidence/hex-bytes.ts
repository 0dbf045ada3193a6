import type { Hex } from "@bijuli/protocol";

const VALUE = new Uint8Array(128);
for (let digit = 0; digit < 16; digit++) {
  VALUE[digit.toString(16).charCodeAt(0)] = digit;
  VALUE[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/** The bytes of hex digits: a bill has megabytes of them, and ethers' own getBytes parses each byte as a number. */
export function bytesOf(hex: Hex): Uint8Array {
  const bytes = new Uint8Array((hex.length - 2) / 2);
  for (let i = 0, at = 2; i < bytes.length; i++, at += 2) {
    bytes[i] = (VALUE[hex.charCodeAt(at)]! << 4) | VALUE[hex.charCodeAt(at + 1)]!;
  }
  return bytes;
}
