import type { Charter, Member, PlantMember } from "@bijuli/dashboard/ledger";
import type { Hex } from "@bijuli/protocol";
import { DoesNotHold } from "./witness.ts";

/** Reads bytes in their order, as Charter.sol packed them. */
class Bytes {
  readonly #digits: string;
  #at = 0;

  /** @param code with the STOP byte in front that CodeStore.sol writes */
  constructor(code: Hex, what: string) {
    if (!code.startsWith("0x00")) throw new DoesNotHold(`${what}: there is no such piece of code`);
    this.#digits = code.slice(4);
  }

  get left(): number {
    return (this.#digits.length - this.#at) / 2;
  }

  hex(bytes: number): Hex {
    const taken = this.#digits.slice(this.#at, this.#at + 2 * bytes);
    this.#at += 2 * bytes;
    return `0x${taken}`;
  }

  big(bytes: number): bigint {
    return BigInt(this.hex(bytes));
  }

  int(bytes: number): number {
    return Number(this.hex(bytes));
  }
}

/** A charter as it is written: its consumers stand in pieces of code of their own. */
export interface CharterCode extends Omit<Charter, "consumers" | "fromLot"> {
  feeder: Hex;
  consumerCount: number;
  /** 64 consumers each. */
  chunks: Hex[];
}

const CHUNK = 64;

/** A charter out of its code; the layout is Charter.sol's. */
export function decodeCharter(code: Hex, what: string): CharterCode {
  const bytes = new Bytes(code, what);
  const feeder = bytes.hex(32);
  const terms = {
    idealLossBps: bytes.int(2),
    serviceBps: bytes.int(2),
    penaltyBps: bytes.int(4),
    toleranceBps: bytes.int(2),
    maxPricePerKWh: bytes.big(8),
  };
  bytes.hex(8); // openDelay, repeatSeconds: nothing of a bill depends on them
  const lotsPerClearing = bytes.int(2);
  bytes.hex(1); // freeRepeats
  const tokensPerConsumer = bytes.int(1) !== 0;
  bytes.hex(2);
  const reserve = bytes.big(12);
  const graceSeconds = bytes.int(4);
  bytes.hex(8); // estimateSeconds, abandonSeconds
  const consumerCount = bytes.int(2);
  const plantCount = bytes.int(1);
  const account = bytes.int(4);
  bytes.hex(1);
  const distributor: Member = { account, meterId: bytes.hex(32) };
  bytes.hex(8); // the consumers' lowest price limit
  const plants = Array.from({ length: plantCount }, (): PlantMember => {
    const meterId = bytes.hex(32);
    return { meterId, account: bytes.int(4), pricePerKWh: bytes.big(8) };
  });
  const chunks = Array.from({ length: Math.ceil(consumerCount / CHUNK) }, () => bytes.hex(20));
  return {
    feeder,
    terms: { ...terms, reserve, graceSeconds, lotsPerClearing, tokensPerConsumer },
    distributor: account === 0 ? undefined : distributor,
    plants,
    consumerCount,
    chunks,
  };
}

/** The consumers of one chunk, in the list's order: their meters first, then their accounts. */
export function decodeChunk(code: Hex, what: string): Member[] {
  const bytes = new Bytes(code, what);
  const meters = Array.from({ length: bytes.left / 36 }, () => bytes.hex(32));
  return meters.map((meterId) => ({ meterId, account: bytes.int(4) }));
}
