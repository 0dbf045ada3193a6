import { keccak256 } from "ethers/crypto";
import { toUtf8Bytes } from "ethers/utils";
import { BijuliError } from "./errors.ts";
import type { Hex } from "./hex.ts";

/**
 * A meter's id on chain: keccak256 of its serial in NFC and UTF-8.
 * @throws BijuliError bad-serial for a serial that is not 1–64 bytes of well-formed text
 */
export function meterIdOf(serial: string): Hex {
  if (typeof serial !== "string" || !serial.isWellFormed()) {
    throw new BijuliError("bad-serial", `a meter's serial must be well-formed text, not ${JSON.stringify(serial)}`);
  }
  const bytes = toUtf8Bytes(serial.normalize("NFC"));
  if (bytes.length < 1 || bytes.length > 64) {
    throw new BijuliError(
      "bad-serial",
      `a meter's serial must be 1–64 bytes of UTF-8; ${JSON.stringify(serial)} has ${bytes.length}`,
    );
  }
  return keccak256(bytes) as Hex;
}
