import { BijuliError, type Hex } from "@bijuli/protocol";
import type { Signer } from "./signer.ts";
import type { Store } from "./store.ts";

/** From this lot on, the meter's readings are signed by this address. A reading counts by its last lot. */
export interface SignerSince {
  fromLot: bigint;
  address: string;
}

/** A key that takes over at a lot, as the registry was told. */
export interface NextSigner {
  signer: Signer;
  fromLot: bigint;
}

/** Who signed, and will sign, what: the store's own record. Undefined for a store that no meter has claimed. */
export function storedSigners(store: Store): SignerSince[] | undefined {
  const first = store.get("signer");
  if (first === undefined) return undefined;
  const rotations = JSON.parse(store.get("rotations") ?? "[]") as { fromLot: string; address: string }[];
  return [{ fromLot: 0n, address: first }, ...rotations.map((one) => ({ ...one, fromLot: BigInt(one.fromLot) }))];
}

/** The address that signs readings whose last lot is `lot`. */
export function signerAt(history: readonly SignerSince[], lot: bigint): string {
  return history.findLast(({ fromLot }) => fromLot <= lot)!.address;
}

/**
 * Takes the configured keys into the store's record: what was signed stands, what was only planned follows the
 * configuration.
 * @throws BijuliError wrong-store when the keys are not those that sign the open lot, bad-rotation when the next key
 *   should have begun before what is already signed
 */
export function adoptSigners(store: Store, signer: Signer, next: NextSigner | undefined): SignerSince[] {
  const stored = storedSigners(store);
  if (stored === undefined) store.set({ signer: signer.address });
  const newest = store.newest()?.lot ?? -1n;
  const history = (stored ?? [{ fromLot: 0n, address: signer.address }]).filter(
    ({ fromLot }) => fromLot <= newest || fromLot === 0n,
  );
  if (next !== undefined) {
    const known = history.some((one) => one.fromLot === next.fromLot && one.address === next.signer.address);
    if (!known && next.fromLot <= newest) {
      throw new BijuliError(
        "bad-rotation",
        `the next key should sign from lot ${next.fromLot}, but lot ${newest} is signed already`,
        {
          remedy: "have the registry rotate at a lot that is still to come",
        },
      );
    }
    if (!known) history.push({ fromLot: next.fromLot, address: next.signer.address });
  }
  const now = signerAt(history, newest + 1n);
  if (now !== signer.address && now !== next?.signer.address) {
    throw new BijuliError("wrong-store", `the store ${store.path} is of signer ${now}, not ${signer.address}`, {
      remedy: "readings of both would contradict each other: use this meter's own key and store, or new ones",
    });
  }
  const rotations = history.slice(1).map(({ fromLot, address }) => ({ fromLot: fromLot.toString(), address }));
  const text = JSON.stringify(rotations);
  if (text !== (store.get("rotations") ?? "[]")) store.set({ rotations: text });
  return history;
}

/** Signs each reading with the key of its last lot. */
export class SigningKeys {
  readonly history: readonly SignerSince[];
  readonly #signers: Map<string, Signer>;

  constructor(history: readonly SignerSince[], signers: readonly (Signer | undefined)[]) {
    this.history = history;
    this.#signers = new Map(signers.filter((one) => one !== undefined).map((one) => [one.address, one]));
  }

  addressAt(lot: bigint): Hex {
    return signerAt(this.history, lot) as Hex;
  }

  /** @throws BijuliError key-retired when the lot was signed by a key that is no longer configured */
  at(lot: bigint): Signer {
    const address = this.addressAt(lot);
    const signer = this.#signers.get(address);
    if (signer !== undefined) return signer;
    throw new BijuliError("key-retired", `lot ${lot} belongs to the key of ${address}, which is retired`, {
      remedy: "ask for the lot alone: its signature is kept; or for a run that ends with a later lot",
    });
  }
}
