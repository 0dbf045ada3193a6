import type { LotMeasurement } from "./measurement.ts";

/** What a sensor shows at one moment, in millionths of V, A and W. */
export interface LiveValues {
  voltage?: bigint | undefined;
  current?: bigint | undefined;
  power: bigint;
}

/** How a part is doing, for /health. */
export interface PartHealth {
  status: "ok" | "degraded" | "failing";
  detail?: string;
}

/** Where a meter's energy comes from. */
export interface Source {
  /** What /identity shows as the sensor. */
  readonly sensor: Readonly<Record<string, unknown>> & { readonly kind: string };
  /** The first lot that holds a sample; undefined while there is none. */
  firstLot(): bigint | undefined;
  /** The last lot that is over and whose end is certain; undefined while there is none. */
  closedThrough(): bigint | undefined;
  /** What was measured in a lot that is over, or so far in the one that is open. Asked in the order of the lots. */
  measured(lot: bigint): LotMeasurement;
  /** The present values; undefined where nothing is measured. */
  live(): LiveValues | undefined;
  /** Resolves when a lot may have become due. */
  untilDue(lot: bigint, signal: AbortSignal): Promise<void>;
  health(): PartHealth;
  clockState(): Readonly<Record<string, unknown>> & { readonly state: string };
  /**
   * For sources whose measurements exist only once: what must be stored with the lots up to `through`, in the same
   * transaction, so that a power cut neither loses nor doubles energy; without `through`, with what was stored before.
   */
  checkpoint?(through?: bigint): string;
  /** Lots up to `through` are on the disk. */
  stored?(through: bigint): void;
  /** Milliseconds since it last looked at its sensor, successfully or not; a source that need not look says nothing. */
  idleMs?(): number;
  /** Counts for /metrics, by name. */
  counters?(): Readonly<Record<string, number>>;
  /** True where measured() can be asked again for lots long closed, and must then say the same. */
  readonly repeatable: boolean;
}
