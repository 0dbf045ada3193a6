import { BijuliError, type Hex, readingFromRecord, type SignedReading } from "@bijuli/protocol";
import type { Charter, Member } from "./charters.ts";
import { deliveriesIn } from "./deliveries.ts";
import type { ChainLog } from "./statement.ts";

/** A stage's number on chain. */
export const STAGE = { PLANT: 0, DISTRIBUTOR: 1, CONSUMERS: 2 } as const;

/** Which members of which stage a delivery speaks of: those from the `first` on, in the charter's order. */
export interface Page {
  feeder: Hex;
  /** The clearing's last lot. */
  lot: bigint;
  stage: number;
  first: number;
}

/** A stage's members, in the order in which pages name them. */
export function membersOf(charter: Charter, stage: number): readonly Member[] {
  if (stage === STAGE.PLANT) return charter.plants;
  return stage === STAGE.DISTRIBUTOR ? [charter.distributor!] : charter.consumers;
}

/** The pages that oracles were asked for; how the record that an event speaks of is found in its own transaction. */
export class Pages {
  readonly #lotSeconds: number;
  readonly #requests = new Map<Hex, Page>();

  constructor(lotSeconds: number) {
    this.#lotSeconds = lotSeconds;
  }

  requested(requestId: Hex, page: Page): void {
    this.#requests.set(requestId, page);
  }

  /**
   * A meter's reading, out of the input of the transaction whose event says that it was cleared.
   * @throws BijuliError ledger-disagrees when it is not there
   */
  async readingIn(
    log: ChainLog,
    charter: Charter,
    asked: Omit<Page, "first"> & { meterId: Hex },
  ): Promise<SignedReading> {
    const { feeder, lot, stage, meterId } = asked;
    const members = membersOf(charter, stage);
    for (const { requestId, page, records } of deliveriesIn(await log.input())) {
      const key = page ?? this.#requests.get(requestId!);
      if (key === undefined || key.feeder !== feeder || key.lot !== lot || key.stage !== stage) continue;
      const index = members.findIndex((member, i) => i >= key.first && member.meterId === meterId) - key.first;
      const record = index >= 0 ? records[index] : undefined;
      if (record) return readingFromRecord(record, { meterId, lot, lotSeconds: this.#lotSeconds });
    }
    throw new BijuliError(
      "ledger-disagrees",
      `transaction ${log.transactionHash} clears meter ${meterId} but carries no record of it`,
    );
  }
}
