import { BijuliError } from "@bijuli/protocol";
import type { Bill } from "./bill.ts";
import { parseBillFile, plainJson, requestOf } from "./bill-file.ts";
import { sameBill } from "./compare.ts";
import { deriveBill, type Trust } from "./derive.ts";
import { ProvenChain } from "./proven-chain.ts";
import type { Recover } from "./reading-book.ts";
import { DoesNotHold, Witness } from "./witness.ts";

/** What checking a bill came to. */
export type Verdict =
  | {
      holds: true;
      /** As the evidence makes it. */
      bill: Bill;
      /** What the file itself said and nobody else: empty when all that is to be trusted was given. */
      claimed: (keyof Trust)[];
    }
  | { holds: false; first: string };

/**
 * Checks a bill offline: makes it again from its readings' signatures and from what the trusted block's hash proves, and
 * holds the result against what the file says. No clock, no network, no file is used: it runs in a browser as well.
 * @param json the file's content
 * @param trust the registry's address, and the hash of the block that the bill is closed at, from a source that the
 * reader trusts; what is left out is taken from the file and reported as `claimed`
 * @throws BijuliError not-a-bill when it is no bill at all
 */
export async function verifyBill(
  json: unknown,
  trust: Partial<Trust> = {},
  options: { recover?: Recover } = {},
): Promise<Verdict> {
  const file = parseBillFile(json);
  const claimed = (["registry", "blockHash"] as const).filter((name) => trust[name] === undefined);
  try {
    for (const name of ["registry", "blockHash"] as const) {
      const given = trust[name]?.toLowerCase();
      if (given !== undefined && given !== file[name]) {
        const what = name === "registry" ? "MeterRegistry" : "block";
        throw new DoesNotHold(`the bill is about the ${what} ${file[name]}, not about ${given}`);
      }
    }
    const witness = new Witness(file.witness);
    const request = requestOf(file);
    const chain = await ProvenChain.from(witness, file.blockHash, request.path);
    const bill = await deriveBill(
      chain,
      { registry: file.registry, chainId: BigInt(file.chainId) },
      request,
      options.recover,
    );
    sameBill(file.bill, plainJson(bill));
    if (witness.unused > 0) {
      throw new DoesNotHold(`the file's witness holds ${witness.unused} pieces that prove nothing of this bill`);
    }
    if (witness.size !== file.witness.length) throw new DoesNotHold("the file's witness holds a piece twice");
    return { holds: true, bill, claimed };
  } catch (error) {
    if (error instanceof BijuliError && error.code === "not-a-bill") throw error;
    return { holds: false, first: firstOf(error) };
  }
}

/** Malformed proofs make RLP and integers fail in many ways; what a bill says of itself stands in the error's message. */
function firstOf(error: unknown): string {
  if (error instanceof BijuliError) return error.message;
  return `its evidence is malformed: ${(error as Error).message}`;
}
