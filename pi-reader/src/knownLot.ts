import { BijuliError } from "@bijuli/protocol";
import type { AdapterClient } from "./adapterClient.ts";
import { pause } from "./pause.ts";
import type { ClosedLot, Store } from "./store.ts";

/**
 * Refuses to go on with a store that is older than what its meter has signed: a restored disk image would make an
 * honest meter sign other registers for lots that it has signed already.
 * @throws BijuliError store-behind, store-contradicts; adapter-silent when the adapter cannot tell
 */
export async function checkKnownLot(store: Store, adapter: AdapterClient, serial: string): Promise<void> {
  const known = await adapter.newest();
  const newest = store.newest();
  if (newest === undefined || known.lot > newest.lot) {
    throw new BijuliError(
      "store-behind",
      `meter ${serial} has signed lot ${known.lot}, but the store ${store.path} ${newest === undefined ? "is empty" : `ends at lot ${newest.lot}`}: it is an old copy`,
      {
        remedy:
          newest === undefined
            ? "put its store back, or give the meter a new key and have that registered"
            : "`recover` takes up from the adapter what the meter has signed since",
      },
    );
  }
  const [own] = store.lots(known.lot, known.lot);
  if (own !== undefined && own.forward !== known.forward) {
    throw new BijuliError(
      "store-contradicts",
      `meter ${serial}: lot ${known.lot} ended at ${known.forward} Units by what it signed, at ${own.forward} by the store ${store.path}`,
      { remedy: "this is another meter's store, or one that went its own way: never sign with it" },
    );
  }
}

/** Whether it is a refusal of checkKnownLot, which no other try mends. */
export const isOldCopy = (error: Error): boolean =>
  error instanceof BijuliError && (error.code === "store-behind" || error.code === "store-contradicts");

/**
 * Asks until the adapter has answered once. One that is down must not keep a meter from measuring; but the store of a
 * restored disk image must not go unnoticed because the network was not up yet when the machine started.
 */
export class KnownLotCheck {
  readonly #ask: () => Promise<void>;
  readonly #onSilent: (error: BijuliError) => void;
  readonly #everyMs: number;
  #told = "";
  answered = false;

  constructor(ask: () => Promise<void>, onSilent: (error: BijuliError) => void, everyMs = 60_000) {
    this.#ask = ask;
    this.#onSilent = onSilent;
    this.#everyMs = everyMs;
  }

  /** Asks once. @throws BijuliError as checkKnownLot does, but for an adapter that is silent */
  async ask(): Promise<void> {
    try {
      await this.#ask();
      this.answered = true;
    } catch (error) {
      if (!(error instanceof BijuliError && error.code === "adapter-silent")) throw error;
      if (error.message !== this.#told) this.#onSilent(error);
      this.#told = error.message;
    }
  }

  /** Goes on asking. @throws BijuliError as `ask` */
  async run(signal: AbortSignal): Promise<void> {
    while (!this.answered && !signal.aborted) {
      await pause(this.#everyMs, signal);
      if (!signal.aborted) await this.ask();
    }
  }
}

/**
 * Takes up what the meter has signed since its store was copied, each lot with its signature. Measurements of that
 * time (samples, voltages, the remainder below a Unit) are gone.
 * @returns how many lots were taken up
 */
export async function recoverLots(store: Store, adapter: AdapterClient): Promise<number> {
  const { lot: through } = await adapter.newest();
  let before = store.newest();
  if (before === undefined) {
    throw new BijuliError("empty-store", `the store ${store.path} is empty: there is nothing to go on from`);
  }
  const lots: ClosedLot[] = [];
  for (let lot = before.lot + 1n; lot <= through; lot++) {
    const { reading, signature } = await adapter.reading(lot);
    const energy = reading.energies[0]!;
    if (before.forward + energy !== reading.forward || reading.reverse < before.reverse) {
      throw new BijuliError(
        "store-contradicts",
        `lot ${lot} goes on from ${reading.forward - energy} Units, but lot ${before.lot} ended at ${before.forward}`,
        { remedy: "this store has gone its own way: never sign with it" },
      );
    }
    before = {
      lot,
      energy,
      reverseEnergy: reading.reverse - before.reverse,
      forward: reading.forward,
      reverse: reading.reverse,
      forwardRest: 0n,
      reverseRest: 0n,
      quality: reading.quality,
      samples: 0,
      coveredMs: 0,
      signature,
    };
    lots.push(before);
  }
  if (lots.length > 0) store.append(lots);
  return lots.length;
}
