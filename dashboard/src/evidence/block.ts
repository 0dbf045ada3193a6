import type { Hex } from "@bijuli/protocol";
import { encodeRlp, keccak256 } from "ethers";
import { bytesOf } from "./hex-bytes.ts";
import { decodeRlp } from "./rlp.ts";
import { DoesNotHold } from "./witness.ts";

/** What a block's header commits to. */
export interface Header {
  hash: Hex;
  parentHash: Hex;
  stateRoot: Hex;
  transactionsRoot: Hex;
  receiptsRoot: Hex;
  number: number;
  /** unix seconds */
  timestamp: number;
}

/** A transaction as its block holds it. */
export interface ProvenTransaction {
  hash: Hex;
  /** Undefined: it creates a contract. */
  to: Hex | undefined;
  input: Hex;
}

export interface ProvenLog {
  address: Hex;
  topics: Hex[];
  data: Hex;
}

/** The header's fields in the order in which they are hashed (Yellow Paper, EIP-1559, -4895, -4844, -4788, -7685). */
const FIELDS = [
  "parentHash",
  "sha3Uncles",
  "miner",
  "stateRoot",
  "transactionsRoot",
  "receiptsRoot",
  "logsBloom",
  "difficulty",
  "number",
  "gasLimit",
  "gasUsed",
  "timestamp",
  "extraData",
  "mixHash",
  "nonce",
  "baseFeePerGas",
  "withdrawalsRoot",
  "blobGasUsed",
  "excessBlobGas",
  "parentBeaconBlockRoot",
  "requestsHash",
] as const;
const QUANTITIES = new Set([
  "difficulty",
  "number",
  "gasLimit",
  "gasUsed",
  "timestamp",
  "baseFeePerGas",
  "blobGasUsed",
  "excessBlobGas",
]);

/** A header's bytes, out of what eth_getBlockByNumber says. @throws DoesNotHold when they do not hash to the block's hash */
export function headerBytes(block: Record<string, unknown>): Hex {
  const fields = FIELDS.filter((name) => typeof block[name] === "string").map((name) => {
    const value = block[name] as Hex;
    return QUANTITIES.has(name) ? quantity(value) : value;
  });
  const bytes = encodeRlp(fields) as Hex;
  if (keccak256(bytes) !== block.hash) {
    throw new DoesNotHold(`block ${Number(block.number)}: its header is of a kind that is not known here`);
  }
  return bytes;
}

export function decodeHeader(bytes: Hex): Header {
  const fields = decodeRlp(bytes) as Hex[];
  return {
    hash: keccak256(bytesOf(bytes)) as Hex,
    parentHash: fields[0]!,
    stateRoot: fields[3]!,
    transactionsRoot: fields[4]!,
    receiptsRoot: fields[5]!,
    number: numberOf(fields[8]!),
    timestamp: numberOf(fields[11]!),
  };
}

/** Where `to` and the input stand, by the transaction's type (EIP-2718): legacy, access list, fees, blobs, set code. */
const TO_AT: Record<string, number> = { "01": 4, "02": 5, "03": 5, "04": 5 };

/** @param raw as its block's trie holds it */
export function decodeTransaction(raw: Hex, what: string): ProvenTransaction {
  const type = raw.slice(2, 4);
  const legacy = Number.parseInt(type, 16) >= 0xc0;
  const at = legacy ? 3 : TO_AT[type];
  if (at === undefined) throw new DoesNotHold(`${what}: transactions of type 0x${type} are not known here`);
  const fields = decodeRlp(legacy ? raw : `0x${raw.slice(4)}`) as Hex[];
  const to = fields[at]!;
  return { hash: keccak256(bytesOf(raw)) as Hex, to: to === "0x" ? undefined : to, input: fields[at + 2]! };
}

/** A receipt as its block's trie holds it, out of what eth_getTransactionReceipt says. */
export function receiptBytes(receipt: {
  type?: string;
  status: string;
  cumulativeGasUsed: string;
  logsBloom: string;
  logs: readonly ProvenLog[];
}): Hex {
  const logs = receipt.logs.map(({ address, topics, data }) => [address, [...topics], data]);
  const body = encodeRlp([quantity(receipt.status), quantity(receipt.cumulativeGasUsed), receipt.logsBloom, logs]);
  const type = Number(receipt.type ?? 0);
  return (type === 0 ? body : `0x${type.toString(16).padStart(2, "0")}${body.slice(2)}`) as Hex;
}

export function decodeReceipt(bytes: Hex): { succeeded: boolean; logs: ProvenLog[] } {
  const legacy = Number.parseInt(bytes.slice(2, 4), 16) >= 0xc0;
  const [status, , , logs] = decodeRlp(legacy ? bytes : `0x${bytes.slice(4)}`) as [Hex, Hex, Hex, [Hex, Hex[], Hex][]];
  return {
    succeeded: status === "0x01",
    logs: logs.map(([address, topics, data]) => ({ address, topics, data })),
  };
}

/** RLP's integers have no leading zeros. */
function quantity(value: string): Hex {
  const digits = BigInt(value).toString(16);
  if (digits === "0") return "0x";
  return digits.length % 2 === 0 ? `0x${digits}` : `0x0${digits}`;
}

const numberOf = (bytes: Hex): number => (bytes === "0x" ? 0 : Number(bytes));
