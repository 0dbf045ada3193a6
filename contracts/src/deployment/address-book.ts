import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { BijuliError, type Hex, isHex } from "@bijuli/protocol";
import { z } from "zod";

const address = z.string().refine((value) => isHex(value, 20), "must be an address");

const shape = z.strictObject({
  chainId: z.string().regex(/^[0-9]+$/),
  lotSeconds: z.int().positive(),
  accessManager: address,
  registry: address,
  token: address,
  market: address,
  link: address,
  operator: address,
  erc1820: address,
  /** Linked into the market, by name. */
  libraries: z.record(z.string(), address),
  /** The first block in which anything of this deployment can be. */
  blockNumber: z.int().nonnegative(),
});

/** Where a deployment's contracts are: what the demo, the tests and a testnet alike are run by. */
export type AddressBook = {
  [K in keyof z.infer<typeof shape>]: K extends "chainId" | "lotSeconds" | "libraries" | "blockNumber"
    ? z.infer<typeof shape>[K]
    : Hex;
};

/** @throws BijuliError bad-address-book, naming file and field */
export function readAddressBook(path: string): AddressBook {
  try {
    return shape.parse(JSON.parse(readFileSync(path, "utf8"))) as AddressBook;
  } catch (cause) {
    const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
    const why = issue ? `${issue.path.join(".")} ${issue.message}` : (cause as Error).message;
    throw new BijuliError("bad-address-book", `${path} is not an address book: ${why}`, { cause });
  }
}

/** Written at once or not at all. */
export function writeAddressBook(path: string, book: AddressBook): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(book, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}
