import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { BijuliError, type Hex, isHex } from "@bijuli/protocol";
import { z } from "zod";

const address = z.custom<Hex>((value) => isHex(value, 20), "must be an address");

const facts = {
  chainId: z.string().regex(/^[0-9]+$/),
  lotSeconds: z.int().positive(),
  /** The first block in which anything of this deployment can be. */
  blockNumber: z.int().nonnegative(),
};
const places = {
  accessManager: address,
  registry: address,
  token: address,
  market: address,
  link: address,
  operator: address,
  erc1820: address,
};
/** Linked into the market, by name. */
const libraries = z.record(z.string(), address);

/** How far a deployment is, beside the addresses in its file. */
const progress = z.strictObject({
  complete: z.boolean(),
  /** Who deploys: its nonces decide the market's address. */
  deployer: address,
  /** The AccessManager's first admin. */
  admin: address,
  /** The hash of the chain's first block: two chains may have one id. */
  genesis: z.string().optional(),
  /** Sent, and not yet known to be mined. */
  pending: z.strictObject({ step: z.string(), nonce: z.int().nonnegative(), address: address.optional() }).optional(),
});

const finished = z.strictObject({ ...facts, ...places, libraries, deployment: progress.optional() });
const unfinished = z.strictObject({
  ...facts,
  ...z.object(places).partial().shape,
  libraries,
  deployment: progress,
});

/** Where a deployment's contracts are: what the demo, the tests and a testnet alike are run by. */
export type AddressBook = Omit<z.infer<typeof finished>, "deployment">;
/** An address book while it is written. */
export type DeploymentRecord = z.infer<typeof unfinished>;
export type Place = keyof typeof places;

/** The book without what only its deployment needs. */
export function addressBookOf(record: DeploymentRecord): AddressBook {
  const { deployment: _, ...book } = record;
  return z.strictObject({ ...facts, ...places, libraries }).parse(book);
}

/** @throws BijuliError bad-address-book, naming file and field; deployment-unfinished */
export function readAddressBook(path: string): AddressBook {
  const json = readJson(path);
  if (isUnfinished(json)) {
    throw new BijuliError("deployment-unfinished", `the deployment in ${path} is not finished`, {
      remedy: "run bijuli deploy again: it goes on where it stopped",
    });
  }
  const { deployment: _, ...book } = parse(path, json, finished);
  return book;
}

/**
 * A deployment's file, finished or not; undefined when there is none.
 * @throws BijuliError bad-address-book
 */
export function readDeployment(path: string): DeploymentRecord | undefined {
  return existsSync(path) ? parse(path, readJson(path), unfinished) : undefined;
}

/** Written at once or not at all. */
export function writeAddressBook(path: string, book: AddressBook | DeploymentRecord): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify(book, null, 2)}\n`, { flush: true });
  renameSync(`${path}.new`, path);
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") {
      const remedy = "npx bijuli deploy writes it; where it lies elsewhere, name that file";
      throw new BijuliError("bad-address-book", `there is no address book ${path}`, { remedy });
    }
    throw new BijuliError("bad-address-book", `${path} is not an address book: ${(cause as Error).message}`, { cause });
  }
}

function isUnfinished(json: unknown): boolean {
  return (json as { deployment?: { complete?: unknown } } | null)?.deployment?.complete === false;
}

function parse<S extends z.ZodType>(path: string, json: unknown, shape: S): z.output<S> {
  const parsed = shape.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BijuliError(
    "bad-address-book",
    `${path} is not an address book: ${[issue.path.join("."), issue.message].filter(Boolean).join(" ")}`,
    { cause: parsed.error },
  );
}
