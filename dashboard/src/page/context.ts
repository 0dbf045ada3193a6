import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { FeederSummary, StatusJson } from "../server/shapes.ts";

/** What every view needs to know. */
export interface Shared {
  status: StatusJson;
  feeders: FeederSummary[];
  /** The feeder that is looked at. */
  feeder: FeederSummary | undefined;
}

export const SharedContext = createContext<Shared | undefined>(undefined);

export function useShared(): Shared {
  return useContext(SharedContext)!;
}

/** A lot's first second. */
export const lotBegin = (lot: string | bigint, lotSeconds: number): number => Number(BigInt(lot) * BigInt(lotSeconds));
