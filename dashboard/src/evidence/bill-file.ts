import { BijuliError, type Hex, isHex, readingFromJson, readingToJson, type SignedReading } from "@bijuli/protocol";
import { z } from "zod";
import type { Bill, BillRequest } from "./bill.ts";
import type { Trust } from "./derive.ts";

/*
 * The file that a bill travels in. `bill` is the bill, for people and programs; `look` says where its evidence stands;
 * `readings` are the meters' signed readings; `witness` holds what the trusted block's hash commits to: headers, nodes
 * of tries, code, each found by its own hash. Nothing in it is a comment: a single digit that is changed makes it fail.
 */

/** What the file is. A later layout gets another name. */
export const BILL_FORMAT = "bijuli-bill/1";

const hex = z.custom<Hex>((value) => isHex(value) && value === value.toLowerCase(), "must be lower-case hex");
const hash = z.custom<Hex>((value) => isHex(value, 32) && value === value.toLowerCase(), "must be 32 bytes of hex");
const address = z.custom<Hex>((value) => isHex(value, 20) && value === value.toLowerCase(), "must be an address");
const whole = z.string().regex(/^(0|[1-9][0-9]{0,19})$/, "must be a decimal string");
const count = z.int().nonnegative();

const billFile = z.strictObject({
  format: z.literal(BILL_FORMAT),
  registry: address,
  chainId: whole,
  blockHash: hash,
  bill: z.record(z.string(), z.unknown()),
  look: z.strictObject({
    before: count,
    path: z.array(count),
    debtors: z.array(count),
    transactions: z.array(z.strictObject({ block: count, index: count })),
  }),
  readings: z.array(z.strictObject({ reading: z.record(z.string(), z.unknown()), signature: hex })),
  witness: z.array(hex),
});

export type BillFile = z.infer<typeof billFile>;

/** @throws BijuliError not-a-bill, naming the first field that no bill has */
export function parseBillFile(json: unknown): BillFile {
  const parsed = billFile.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const where = issue.path.join(".");
  throw new BijuliError("not-a-bill", `this is no bill: ${where === "" ? "it" : where}: ${issue.message}`);
}

export function billFileOf(bill: Bill, trust: Trust, request: BillRequest, witness: readonly Hex[]): BillFile {
  const { before, path, debtors, transactions } = request;
  return {
    format: BILL_FORMAT,
    registry: trust.registry,
    chainId: bill.chainId.toString(),
    blockHash: trust.blockHash,
    bill: plainJson(bill),
    look: { before, path, debtors, transactions },
    readings: request.readings.map(({ reading, signature }) => ({ reading: readingToJson(reading), signature })),
    witness: [...witness],
  };
}

/** What a file asks to be made, out of what it says it is. */
export function requestOf(file: BillFile): BillRequest {
  const { account, from, to } = file.bill;
  const parsed = z.object({ account: count, from: whole, to: whole }).safeParse({ account, from, to });
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new BijuliError("not-a-bill", `this is no bill: bill.${issue.path.join(".")}: ${issue.message}`);
  }
  return {
    account: parsed.data.account,
    from: BigInt(parsed.data.from),
    to: BigInt(parsed.data.to),
    ...file.look,
    readings: file.readings.map(
      ({ reading, signature }): SignedReading => ({ reading: readingFromJson(reading), signature }),
    ),
  };
}

/** A bill as JSON has it: integers that may pass 2^53 as decimal strings. */
export function plainJson<T>(value: T): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v)));
}
